"""What is remembered of former configurations, and for how long a model server is still needed."""

from pathlib import Path

import pytest

from gateway.runtime import rollout
from gateway.runtime.rollout import REMEMBERED, Configurations, lingers_s
from tests.support.configurations import numbered, snapshot
from tests.support.gateway_process import Json, config


def after_changes(count: int) -> Configurations:
    configurations = Configurations(*numbered(100))
    for port in range(101, 101 + count):
        configurations.replace(*numbered(port))
    return configurations


def test_most_processes_are_sent_the_configuration_in_force_alone() -> None:
    configurations = after_changes(3)

    for role in ("worker", "control", "model"):
        (only,) = configurations.documents(role)
        assert (only.config_id, only.current) == (numbered(103)[0].id, True)


def test_the_shadow_process_is_sent_the_former_ones_first_and_oldest_first() -> None:
    documents = after_changes(3).documents("shadow")

    assert [(one.config_id, one.current) for one in documents] == [
        (numbered(100)[0].id, False),
        (numbered(101)[0].id, False),
        (numbered(102)[0].id, False),
        (numbered(103)[0].id, True),
    ]


def test_only_so_many_are_remembered() -> None:
    documents = after_changes(REMEMBERED + 5).documents("shadow")

    assert len(documents) == REMEMBERED + 1
    assert documents[0].config_id == numbered(105)[0].id


def test_only_so_many_bytes_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(numbered(100)[1])
    monkeypatch.setattr(rollout, "REMEMBERED_BYTES", 2 * size)

    documents = after_changes(5).documents("shadow")

    assert [one.config_id for one in documents] == [numbered(port)[0].id for port in (103, 104, 105)]


def model(**keys: object) -> Json:
    versions = {"1": {"onnx": "/m/1.onnx"}, "2": {"onnx": "/m/2.onnx"}, "3": {"urls": ["http://x"]}}
    return {"versions": versions, "champion": "1", "timeout": "7s", **keys}


@pytest.mark.parametrize(
    ("keys", "version", "seconds"),
    [
        ({}, "1", 7.0),
        ({"timeout": "30s"}, "2", 30.0),
        # A challenger's call may begin when the champion has answered and the offer has waited.
        ({"challengers": {"2": {"timeout": "2s"}}}, "2", 7.0 + 10.0 + 2.0),
        ({"challengers": {"2": {"timeout": "2s"}}}, "1", 7.0),
    ],
)
def test_a_model_server_lingers_for_the_longest_call_it_may_still_get(keys: Json, version: str, seconds: float) -> None:
    compiled = snapshot(config({"m": model(**keys)}, state="/state"))
    server = compiled.models["m"].versions[version].server
    assert server is not None
    assert server.path == Path(f"/m/{version}.onnx")

    assert lingers_s(compiled, server.key) == seconds + 1.0


def test_a_model_server_that_was_never_named_is_not_waited_for() -> None:
    assert lingers_s(numbered(100)[0], "0123456789ab") == 1.0
