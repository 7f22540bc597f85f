"""The life of a child process: start the role, follow the line, drain, end.

Rules: configurations are compiled in a thread, so the event loop keeps turning; they are taken
one after the other in the order they came; the end of the line means that the supervisor is gone,
and is the same as being told to drain. Signals are the supervisor's affair: a Ctrl-C in a
terminal reaches every process of the group, and must not make the shadow process go before the
workers.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import importlib
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import setproctitle
import uvloop

from gateway.core.config import Gateway
from gateway.core.logs import capture_logging, log, name_process
from gateway.core.snapshot import Snapshot, compile_snapshot
from gateway.runtime.child import (
    Assignment,
    ChildContext,
    RemembersSnapshots,
    Role,
    StartRefused,
)
from gateway.runtime.line import (
    HEARTBEAT_S,
    Applied,
    Apply,
    Drain,
    Failed,
    Heartbeat,
    Line,
    Ready,
    ReloadNow,
    ReloadResult,
    StatusReply,
    ToChild,
    child_end,
)
from gateway.runtime.link import SupervisorLink

EXIT_DRAINED: Final = 0
EXIT_FAILED: Final = 1

MakeRole = Callable[[ChildContext], Role]


class Session:
    """One child process from its first message to its last."""

    def __init__(self, assignment: Assignment, line: Line[ToChild], make: MakeRole):
        self._line = line
        self._link = SupervisorLink(line)
        self._runtime_directory = assignment.runtime_directory
        self._applies: asyncio.Queue[Apply] = asyncio.Queue()
        self._drain = asyncio.Event()
        self._broken = asyncio.Event()
        self._started = False
        self._context = ChildContext(
            role=assignment.role,
            index=assignment.index,
            name=assignment.name,
            state=assignment.state,
            runtime_directory=assignment.runtime_directory,
            config_path=assignment.config_path,
            sockets={name: socket.socket(fileno=number) for name, number in assignment.sockets.items()},
            supervisor=self._link,
            fail=self._fail,
            server=assignment.server,
        )
        self._role = make(self._context)

    async def run(self) -> int:
        """Serve until told to drain; the exit status."""
        tasks = [
            asyncio.create_task(coroutine)
            for coroutine in (
                self._follow_line(),
                self._beat(),
                self._follow_configuration(),
                self._drain.wait(),
                self._broken.wait(),
            )
        ]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not self._drain.is_set():
                for task in ended:
                    if error := task.exception():
                        log("process-failed", "error", error=_described(error))
                return EXIT_FAILED
            if self._started:
                await self._role.drain()
            return EXIT_DRAINED
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._line.flush()
            self._line.close()
            self._context.close()

    async def _follow_line(self) -> None:
        while True:
            match await self._line.receive():
                case Apply() as apply:
                    self._applies.put_nowait(apply)
                case Drain() | None:
                    self._drain.set()
                    return
                case ReloadNow():
                    self._context.on_reload()
                case StatusReply() | ReloadResult() as answer:
                    self._link.answered(answer)

    async def _beat(self) -> None:
        while True:
            self._line.send(Heartbeat(self._role.status() if self._started else {}))
            await asyncio.sleep(HEARTBEAT_S)

    async def _follow_configuration(self) -> None:
        """Take configurations as they come; returns only when the role could not start."""
        while True:
            apply = await self._applies.get()
            if self._started:
                await self._apply(apply)
            elif not await self._start(apply):
                return

    async def _start(self, apply: Apply) -> bool:
        try:
            snapshot = await self._compile(apply)
            if not apply.current:
                await self._remember(snapshot)
                return True
            await self._role.start(snapshot)
        except StartRefused as refused:
            self._line.send(Failed(str(refused)))
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, the process ends for it and is started afresh
            log("start-failed", "error", error=_described(error))
            return False
        self._started = True
        self._line.send(Ready())
        self._line.send(Heartbeat(self._role.status()))
        return True

    async def _apply(self, apply: Apply) -> None:
        error = None
        try:
            snapshot = await self._compile(apply)
            if apply.current:
                await self._role.apply(snapshot)
            else:
                await self._remember(snapshot)
        except Exception as failure:  # noqa: BLE001 - the supervisor decides what becomes of a process that cannot follow
            error = _described(failure)
            log("apply-failed", "error", config_id=apply.config_id, error=error)
        if apply.current:
            self._line.send(Applied(apply.config_id, error))

    async def _remember(self, snapshot: Snapshot) -> None:
        if isinstance(self._role, RemembersSnapshots):
            await self._role.remember(snapshot)

    async def _compile(self, apply: Apply) -> Snapshot:
        return await asyncio.to_thread(_compiled, apply.document, self._runtime_directory)

    def _fail(self, reason: str) -> None:
        log("process-failed", "error", error=reason)
        self._broken.set()


def _compiled(document: bytes, runtime_directory: Path) -> Snapshot:
    """Compile in this thread, with as little of the interpreter's lock as can be.

    A configuration of 10 000 models is a million objects. A collection that walks them holds up whatever the event
    loop serves, and finds nothing: a snapshot has no cycles. So none runs meanwhile, and later ones pass them over.
    """
    gc.disable()
    try:
        snapshot = compile_snapshot(Gateway.model_validate_json(document), runtime_directory)
        gc.freeze()
    finally:
        gc.enable()
    return snapshot


def _described(error: BaseException) -> str:
    """What went wrong and where, in one line: this is a defect of ours, and the place is what its
    finder needs.
    """
    place = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_qualname}"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error} ({place})"


async def serve(assignment: Assignment, make: MakeRole) -> int:
    """Run a role in this process until it has drained; the exit status."""
    line = await child_end(socket.socket(fileno=assignment.line))
    return await Session(assignment, line, make).run()


def role_maker(role: str) -> MakeRole:
    """The role's own module, imported only where it runs: a worker never loads what the others
    need.
    """
    make: MakeRole = importlib.import_module(f"gateway.runtime.{role}").make
    return make


def main(find_role: Callable[[str], MakeRole] = role_maker) -> None:
    """Be the child process that the command line describes."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable()
    assignment = Assignment.decode(sys.argv[2])
    setproctitle.setproctitle(f"tiltyard: {assignment.title}")
    name_process(assignment.title)
    capture_logging()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(serve(assignment, find_role(assignment.role)))
    # Libraries that check for leaks at the end want everything to be collectable.
    gc.unfreeze()
    sys.exit(status)
