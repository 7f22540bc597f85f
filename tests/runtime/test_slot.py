"""One place of a process in the supervisor, with real processes in it."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from gateway.runtime import process as processes
from gateway.runtime import slot as slots
from gateway.runtime.child import Assignment, RoleName
from gateway.runtime.line import Apply
from gateway.runtime.slot import Slot, StartFailed, Wiring
from tests.support.configurations import numbered
from tests.support.gateway_process import ROOT

SHADOW = Assignment(
    role="shadow",
    index=0,
    name="shadow",
    title="shadow",
    line=-1,
    sockets={},
    state=Path(),
    runtime_directory=Path("/run/test"),
    config_path=Path("/gateway.yaml"),
)


def documents(role: RoleName) -> list[Apply]:
    snapshot, document = numbered(100)
    return [Apply(snapshot.id, document)]


def run(state: Path, talk: Callable[[Slot], Awaitable[None]], module: str = "tests.support.roles") -> list[str]:
    """Let a slot keep a scripted shadow process while the test talks to it; the restarts counted."""
    counted: list[str] = []

    async def conversation() -> None:
        wiring = Wiring(documents, lambda process, message: None, counted.append, (), module)
        slot = Slot(msgspec.structs.replace(SHADOW, state=state), wiring)
        slot.start()
        try:
            await talk(slot)
        finally:
            await slot.kill()
            await slot.stop(1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{state}")
        asyncio.run(conversation())
    return counted


def test_a_silent_process_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def talk(slot: Slot) -> None:
        await slot.started()
        assert slot.process is not None
        os.kill(slot.process.pid, signal.SIGSTOP)
        # It was heard of a moment ago, and now it is not any more.
        monkeypatch.setattr(slots, "SILENT_S", -1.0)
        slot.check_silence()
        slot.check_silence()
        os.kill(slot.process.pid, signal.SIGCONT)

    run(tmp_path, talk)

    assert capfd.readouterr().err.count('"event":"process-silent"') == 1


def test_a_configuration_for_a_process_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    async def talk(slot: Slot) -> None:
        assert await slot.apply(documents("shadow")[0], 1.0) is None
        await slot.started()
        await slot.kill()
        assert await slot.apply(documents("shadow")[0], 1.0) is None

    run(tmp_path, talk)


def test_a_process_that_dies_while_it_is_brought_a_configuration_is_no_error(tmp_path: Path) -> None:
    async def talk(slot: Slot) -> None:
        await slot.started()
        assert slot.process is not None
        os.kill(slot.process.pid, signal.SIGSTOP)
        applying = asyncio.create_task(slot.apply(documents("shadow")[0], 30.0))
        await asyncio.sleep(0)
        os.kill(slot.process.pid, signal.SIGKILL)
        assert await applying is None

    assert run(tmp_path, talk) == ["shadow"]


def test_a_process_that_does_not_answer_is_a_timeout(tmp_path: Path) -> None:
    async def talk(slot: Slot) -> None:
        await slot.started()
        assert slot.process is not None
        os.kill(slot.process.pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError, match="no answer within"):
            await slot.apply(documents("shadow")[0], 0.05)

    run(tmp_path, talk)


def test_a_slot_without_a_process_has_a_status(tmp_path: Path) -> None:
    async def talk(slot: Slot) -> None:
        before = slot.status()
        assert (before.state, before.pid, before.restarts) == ("down", None, 0)
        await slot.started()
        after = slot.status()
        assert after.state == "ready"
        assert after.pid is not None

    run(tmp_path, talk)


def test_what_cannot_be_run_at_all_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes.sys, "executable", str(tmp_path / "no-such-python"))

    async def talk(slot: Slot) -> None:
        with pytest.raises(StartFailed, match="ended 5 times before it was ready"):
            await slot.started()

    run(tmp_path, talk)

    assert capfd.readouterr().err.count('"event":"process-not-started"') == 5


def test_garbage_on_the_line_ends_the_process(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "babbler.py").write_text(
        "import json, socket, sys\n"
        "line = socket.socket(fileno=json.loads(sys.argv[2])['line'])\n"
        "line.sendall(bytes([0, 0, 0, 1, 0xC1]))\n"
        "line.recv(1)\n"
        "sys.stdin.read()\n"
    )

    async def talk(slot: Slot) -> None:
        with pytest.raises(StartFailed):
            await slot.started()

    run(tmp_path, talk, "babbler")

    assert capfd.readouterr().err.count('"event":"line-broken"') == 5
