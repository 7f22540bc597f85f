"""Bringing a configuration to every process: the order, the failures, what is remembered, what lingers."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.core.config import canonical
from gateway.core.snapshot import ModelServer
from gateway.runtime import rollout
from gateway.runtime.fleet import Fleet
from gateway.runtime.line import Apply
from gateway.runtime.rollout import REMEMBERED, Configurations, Rollout, lingers_s
from gateway.runtime.slot import StartFailed
from tests.support.configurations import RUNTIME_DIRECTORY, numbered, snapshot
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


class ScriptedSlot:
    """A slot whose process does as it is told: `answer` is what `apply` gives, or raises."""

    def __init__(self, name: str, seen: list[str]):
        self.name = name
        self.answer: str | Exception | None = None
        self._seen = seen

    async def apply(self, message: Apply, patience_s: float) -> str | None:
        self._seen.append(f"{self.name} applies")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def restart(self, reason: str) -> None:
        self._seen.append(f"{self.name} restarts: {reason}")


class ScriptedFleet:
    """A fleet without processes that keeps what was done to it, in order."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.site = SimpleNamespace(runtime_directory=RUNTIME_DIRECTORY)
        self.shadow = ScriptedSlot("shadow", self.seen)
        self.workers = [ScriptedSlot("worker", self.seen)]
        self.control = ScriptedSlot("control", self.seen)
        self.models: dict[str, str] = {}
        self.failures: dict[str, Exception] = {}
        self.hang = False

    async def start_model(self, server: ModelServer) -> None:
        self.models[server.key] = server.version
        if self.hang:
            await asyncio.Event().wait()
        if server.version in self.failures:
            raise self.failures[server.version]
        self.seen.append(f"model {server.version} starts")

    async def remove_model(self, key: str, patience_s: float) -> None:
        self.seen.append(f"model {self.models.pop(key)} goes")


def onnx(*versions: str) -> bytes:
    """The document of a configuration with one model of these ONNX versions."""
    model = {"versions": {one: {"onnx": f"/m/{one}"} for one in versions}, "champion": versions[0]}
    return canonical(snapshot(config({"m": {**model, "timeout": "1ms"}}, state="/state")).config)


def rolled_out(fleet: ScriptedFleet, *documents: bytes, patience_s: float = 60.0) -> list[tuple[str, ...]]:
    """What each document's roll-out said, one after the other."""

    async def roll_out() -> list[tuple[str, ...]]:
        rolling = Rollout(cast("Fleet", fleet), Configurations(*numbered(100)))
        outcomes = [await rolling.apply(document) for document in documents]
        await rolling.close()
        return outcomes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollout, "MODEL_START_S", patience_s)
        return asyncio.run(roll_out())


def test_models_come_first_then_the_shadow_process_then_all_others() -> None:
    fleet = ScriptedFleet()

    assert rolled_out(fleet, onnx("1")) == [()]

    assert fleet.seen == ["model 1 starts", "shadow applies", "worker applies", "control applies"]


def test_the_configuration_in_force_is_not_rolled_out_again() -> None:
    fleet = ScriptedFleet()

    assert rolled_out(fleet, numbered(100)[1], onnx("1"), onnx("1")) == [(), (), ()]

    assert fleet.seen.count("worker applies") == 1


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (StartFailed("model m/2: cannot be read"), "model m/2: cannot be read"),
        (OSError(24, "Too many open files"), "[Errno 24] Too many open files"),
    ],
)
def test_one_model_that_does_not_start_refuses_the_whole(failure: Exception, said: str) -> None:
    fleet = ScriptedFleet()
    fleet.failures["2"] = failure

    assert rolled_out(fleet, onnx("1", "2")) == [(said,)]

    assert fleet.models == {}
    assert not any("applies" in what for what in fleet.seen)


def test_a_model_that_hangs_refuses_the_whole() -> None:
    fleet = ScriptedFleet()
    fleet.hang = True

    assert rolled_out(fleet, onnx("1"), patience_s=0.01) == [("model m/1: not ready within 0.01 s",)]
    assert fleet.models == {}


def test_a_worker_that_does_not_answer_is_started_afresh() -> None:
    fleet = ScriptedFleet()
    fleet.workers[0].answer = TimeoutError("no answer within 10 s")

    assert rolled_out(fleet, onnx("1")) == [()]

    assert "worker restarts: no answer within 10 s" in fleet.seen


@pytest.mark.parametrize(("answer", "afresh"), [("a defect", True), (TimeoutError("no answer"), False)])
def test_a_shadow_process_that_fails_is_started_afresh_and_a_slow_one_left_alone(
    answer: str | Exception, afresh: bool
) -> None:
    fleet = ScriptedFleet()
    fleet.shadow.answer = answer

    assert rolled_out(fleet, onnx("1")) == [()]

    assert ("shadow restarts: a defect" in fleet.seen) is afresh
    assert "worker applies" in fleet.seen


def test_a_model_server_that_a_refused_configuration_named_again_still_goes() -> None:
    fleet = ScriptedFleet()
    fleet.failures["3"] = StartFailed("no")

    async def roll_out() -> None:
        rolling = Rollout(cast("Fleet", fleet), Configurations(*numbered(100)))
        assert await rolling.apply(onnx("1", "2")) == ()
        assert await rolling.apply(onnx("1")) == ()
        assert await rolling.apply(onnx("1", "2", "3")) == ("no",)
        while len(fleet.models) > 1:  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.01)
        await rolling.close()

    asyncio.run(roll_out())

    assert list(fleet.models.values()) == ["1"]


def test_a_very_large_configuration_is_given_time_in_proportion() -> None:
    small, large = Apply("a", b"x"), Apply("b", b"x" * 10_000_000)

    assert rollout.compiling_s(small) < 0.001
    assert rollout.compiling_s(large) == pytest.approx(50.0)
