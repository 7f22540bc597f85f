"""Live reload through real processes: what changes, in which order, and what a bad file does not change.

One gateway serves most tests here, one after the other: each finds its first configuration in force again.
"""

import json
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fixtures import SCRIPTED_ROLES, StartGateway
from tests.support.gateway_process import GatewayProcess, Json, config, one_model
from tests.support.onnx_files import adds
from tests.support.polling import eventually

NOWHERE = "http://127.0.0.1:9"
ELSEWHERE = "http://127.0.0.1:19"
WORKERS = 2
FIRST = one_model(NOWHERE, workers=WORKERS)
SECOND = one_model(ELSEWHERE, workers=WORKERS)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), FIRST, SCRIPTED_ROLES) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: GatewayProcess) -> GatewayProcess:
    """The shared gateway, with the first configuration in force and nothing told yet."""
    shared.write(FIRST)
    assert shared.post("/api/reload").status_code == 200
    (shared.state / "told.jsonl").write_text("")
    return shared


@pytest.fixture
def model(tmp_path: Path) -> str:
    """The name of a model that no other test has: former model servers may still be about to go."""
    return tmp_path.name


def told(gateway: GatewayProcess) -> list[tuple[str, str, str]]:
    """(process, what, config id) of everything the scripted roles were told, in order."""
    lines = (gateway.state / "told.jsonl").read_text().splitlines()
    found: list[Json] = [json.loads(line) for line in lines]
    return [(line["name"], line["what"], line["id"]) for line in found]


def in_force(gateway: GatewayProcess) -> str:
    return str(gateway.readyz()["config_id"])


def served_by(gateway: GatewayProcess) -> str:
    """The configuration that a worker answers on."""
    return str(gateway.client.get(gateway.inference).json()["config_id"])


def until_changed(gateway: GatewayProcess, former: str) -> str:
    """Wait for another configuration to be in force everywhere; its id."""

    def changed() -> str | None:
        reload = gateway.readyz()["reload"]
        return None if reload["config_id"] == former else str(reload["config_id"])

    return eventually(changed, f"another configuration than {former}")


def until_refused(gateway: GatewayProcess) -> list[str]:
    """Wait until the file is refused; the errors."""

    def refused() -> list[str] | None:
        reload = gateway.readyz()["reload"]
        return reload["errors"] if reload["outcome"] == "refused" else None

    return eventually(refused, "the file is refused")


def reloads(gateway: GatewayProcess, outcome: str) -> float:
    return gateway.metric("tiltyard_config_reloads_total", outcome=outcome) or 0.0


def with_model(name: str, *files: Path, timeout: str = "200ms") -> Json:
    """The first configuration, and a model whose versions 1, 2, ... are these files."""
    versions = {str(number): {"onnx": str(path)} for number, path in enumerate(files, 1)}
    model = {"versions": versions, "champion": "1", "timeout": timeout}
    return {**FIRST, "models": {**FIRST["models"], name: model}}


def model_pids(gateway: GatewayProcess, name: str) -> dict[str, int]:
    """Process ids of the servers of one model by version."""
    return {
        title.rpartition("/")[2]: pid for title, pid in gateway.pids().items() if title.startswith(f"model {name}/")
    }


def test_an_edited_file_is_applied_by_every_process(gateway: GatewayProcess) -> None:
    first, count = in_force(gateway), reloads(gateway, "applied")

    gateway.write(SECOND)
    second = until_changed(gateway, first)

    applied = [(name, config_id) for name, what, config_id in told(gateway) if what == "apply"]
    assert applied[0] == ("shadow", second)
    assert sorted(applied[1:]) == [("worker-0", second), ("worker-1", second)]
    assert served_by(gateway) == second
    assert gateway.get("/api/config").json()["config_id"] == second
    assert reloads(gateway, "applied") == count + 1
    assert gateway.metric("tiltyard_config_last_reload_successful") == 1
    assert gateway.events("config-applied")[-1]["config_id"] == second


def test_a_bad_file_changes_nothing_and_says_why(gateway: GatewayProcess) -> None:
    first, pids, count = in_force(gateway), gateway.pids(), reloads(gateway, "refused")

    gateway.write("models: {echo: {versions: {}, champion: 7}}\n")
    errors = until_refused(gateway)

    assert errors
    assert all(error.startswith(f"{gateway.config_path}:1:") for error in errors)
    assert gateway.get("/readyz").status_code == 200
    assert (in_force(gateway), served_by(gateway), gateway.pids()) == (first, first, pids)
    assert told(gateway) == []
    assert reloads(gateway, "refused") == count + 1
    assert gateway.metric("tiltyard_config_last_reload_successful") == 0
    assert gateway.events("config-refused")[-1]["errors"] == errors


def test_a_good_file_after_a_bad_one_is_applied(gateway: GatewayProcess) -> None:
    first = in_force(gateway)
    gateway.write("models:\n")
    until_refused(gateway)

    gateway.write(SECOND)
    second = until_changed(gateway, first)

    assert gateway.readyz()["reload"]["errors"] == []
    assert served_by(gateway) == second
    assert gateway.metric("tiltyard_config_last_reload_successful") == 1


def test_a_file_that_is_gone_changes_nothing(gateway: GatewayProcess) -> None:
    gateway.config_path.unlink()

    assert until_refused(gateway) == [f"{gateway.config_path}:1:1: no such file"]
    gateway.write(FIRST)
    eventually(lambda: gateway.readyz()["reload"]["outcome"] == "unchanged", "the file is back")


def test_sighup_reads_the_file_again(gateway: GatewayProcess) -> None:
    said, count = len(gateway.events("config-unchanged")), reloads(gateway, "applied")

    gateway.send(signal.SIGHUP)

    eventually(lambda: len(gateway.events("config-unchanged")) > said, "the file is read again")
    assert reloads(gateway, "applied") == count


def test_the_admin_api_reads_the_file_now(gateway: GatewayProcess) -> None:
    first = in_force(gateway)

    unchanged = gateway.post("/api/reload").json()
    gateway.write(SECOND)
    applied = gateway.post("/api/reload").json()
    gateway.write("models: 7\n")
    refused = gateway.post("/api/reload")

    assert (unchanged["outcome"], unchanged["config_id"]) == ("unchanged", first)
    # The watcher may have been first: then there was nothing left to apply.
    assert applied["outcome"] in ("applied", "unchanged")
    assert applied["config_id"] == served_by(gateway) != first
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    problem = refused.json()
    assert problem["code"] == "config-refused"
    assert problem["errors"][0].startswith(f"{gateway.config_path}:1:9: ")


def test_what_needs_a_restart_is_refused_by_name(gateway: GatewayProcess) -> None:
    first = in_force(gateway)

    gateway.write(one_model(ELSEWHERE, workers=WORKERS + 1, state="elsewhere"))

    assert until_refused(gateway) == [
        f"{key}: cannot be changed while the gateway runs; restart it to change this key"
        for key in ("workers", "state")
    ]
    assert in_force(gateway) == served_by(gateway) == first


def test_a_configuration_swapped_by_symbolic_link_is_noticed(gateway: GatewayProcess) -> None:
    """The way a mounted ConfigMap changes: a link to a link is swapped, the file's path stays."""
    first, directory = in_force(gateway), gateway.directory
    for name, settings in (("one", FIRST), ("two", SECOND)):
        (directory / name).mkdir()
        (directory / name / "gateway.yaml").write_text(json.dumps(settings))
    (directory / "data").symlink_to("one")
    gateway.config_path.unlink()
    gateway.config_path.symlink_to("data/gateway.yaml")
    gateway.post("/api/reload")
    assert in_force(gateway) == first

    (directory / "data.new").symlink_to("two")
    (directory / "data.new").replace(directory / "data")

    assert until_changed(gateway, first) == served_by(gateway)


def test_a_file_that_is_being_written_is_taken_once_it_is_whole(gateway: GatewayProcess) -> None:
    first = in_force(gateway)

    with gateway.config_path.open("w") as file:
        for letter in json.dumps(SECOND):
            file.write(letter)
            file.flush()

    assert until_changed(gateway, first) == served_by(gateway)


def test_of_many_edits_the_last_is_in_force(gateway: GatewayProcess) -> None:
    for port in range(100, 130):
        gateway.write(one_model(f"http://127.0.0.1:{port}", workers=WORKERS))

    found = gateway.post("/api/reload").json()

    assert served_by(gateway) == found["config_id"]
    echo = gateway.get("/api/config").json()["config"]["models"]["echo"]
    assert echo["versions"]["1"]["urls"] == ["http://127.0.0.1:129"]


def test_a_process_started_after_a_reload_runs_on_the_new_configuration(gateway: GatewayProcess) -> None:
    first = in_force(gateway)
    gateway.write(SECOND)
    second = until_changed(gateway, first)

    gateway.until_respawned("worker 0", gateway.kill("worker 0"))
    gateway.until_respawned("shadow", gateway.kill("shadow"))

    assert served_by(gateway) == second
    started = [(name, config_id) for name, what, config_id in told(gateway) if what == "start"]
    assert started == [("worker-0", second), ("shadow", second)]
    # Offers may still name the former configuration, so the shadow process is told of it, first.
    assert [line for line in told(gateway) if line[0] == "shadow"][-2:] == [
        ("shadow", "remember", first),
        ("shadow", "start", second),
    ]


def test_a_worker_that_cannot_follow_is_started_afresh(start_scripted: StartGateway) -> None:
    gateway = start_scripted(one_model(NOWHERE), environment={"TEST_WORKER": "fail-apply"})
    first, former = in_force(gateway), gateway.pids()["worker 0"]

    gateway.write(one_model(ELSEWHERE))
    second = until_changed(gateway, first)

    gateway.until_respawned("worker 0", former)
    assert served_by(gateway) == second
    (event,) = gateway.events("process-restart")
    assert "the test wants it so" in event["reason"]


def test_an_edit_while_the_control_process_is_down_is_not_missed(gateway: GatewayProcess) -> None:
    first, former = in_force(gateway), gateway.pids()["control"]
    os.kill(former, signal.SIGSTOP)

    gateway.write(SECOND)
    os.kill(former, signal.SIGKILL)
    gateway.until_respawned("control", former)

    assert until_changed(gateway, first) == served_by(gateway)


def test_a_reload_does_not_wait_for_a_shadow_process_that_hangs(gateway: GatewayProcess) -> None:
    first, shadow = in_force(gateway), gateway.pids()["shadow"]
    os.kill(shadow, signal.SIGSTOP)

    gateway.write(SECOND)
    second = until_changed(gateway, first)

    assert served_by(gateway) == second
    assert gateway.events("shadow-slow")
    os.kill(shadow, signal.SIGCONT)
    eventually(lambda: ("shadow", "apply", second) in told(gateway), "the shadow process follows")


def test_a_new_model_server_serves_before_anybody_is_sent_to_it(
    gateway: GatewayProcess, model: str, tmp_path: Path
) -> None:
    first = in_force(gateway)

    gateway.write(with_model(model, adds(tmp_path / "1.onnx", 1.0)))
    until_changed(gateway, first)

    assert gateway.processes()[f"model {model}/1"]["state"] == "ready"


def test_a_model_server_that_nobody_names_goes_once_its_last_request_must_be_over(
    gateway: GatewayProcess, model: str, tmp_path: Path
) -> None:
    one, two = adds(tmp_path / "1.onnx", 1.0), adds(tmp_path / "2.onnx", 2.0)
    gateway.write(with_model(model, one, two))
    both = gateway.post("/api/reload").json()["config_id"]
    pids = model_pids(gateway, model)

    gateway.write(with_model(model, one))
    until_changed(gateway, both)

    assert model_pids(gateway, model) == pids
    eventually(lambda: list(model_pids(gateway, model)) == ["1"], "the model server is gone")
    assert model_pids(gateway, model) == {"1": pids["1"]}


def test_a_model_server_that_is_named_again_in_time_stays(gateway: GatewayProcess, model: str, tmp_path: Path) -> None:
    one, two = adds(tmp_path / "1.onnx", 1.0), adds(tmp_path / "2.onnx", 2.0)
    with_both, with_one = with_model(model, one, two, timeout="60s"), with_model(model, one, timeout="60s")
    gateway.write(with_both)
    both = gateway.post("/api/reload").json()["config_id"]
    pids = model_pids(gateway, model)

    gateway.write(with_one)
    until_changed(gateway, both)
    gateway.write(with_both)
    eventually(lambda: in_force(gateway) == both, "the former configuration is back")

    assert model_pids(gateway, model) == pids


def test_a_model_that_cannot_be_loaded_refuses_the_reload(gateway: GatewayProcess, model: str, tmp_path: Path) -> None:
    good, broken = adds(tmp_path / "1.onnx", 1.0), tmp_path / "2.onnx"
    broken.write_bytes(b"not a model")
    first = in_force(gateway)

    gateway.write(with_model(model, good, broken))
    (error,) = until_refused(gateway)

    assert error.startswith(f"model {model}/2: ")
    assert str(broken) in error
    assert in_force(gateway) == first
    assert model_pids(gateway, model) == {}


def test_a_model_trained_anew_under_the_same_name_is_served_after_a_reload(
    gateway: GatewayProcess, model: str, tmp_path: Path
) -> None:
    path = adds(tmp_path / "1.onnx", 1.0)
    gateway.write(with_model(model, path))
    former = gateway.post("/api/reload").json()["config_id"]
    pids = model_pids(gateway, model)

    adds(path, 2.0)
    gateway.post("/api/reload")

    assert in_force(gateway) != former

    def only_the_new() -> bool:
        titles = [process["title"] for process in gateway.readyz()["processes"]]
        return titles.count(f"model {model}/1") == 1 and model_pids(gateway, model) != pids

    eventually(only_the_new, "only the new server is left")


def test_a_killed_model_server_is_started_again_on_the_same_socket(
    gateway: GatewayProcess, model: str, tmp_path: Path
) -> None:
    runtime_directory = Path(json.loads((gateway.state / "gateway.json").read_text())["runtime_directory"])
    former = set(runtime_directory.glob("model-*.sock"))
    gateway.write(with_model(model, adds(tmp_path / "1.onnx", 1.0)))
    gateway.post("/api/reload")
    (path,) = set(runtime_directory.glob("model-*.sock")) - former
    before = path.stat()

    gateway.until_respawned(f"model {model}/1", gateway.kill(f"model {model}/1"))

    assert path.stat().st_ino == before.st_ino
    assert stat.S_IMODE(before.st_mode) == 0o600


def test_a_configuration_file_may_hold_no_other_listener_than_the_one_in_use(gateway: GatewayProcess) -> None:
    first = in_force(gateway)

    gateway.write({**config(SECOND["models"], workers=WORKERS), "listen": {"admin": "127.0.0.1:1"}})

    assert [error.partition(":")[0] for error in until_refused(gateway)] == ["listen"]
    assert in_force(gateway) == first
