"""`tiltyard check`: what operators and scripts get for a file, and for backends that are not there."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from gateway.cli.check import check
from gateway.cli.reachable import AT_ONCE, Endpoint, endpoint, probe

Check = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Check:
    app = typer.Typer()
    app.command()(check)

    def run(text: str, *options: str) -> Result:
        path = tmp_path / "gateway.yaml"
        path.write_text(text)
        return CliRunner().invoke(app, [str(path), *options], env={"TEAM": "ops"})

    return run


@pytest.fixture
def listening() -> Iterator[int]:
    """A port where something accepts connections and closes them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refusing() -> Iterator[int]:
    """A port where nothing listens, and which nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def model(*ports: int) -> str:
    urls = ", ".join(f'"http://127.0.0.1:{port}"' for port in ports)
    return f'models:\n  m:\n    owner: ${{TEAM}}\n    versions:\n      "1": {{urls: [{urls}]}}\n    champion: "1"\n'


def test_a_valid_file_is_summed_up_in_one_line(run: Check, listening: int, tmp_path: Path) -> None:
    result = run(model(listening))

    assert result.exit_code == 0
    assert result.stderr == ""
    summary = f"{tmp_path}/gateway.yaml: valid: 1 model, 1 version, config "
    assert result.stdout.startswith(summary)
    assert len(result.stdout.removeprefix(summary).strip()) == 12


def test_every_error_is_a_line_on_standard_error(run: Check, tmp_path: Path) -> None:
    result = run(model(1) + "workers: 0\nlisten: here\n")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"{tmp_path}/gateway.yaml:7:10: expected 1 or more, got 0",
        f'{tmp_path}/gateway.yaml:8:9: expected a mapping, got "here"',
    ]


def test_an_unreachable_backend_is_a_warning_with_its_line(
    run: Check, listening: int, refusing: int, tmp_path: Path
) -> None:
    result = run(model(listening, refusing))

    assert result.exit_code == 0
    column = 20 + len(f'"http://127.0.0.1:{listening}", ')
    assert result.stderr == (
        f"{tmp_path}/gateway.yaml:5:{column}: warning: backend http://127.0.0.1:{refusing}"
        " cannot be reached: connection refused\n"
    )
    assert "valid" in result.stdout


def test_a_backend_named_more_than_once_is_warned_of_once(run: Check, refusing: int) -> None:
    result = run(model(refusing, refusing))

    assert result.stderr.count("cannot be reached: connection refused (named 1 more time)\n") == 1
    assert result.stderr.count("cannot be reached") == 1


def test_offline_no_connection_is_tried(run: Check, refusing: int) -> None:
    result = run(model(refusing), "--offline")

    assert (result.exit_code, result.stderr) == (0, "")


def test_a_script_reads_one_object_of_a_valid_file(run: Check, refusing: int, tmp_path: Path) -> None:
    result = run(model(refusing), "--json")

    assert result.exit_code == 0
    assert result.stderr == ""
    answer = json.loads(result.stdout)
    assert len(answer.pop("config_id")) == 12
    message = f"backend http://127.0.0.1:{refusing} cannot be reached: connection refused"
    warning = {"file": f"{tmp_path}/gateway.yaml", "line": 5, "column": 20, "message": message}
    assert answer == {"valid": True, "models": 1, "versions": 1, "errors": [], "warnings": [warning]}


def test_a_script_reads_one_object_with_a_code_of_an_invalid_file(run: Check, tmp_path: Path) -> None:
    result = run("- x\n", "--json")

    assert result.exit_code == 1
    assert result.stderr == ""
    error = {"file": f"{tmp_path}/gateway.yaml", "line": 1, "column": 1, "message": "expected a mapping, got a list"}
    assert json.loads(result.stdout) == {
        "valid": False,
        "code": "invalid-configuration",
        "errors": [error],
        "warnings": [],
    }


def test_doubts_about_the_file_and_its_backends_are_in_the_order_of_the_file(run: Check, refusing: int) -> None:
    result = run("tenant_header: x-tenant\n" + model(refusing))

    assert [line.rpartition("gateway.yaml:")[2][:2] for line in result.stderr.splitlines()] == ["1:", "6:"]


def test_wrong_use_is_told_apart(run: Check) -> None:
    assert run("", "--no-such-option").exit_code == 2


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a", Endpoint("a", 80)),
        ("https://a/b", Endpoint("a", 443)),
        ("http://[::1]:9/", Endpoint("::1", 9)),
    ],
)
def test_a_url_leads_to_a_host_and_a_port(url: str, expected: Endpoint) -> None:
    assert endpoint(url) == expected


def test_more_endpoints_than_connections_at_once_are_all_tried(listening: int, refusing: int) -> None:
    # 127.0.0.0/8 is all this machine; the listener is on one address of it only.
    endpoints = {Endpoint(f"127.0.{third}.1", refusing) for third in range(AT_ONCE * 2)}

    tried = dict(probe([*endpoints, Endpoint("127.0.0.1", listening)]))

    assert tried.pop(Endpoint("127.0.0.1", listening)) is None
    assert set(tried.values()) == {"connection refused"}
    assert tried.keys() == endpoints


def test_a_host_that_does_not_exist_is_said_so() -> None:
    # RFC 6761: nothing is below .invalid; the label beyond 63 characters no resolver can encode.
    endpoints = [Endpoint("nobody.invalid", 80), Endpoint("x" * 64 + ".invalid", 80)]

    assert {problem for _, problem in probe(endpoints)} == {"no such host"}


def test_a_backend_that_answers_nothing_is_given_up() -> None:
    with ExitStack() as stack:
        # A backlog that is full lets further connections wait for ever.
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = server.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)

        assert list(probe([Endpoint(*address)])) == [(Endpoint(*address), "no answer within 1 s")]


def test_when_time_is_over_the_rest_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*args: object, **kwargs: object) -> socket.socket:
        release.wait(30)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", hang)
    one = Endpoint("127.0.0.1", 1)

    assert list(probe([one], all_s=0.05)) == [(one, "not found out within 0.05 s")]
    release.set()
