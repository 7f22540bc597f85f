"""Commands that run a gateway or talk to one that runs: run, health, reload, diff."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import Backend, answers
from tests.support.gateway_process import TILTYARD, GatewayProcess, Json, one_model

NOWHERE = "http://127.0.0.1:9"
ELSEWHERE = "http://127.0.0.1:19"


def tiltyard(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TILTYARD, *arguments], capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    command = (sys.executable, "-m", "tests.support.roles")
    directory = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(directory, one_model(NOWHERE), command) as started:
        yield started


@pytest.fixture(autouse=True)
def as_it_was(gateway: GatewayProcess) -> Iterator[None]:
    """One gateway for all tests here: each leaves the file as it was, and in force."""
    yield
    gateway.write(one_model(NOWHERE))
    assert gateway.post("/api/reload").status_code == 200


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def test_run_says_all_that_is_wrong_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("workers: none\n")

    found = tiltyard("run", "--config", "bad.yaml", cwd=tmp_path)

    assert (found.returncode, found.stdout) == (1, "")
    assert [line.partition(": ")[0] for line in found.stderr.splitlines()] == [
        f"{tmp_path}/bad.yaml:1:1",
        f"{tmp_path}/bad.yaml:1:10",
    ]


def test_run_names_a_file_that_is_not_there(tmp_path: Path) -> None:
    found = tiltyard("run", "--config", "missing.yaml", cwd=tmp_path)

    assert found.returncode == 1
    assert found.stderr == f"{tmp_path}/missing.yaml:1:1: no such file\n"


def test_health_is_0_while_the_gateway_is_ready(gateway: GatewayProcess) -> None:
    by_file = tiltyard("health", "--config", gateway.config_path)
    by_url = tiltyard("health", "--admin", gateway.admin.removeprefix("http://"), "--json")

    assert (by_file.returncode, by_file.stdout) == (0, "ready\n")
    assert by_url.returncode == 0
    assert json.loads(by_url.stdout)["status"] == "ready"


def test_health_does_not_mind_a_bad_edit(gateway: GatewayProcess) -> None:
    """The container's health check names the file; a typo in it must not have the container killed."""
    admin = gateway.admin.removeprefix("http://")
    gateway.write(f'listen: {{inference: "127.0.0.1:0", admin: "{admin}"}}\nmodles: [\n')

    assert tiltyard("health", "--config", gateway.config_path).returncode == 0


@pytest.mark.parametrize(
    "text", ['listen: {admin: "127.0.0.1:PORT"}', '[ listen: {admin: "127.0.0.1:PORT"}', "listen: {admin: 7:8:9}"]
)
def test_health_is_1_where_no_gateway_is(tmp_path: Path, text: str) -> None:
    (tmp_path / "gateway.yaml").write_text(text.replace("PORT", str(closed_port())))

    found = tiltyard("health", "--config", tmp_path / "gateway.yaml")

    assert found.returncode == 1
    assert found.stdout.startswith("not-reached: ")
    assert "Traceback" not in found.stderr


def test_health_names_a_state_on_which_no_gateway_runs(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(json.dumps(one_model(NOWHERE)))

    found = tiltyard("health", "--config", tmp_path / "gateway.yaml")

    assert found.returncode == 1
    assert found.stdout == f"not-reached: no gateway runs on the state directory {tmp_path}/state\n"


@pytest.mark.parametrize("url", ["http://[::1", "ftp://127.0.0.1", "127.0.0.1:99999", "http://"])
def test_health_says_when_the_url_is_none(url: str) -> None:
    found = tiltyard("health", "--admin", url)

    assert found.returncode == 1
    assert found.stdout.startswith("not-reached: ")
    assert "Traceback" not in found.stderr


def test_health_is_1_when_something_else_answers() -> None:
    with Backend(answers(b"hello", content_type="text/plain")) as backend:
        found = tiltyard("health", "--admin", backend.url, "--json")

    assert found.returncode == 1
    assert json.loads(found.stdout)["status"] == "not-reached"


def test_health_does_not_wait_for_a_gateway_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"

        found = tiltyard("health", "--admin", address, "--timeout", "0.2")

    assert found.returncode == 1
    assert found.stdout == f"not-reached: http://{address}/readyz has not answered in time\n"


def test_reload_says_what_came_of_it(gateway: GatewayProcess) -> None:
    unchanged = tiltyard("reload", "--config", gateway.config_path)
    gateway.write(one_model(ELSEWHERE))
    changed = tiltyard("reload", "--admin", gateway.admin, "--json")

    assert unchanged.returncode == 0
    assert unchanged.stdout.startswith("unchanged: config ")
    assert changed.returncode == 0
    # The watcher may have been first.
    assert json.loads(changed.stdout)["outcome"] in ("applied", "unchanged")
    assert json.loads(changed.stdout)["config_id"] not in unchanged.stdout


def test_reload_says_why_a_file_is_refused(gateway: GatewayProcess) -> None:
    gateway.write("models: 7\n")

    people = tiltyard("reload", "--admin", gateway.admin)
    scripts = tiltyard("reload", "--admin", gateway.admin, "--json")

    assert people.returncode == scripts.returncode == 1
    first, last = people.stderr.splitlines()
    assert first.startswith(f"{gateway.config_path}:1:9: ")
    assert last.startswith("config-refused: ")
    assert json.loads(scripts.stdout)["code"] == "config-refused"


def test_reload_is_1_where_no_gateway_is() -> None:
    address = f"127.0.0.1:{closed_port()}"

    people = tiltyard("reload", "--admin", address)
    scripts = tiltyard("reload", "--admin", address, "--json")

    assert people.returncode == scripts.returncode == 1
    assert people.stderr.startswith("not-reached: ")
    assert json.loads(scripts.stdout)["code"] == "not-reached"


def changed_settings() -> Json:
    settings = one_model(ELSEWHERE, workers=2)
    settings["models"]["a.b"] = {"protocol": "json", "versions": {"1": {"urls": [NOWHERE]}}, "champion": "1"}
    return settings


def test_diff_shows_what_a_file_would_change(gateway: GatewayProcess) -> None:
    edited = gateway.directory / "edited.yaml"
    edited.write_text(json.dumps(changed_settings()))

    found = tiltyard("diff", edited, "--admin", gateway.admin)

    assert found.returncode == 0
    added, changed, workers = found.stdout.splitlines()
    assert added.startswith('+ models["a.b"]: {"')
    assert changed == f'~ models.echo.versions.1.urls: ["{NOWHERE}"] -> ["{ELSEWHERE}"]'
    assert workers == "~ workers: 1 -> 2"
    assert found.stderr == "workers: needs a restart; a reload would be refused\n"


def test_diff_for_scripts(gateway: GatewayProcess) -> None:
    edited = gateway.directory / "edited.yaml"
    edited.write_text(json.dumps(changed_settings()))

    found = json.loads(tiltyard("diff", edited, "--config", gateway.config_path, "--json").stdout)

    assert found["running"] != found["file"]
    assert [(change["kind"], change["key"]) for change in found["changes"]] == [
        ("added", 'models["a.b"]'),
        ("changed", "models.echo.versions.1.urls"),
        ("changed", "workers"),
    ]
    assert found["needs_restart"] == ["workers"]


def test_diff_of_the_file_in_force_is_nothing(gateway: GatewayProcess) -> None:
    found = tiltyard("diff", gateway.config_path)

    assert found.returncode == 0
    assert "no change" in found.stdout


def test_diff_shows_what_is_taken_away(gateway: GatewayProcess) -> None:
    gateway.write(changed_settings() | {"workers": 1})
    gateway.post("/api/reload")
    edited = gateway.directory / "edited.yaml"
    edited.write_text(json.dumps(one_model(ELSEWHERE)))

    found = tiltyard("diff", edited, "--admin", gateway.admin)

    (line,) = found.stdout.splitlines()
    assert line.startswith('- models["a.b"]: {"')


def test_diff_refuses_a_file_that_is_not_valid(gateway: GatewayProcess) -> None:
    edited = gateway.directory / "edited.yaml"
    edited.write_text("models: 7\n")

    people = tiltyard("diff", edited, "--admin", gateway.admin)
    scripts = tiltyard("diff", edited, "--admin", gateway.admin, "--json")

    assert people.returncode == scripts.returncode == 1
    assert people.stderr.startswith(f"{edited}:1:9: ")
    assert json.loads(scripts.stdout)["code"] == "invalid-configuration"


def test_diff_is_1_where_no_gateway_is(gateway: GatewayProcess) -> None:
    address = f"127.0.0.1:{closed_port()}"

    people = tiltyard("diff", gateway.config_path, "--admin", address)
    scripts = tiltyard("diff", gateway.config_path, "--admin", address, "--json")

    assert people.returncode == scripts.returncode == 1
    assert people.stderr.startswith("not-reached: ")
    assert json.loads(scripts.stdout)["code"] == "not-reached"


def test_diff_against_something_else_is_no_traceback(gateway: GatewayProcess) -> None:
    with Backend(answers(b"{}")) as backend:
        found = tiltyard("diff", gateway.config_path, "--admin", backend.url)

    assert found.returncode == 1
    assert found.stderr == "not-reached: it does not answer like a gateway\n"
