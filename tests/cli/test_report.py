"""`tiltyard report` and `tiltyard pairs show`: of a running gateway, of a state directory, and where neither helps."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from gateway.cli.pairs import pairs_app
from gateway.cli.report import report
from gateway.core.config import Gateway
from gateway.core.counters import Counters
from gateway.core.metrics import OFFERED
from gateway.core.pair import Pair
from gateway.core.snapshot import compile_snapshot
from gateway.evidence.report import build_report
from gateway.stores.parquet import ParquetPairs
from tests.support.backends import Backend, answers
from tests.support.pairs import Shadow

app = typer.Typer()
app.command()(report)
app.add_typer(pairs_app, name="pairs")


@dataclass
class State:
    """A configuration whose gateway does not run, and what it has left."""

    config: Path
    pair: Pair
    document: bytes


def tiltyard(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "120"})


@pytest.fixture
def state(tmp_path: Path) -> State:
    versions = {version: {"urls": ["http://127.0.0.1:9"]} for version in "12"}
    settings = {
        # Nothing listens at the port of the discard protocol.
        "listen": {"inference": "127.0.0.1:0", "admin": "127.0.0.1:9"},
        "state": str(tmp_path / "state"),
        "models": {"flight-delay": {"versions": versions, "champion": "1", "challengers": {"2": {}}}},
    }
    config = tmp_path / "gateway.yaml"
    config.write_text(json.dumps(settings))
    shadow = Shadow(tmp_path / "state")
    (pair,) = shadow.append({"agree": False, "difference": 2.5, "paths": ("$.outputs[0].data[0]",)})
    worker = Counters(shadow.state / "counters", "worker-0", 4096)
    worker.cells[worker.group(OFFERED, ("flight-delay", "2")) + OFFERED.at("eligible")] += 3
    snapshot = compile_snapshot(Gateway.model_validate_json(config.read_text()), tmp_path)
    store = ParquetPairs(shadow.state)
    document = msgspec.json.encode(build_report(snapshot, "flight-delay", shadow.state, store))
    store.close()
    return State(config, pair, document)


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend(answers()) as running:
        yield running


def test_the_report_of_a_stopped_gateway_is_read_from_its_state(state: State) -> None:
    found = tiltyard("report", "flight-delay", "--config", state.config, "--json")
    assert found.exit_code == 0, found.output
    document = json.loads(found.stdout)
    assert document["challengers"]["2"]["eligible"] == 3
    assert document["challengers"]["2"]["agreement"]["compared"] == 1
    assert document["challengers"]["2"]["worst"][0]["request_id"] == state.pair.request_id
    assert "no gateway answers" in found.stderr
    assert f"the report is of {state.config.parent / 'state'} as it is now" in found.stderr


def test_a_running_gateway_is_asked_first(state: State, backend: Backend) -> None:
    document = state.document.replace(b'"eligible":3', b'"eligible":77')
    backend.behave(answers(document))
    for where in (("--admin", backend.url), ("--admin", backend.url.removeprefix("http://"))):
        found = tiltyard("report", "flight-delay", *where, "--json")
        assert (found.exit_code, found.stderr) == (0, "")
        assert json.loads(found.stdout) == json.loads(document)
    assert [seen.path for seen in backend.requests] == 2 * ["/api/models/flight-delay/report"]


def test_the_report_for_people_shows_the_same(state: State, backend: Backend) -> None:
    backend.behave(answers(state.document))
    offline = tiltyard("report", "flight-delay", "--config", state.config)
    asked = tiltyard("report", "flight-delay", "--admin", backend.url)
    assert (offline.exit_code, asked.exit_code) == (0, 0)
    assert offline.stdout == asked.stdout
    assert "challenger 2" in offline.stdout
    assert state.pair.request_id in offline.stdout


def test_the_name_of_a_model_is_one_part_of_the_path(backend: Backend) -> None:
    backend.behave(answers(b'{"code":"model-not-found","detail":"there is no model"}', 404))
    found = tiltyard("report", "../a?b#c%2F", "--admin", backend.url, "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout) == {"code": "model-not-found", "detail": "there is no model"}
    assert backend.requests[0].path == "/api/models/..%2Fa%3Fb%23c%252F/report"


@pytest.mark.parametrize("command", [("report", "flight-delay"), ("pairs", "show", "some-id")])
@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (503, b'{"code":"unavailable","detail":"torn"}', "unavailable"),
        (200, b'{"model":1}', "not-reached"),
        (200, b"<html>", "not-reached"),
        (404, b"<html>", "not-reached"),
        (500, b"[]", "not-reached"),
    ],
)
def test_an_answer_that_is_no_evidence_is_a_failure_with_a_code(
    backend: Backend, command: tuple[str, ...], status: int, body: bytes, code: str
) -> None:
    backend.behave(answers(body, status))
    found = tiltyard(*command, "--admin", backend.url, "--json")
    assert (found.exit_code, json.loads(found.stdout)["code"]) == (1, code)
    spoken = tiltyard(*command, "--admin", backend.url)
    assert (spoken.exit_code, spoken.stdout) == (1, "")
    assert spoken.stderr.startswith(f"{code}: ")


@pytest.mark.parametrize("command", [("report", "flight-delay"), ("pairs", "show", "some-id")])
def test_a_gateway_that_is_not_there_is_a_failure(command: tuple[str, ...]) -> None:
    found = tiltyard(*command, "--admin", "127.0.0.1:9", "--json")
    assert (found.exit_code, json.loads(found.stdout)["code"]) == (1, "not-reached")


@pytest.mark.parametrize("command", [("report", "flight-delay"), ("pairs", "show", "some-id")])
def test_naming_no_gateway_is_wrong_use(command: tuple[str, ...]) -> None:
    found = tiltyard(*command)
    assert found.exit_code == 2
    assert "--config FILE or --admin URL" in found.stderr


@pytest.mark.parametrize("command", [("report", "flight-delay"), ("pairs", "show", "some-id")])
def test_a_configuration_that_is_not_valid_is_a_failure_with_its_place(state: State, command: tuple[str, ...]) -> None:
    state.config.write_text("listen: {admin: '127.0.0.1:9'}\nmodels: 3\n")
    found = tiltyard(*command, "--config", state.config)
    assert found.exit_code == 1
    assert found.stderr.startswith(f"{state.config}:2:9: ")
    answer = json.loads(tiltyard(*command, "--config", state.config, "--json").stdout)
    assert answer["code"] == "invalid-configuration"


@pytest.mark.parametrize("command", [("report", "flight-delay"), ("pairs", "show", "some-id")])
def test_a_configuration_that_has_never_run_has_no_state(state: State, command: tuple[str, ...]) -> None:
    state.config.write_text(state.config.read_text().replace('/state"', '/elsewhere"'))
    found = tiltyard(*command, "--config", state.config, "--json")
    assert (found.exit_code, json.loads(found.stdout)["code"]) == (1, "no-state")
    assert not (state.config.parent / "elsewhere").exists()


def test_an_unknown_model_is_not_found_in_the_state_either(state: State) -> None:
    found = tiltyard("report", "other", "--config", state.config, "--json")
    assert (found.exit_code, json.loads(found.stdout)["code"]) == (1, "model-not-found")
    assert found.stderr == ""


def test_pairs_that_cannot_be_read_are_a_failure(state: State) -> None:
    broken = state.config.parent / "state/pairs/model=flight-delay/date=2026-03-14/0000000000-0000000000.parquet"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no Parquet")
    for command in (("report", "flight-delay"), ("pairs", "show", state.pair.request_id)):
        found = tiltyard(*command, "--config", state.config, "--json")
        assert (found.exit_code, json.loads(found.stdout)["code"]) == (1, "unavailable")


def test_the_pairs_of_a_request_are_shown_from_the_state(state: State) -> None:
    found = tiltyard("pairs", "show", state.pair.request_id, "--config", state.config, "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout) == {
        "request_id": state.pair.request_id,
        "pairs": [json.loads(msgspec.json.encode(state.pair))],
    }
    spoken = tiltyard("pairs", "show", state.pair.request_id, "--config", state.config)
    assert spoken.exit_code == 0
    assert "differ, difference 2.5\n  $.outputs[0].data[0]\n" in spoken.stdout


def test_the_pairs_of_a_request_are_shown_by_a_running_gateway(state: State, backend: Backend) -> None:
    document = msgspec.json.encode({"request_id": "r", "pairs": [state.pair]})
    backend.behave(answers(document))
    found = tiltyard("pairs", "show", "a/b", "--admin", backend.url, "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout) == json.loads(document)
    assert backend.requests[0].path == "/api/pairs/a%2Fb"


def test_a_request_without_pairs_is_not_found(state: State) -> None:
    found = tiltyard("pairs", "show", "some-id", "--config", state.config, "--json")
    assert (found.exit_code, json.loads(found.stdout)["code"]) == (1, "pair-not-found")
