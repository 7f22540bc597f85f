"""The life of a child process, with a role of the test's own and the test as its supervisor."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from gateway.control.status import GatewayStatus
from gateway.core.snapshot import Snapshot
from gateway.runtime import link, session
from gateway.runtime.child import Assignment, ChildContext, StartRefused
from gateway.runtime.line import (
    Applied,
    Apply,
    Drain,
    Failed,
    FromChild,
    Heartbeat,
    Line,
    Ready,
    ReloadNow,
    ReloadRequest,
    ReloadResult,
    StatusReply,
    StatusRequest,
    supervisor_end,
)
from tests.support.configurations import numbered

STATUS = GatewayStatus("id", "127.0.0.1:1", "127.0.0.1:2", draining=False, processes=())


class ObedientRole:
    """Writes down what it is told; a test overrides what should go differently."""

    def __init__(self, context: ChildContext):
        self.context = context
        self.told: list[tuple[str, str]] = []

    async def start(self, snapshot: Snapshot) -> None:
        self.told.append(("start", snapshot.id))

    async def apply(self, snapshot: Snapshot) -> None:
        self.told.append(("apply", snapshot.id))

    async def drain(self) -> None:
        self.told.append(("drain", ""))

    def status(self) -> dict[str, object]:
        return {"told": len(self.told)}


class Child:
    """A session that runs, and the supervisor's end of its line."""

    def __init__(self, kind: type[ObedientRole], state: Path):
        self._kind = kind
        self._state = state
        self.role: ObedientRole

    async def __aenter__(self) -> "Child":
        ours, theirs = socket.socketpair()
        assignment = Assignment(
            role="worker",
            index=0,
            name="worker-0",
            title="worker 0",
            line=theirs.detach(),
            sockets={},
            state=self._state,
            runtime_directory=Path("/run/test"),
            config_path=Path("/gateway.yaml"),
        )
        self.line: Line[FromChild] = await supervisor_end(ours)
        self.ended = asyncio.create_task(session.serve(assignment, self._make))
        return self

    async def __aexit__(self, *failure: object) -> None:
        self.line.close()
        await self.ended

    def _make(self, context: ChildContext) -> ObedientRole:
        self.role = self._kind(context)
        return self.role

    def apply(self, port: int, current: bool = True) -> str:
        """Send one of many configurations; its id."""
        snapshot, document = numbered(port)
        self.line.send(Apply(snapshot.id, document, current))
        return snapshot.id

    async def hear(self) -> FromChild | None:
        """The next message that is no heartbeat."""
        while isinstance(message := await self.line.receive(), Heartbeat):
            continue
        return message

    async def until_ready(self) -> str:
        config_id = self.apply(100)
        assert await self.hear() == Ready()
        return config_id


Talk = Callable[[Child], Awaitable[None]]


def run(state: Path, kind: type[ObedientRole], talk: Talk) -> int:
    """Let a child of this kind run while the test talks to it; its exit status."""

    async def conversation() -> int:
        async with Child(kind, state) as child:
            await talk(child)
        return child.ended.result()

    return asyncio.run(conversation())


def test_a_child_starts_follows_and_drains(tmp_path: Path) -> None:
    async def talk(child: Child) -> None:
        first = await child.until_ready()
        second = child.apply(101)
        assert await child.hear() == Applied(second, None)
        child.line.send(Drain())
        assert await child.ended == 0
        assert child.role.told == [("start", first), ("apply", second), ("drain", "")]

    assert run(tmp_path, ObedientRole, talk) == 0


def test_the_end_of_the_line_is_the_same_as_being_told_to_drain(tmp_path: Path) -> None:
    async def talk(child: Child) -> None:
        await child.until_ready()
        child.line.close()
        await child.ended
        assert child.role.told[-1] == ("drain", "")

    assert run(tmp_path, ObedientRole, talk) == 0


def test_a_child_that_has_not_started_has_nothing_to_drain(tmp_path: Path) -> None:
    async def talk(child: Child) -> None:
        child.line.send(Drain())
        await child.ended
        assert child.role.told == []

    assert run(tmp_path, ObedientRole, talk) == 0


def test_a_start_that_hangs_can_be_ended(tmp_path: Path) -> None:
    began = asyncio.Event()

    class Hanging(ObedientRole):
        async def start(self, snapshot: Snapshot) -> None:
            began.set()
            await asyncio.Event().wait()

    async def talk(child: Child) -> None:
        child.apply(100)
        await began.wait()
        child.line.send(Drain())
        await child.ended
        assert child.role.told == []

    assert run(tmp_path, Hanging, talk) == 0


def test_it_says_what_it_does_from_the_first_moment_on(tmp_path: Path) -> None:
    async def talk(child: Child) -> None:
        assert await child.line.receive() == Heartbeat({})
        await child.until_ready()
        assert await child.line.receive() == Heartbeat({"told": 1})

    run(tmp_path, ObedientRole, talk)


def test_former_configurations_are_passed_over_by_roles_that_do_not_remember(tmp_path: Path) -> None:
    async def talk(child: Child) -> None:
        child.apply(99, current=False)
        first = await child.until_ready()
        child.apply(98, current=False)
        second = child.apply(101)
        assert await child.hear() == Applied(second, None)
        assert child.role.told == [("start", first), ("apply", second)]

    run(tmp_path, ObedientRole, talk)


def test_former_configurations_are_remembered_before_the_start_and_after_it(tmp_path: Path) -> None:
    class Remembering(ObedientRole):
        async def remember(self, snapshot: Snapshot) -> None:
            self.told.append(("remember", snapshot.id))

    async def talk(child: Child) -> None:
        before = child.apply(99, current=False)
        first = await child.until_ready()
        after = child.apply(98, current=False)
        second = child.apply(101)
        assert await child.hear() == Applied(second, None)
        assert child.role.told == [
            ("remember", before),
            ("start", first),
            ("remember", after),
            ("apply", second),
        ]

    run(tmp_path, Remembering, talk)


def test_a_refused_start_is_told_with_its_reason(tmp_path: Path) -> None:
    class Refusing(ObedientRole):
        async def start(self, snapshot: Snapshot) -> None:
            raise StartRefused("mend the file")

    async def talk(child: Child) -> None:
        child.apply(100)
        assert await child.hear() == Failed("mend the file")
        assert await child.hear() is None

    assert run(tmp_path, Refusing, talk) == 1


def test_a_failed_start_ends_the_process_and_says_where_it_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failing(ObedientRole):
        async def start(self, snapshot: Snapshot) -> None:
            raise ZeroDivisionError("a defect")

    async def talk(child: Child) -> None:
        child.apply(100)
        assert await child.hear() is None

    assert run(tmp_path, Failing, talk) == 1
    event = json.loads(capsys.readouterr().err)
    assert event["event"] == "start-failed"
    assert event["error"].startswith("ZeroDivisionError: a defect (test_session.py:")


def test_a_configuration_that_cannot_be_applied_is_answered_and_the_former_goes_on(
    tmp_path: Path,
) -> None:
    class Failing(ObedientRole):
        async def apply(self, snapshot: Snapshot) -> None:
            raise ValueError("not this one")

    async def talk(child: Child) -> None:
        await child.until_ready()
        config_id = child.apply(101)
        answer = await child.hear()
        assert isinstance(answer, Applied)
        assert answer.config_id == config_id
        assert answer.error is not None
        assert "not this one" in answer.error
        assert not child.ended.done()

    run(tmp_path, Failing, talk)


def test_a_document_that_is_no_configuration_is_answered_with_an_error(tmp_path: Path) -> None:
    async def talk(child: Child) -> None:
        await child.until_ready()
        child.line.send(Apply("0123", b"{}"))
        answer = await child.hear()
        assert isinstance(answer, Applied)
        assert answer.error is not None
        assert answer.error.startswith("ValidationError: ")

    run(tmp_path, ObedientRole, talk)


@pytest.mark.parametrize("break_it", ["fail", "status", "line"])
def test_what_cannot_go_on_ends_the_process_without_draining(tmp_path: Path, break_it: str) -> None:
    class Broken(ObedientRole):
        def status(self) -> dict[str, object]:
            if break_it == "status":
                raise ZeroDivisionError
            return {}

    async def talk(child: Child) -> None:
        if break_it == "status":
            child.apply(100)
        else:
            await child.until_ready()
        if break_it == "fail":
            child.role.context.fail("cannot go on")
        if break_it == "line":
            child.line._writer.write(b"\x00\x00\x00\x01\xc1")
        while await child.hear():
            continue
        assert ("drain", "") not in child.role.told

    assert run(tmp_path, Broken, talk) == 1


def asking(question: Callable[[ChildContext], Coroutine[Any, Any, object]]) -> type[ObedientRole]:
    """A role that asks the supervisor something once it has started; `told` has the answer."""

    class Asking(ObedientRole):
        async def start(self, snapshot: Snapshot) -> None:
            self.question = asyncio.create_task(question(self.context))

    return Asking


async def answer_of(child: Child) -> object:
    assert hasattr(child.role, "question")
    return await child.role.question


def test_a_role_can_ask_how_every_process_does(tmp_path: Path) -> None:
    async def talk(child: Child) -> None:
        await child.until_ready()
        request = await child.hear()
        assert isinstance(request, StatusRequest)
        child.line.send(StatusReply(request.number + 1, STATUS))
        child.line.send(StatusReply(request.number, STATUS))
        assert await answer_of(child) == STATUS

    run(tmp_path, asking(lambda context: context.supervisor.status()), talk)


def test_a_role_can_ask_for_a_roll_out(tmp_path: Path) -> None:
    async def talk(child: Child) -> None:
        await child.until_ready()
        request = await child.hear()
        assert isinstance(request, ReloadRequest)
        assert (request.config_id, request.document) == ("id", b"{}")
        child.line.send(ReloadResult(request.number + 1, ("of another",)))
        child.line.send(ReloadResult(request.number, ("no",)))
        assert await answer_of(child) == ("no",)

    run(tmp_path, asking(lambda context: context.supervisor.roll_out("id", b"{}")), talk)


def test_a_supervisor_that_does_not_answer_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "STATUS_PATIENCE_S", 0.01)

    async def talk(child: Child) -> None:
        await child.until_ready()
        with pytest.raises(OSError, match=r"has not answered within 0\.01 s"):
            await answer_of(child)

    run(tmp_path, asking(lambda context: context.supervisor.status()), talk)


def test_a_role_hears_that_an_operator_wants_a_reload(tmp_path: Path) -> None:
    class Listening(ObedientRole):
        async def start(self, snapshot: Snapshot) -> None:
            self.heard = asyncio.Event()
            self.context.on_reload = self.heard.set

    async def talk(child: Child) -> None:
        child.line.send(ReloadNow())
        await child.until_ready()
        child.line.send(ReloadNow())
        assert isinstance(child.role, Listening)
        await child.role.heard.wait()

    assert run(tmp_path, Listening, talk) == 0


def test_counters_are_opened_when_they_are_used(tmp_path: Path) -> None:
    async def talk(child: Child) -> None:
        await child.until_ready()
        assert not (tmp_path / "counters").exists()
        assert child.role.context.counters is child.role.context.counters
        assert (tmp_path / "counters" / "worker-0.cells").exists()
        assert child.role.context.shadow_path == "/run/test/shadow.sock"

    run(tmp_path, ObedientRole, talk)
