"""One running child process as the supervisor sees it: its line, what was last heard of it, its
end.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from typing import Final, Literal

import msgspec

from gateway.control.status import ProcessState
from gateway.core.logs import log
from gateway.runtime.child import Assignment
from gateway.runtime.line import (
    Applied,
    Apply,
    Drain,
    Failed,
    FromChild,
    Heartbeat,
    Line,
    LineError,
    Ready,
    ToChild,
    supervisor_end,
)

CHILD_MODULE: Final = "gateway.runtime"
LAST_WORDS_S: Final = 1.0
Hear = Callable[["ChildProcess", FromChild], None]
"""Called with the messages that are not about the process itself: control's questions."""


class ChildProcess:
    """Started by `spawn`; `ended` is set once it is gone, for whatever reason."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, line: Line[FromChild]):
        self.name = name
        self.pid = process.pid
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.refusal: str | None = None
        """Why it cannot start, in its own words."""
        self.facts: dict[str, object] = {}
        self.exit_status: int | None = None
        self._process = process
        self._line = line
        self._heard_at = time.monotonic()
        self._ready_at: float | None = None
        self._draining = False
        self._applied: dict[str, asyncio.Future[str | None]] = {}

    @classmethod
    async def spawn(
        cls,
        assignment: Assignment,
        hear: Hear,
        module: str = CHILD_MODULE,
        inherit: Iterable[int] = (),
    ) -> ChildProcess:
        """Fork and exec. The child inherits its sockets and `inherit`, and is in no terminal's
        process group.
        """
        with ExitStack() as held:
            ours, theirs = socket.socketpair()
            held.callback(ours.close)
            held.enter_context(theirs)
            assignment = msgspec.structs.replace(assignment, line=theirs.fileno())
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                # -P: a folder named `gateway` where the operator stands must not be taken for ours.
                "-P",
                "-m",
                module,
                assignment.name,
                assignment.encode(),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *assignment.sockets.values(), *inherit),
                process_group=0,
            )
            child = cls(assignment.name, process, await supervisor_end(ours))
            held.pop_all()
            theirs.close()
        child._follow(hear)
        return child

    @property
    def state(self) -> ProcessState:
        """Where in its life it is."""
        if self.ended.is_set():
            return "down"
        if self._draining:
            return "draining"
        return "ready" if self.ready.is_set() else "starting"

    @property
    def silent_s(self) -> float:
        """Seconds since it was last heard of."""
        return time.monotonic() - self._heard_at

    @property
    def served_s(self) -> float:
        """Seconds since it became ready; 0 if it never did."""
        return 0.0 if self._ready_at is None else time.monotonic() - self._ready_at

    def send(self, message: ToChild) -> None:
        """Send a message; dropped if the process is gone."""
        self._line.send(message)

    async def apply(self, message: Apply, patience_s: float) -> str | None:
        """Bring a configuration and wait until the process runs on it; what went wrong, or None.

        A process that ends meanwhile is no failure: the next one starts on the current
        configuration. Raises TimeoutError when there is no answer in time.
        """
        applied: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._applied[message.config_id] = applied
        self.send(message)
        ended = asyncio.create_task(self.ended.wait())
        try:
            waits: list[asyncio.Future[str | None] | asyncio.Task[Literal[True]]] = [applied, ended]
            await asyncio.wait(waits, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
            if applied.done():
                return applied.result()
            if self.ended.is_set():
                return None
            raise TimeoutError(f"no answer within {patience_s:g} s")
        finally:
            ended.cancel()
            del self._applied[message.config_id]

    async def drain(self, patience_s: float) -> None:
        """Tell it to finish and wait for its end; kill it when the time is over."""
        self._draining = True
        self.send(Drain())
        try:
            async with asyncio.timeout(patience_s):
                await self.ended.wait()
        except TimeoutError:
            log("process-killed", "warning", name=self.name, pid=self.pid, after_s=patience_s)
            await self.kill()

    async def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self.ended.wait()

    def _follow(self, hear: Hear) -> None:
        self._tasks = (
            asyncio.create_task(self._read(hear)),
            asyncio.create_task(self._reap()),
        )

    async def _read(self, hear: Hear) -> None:
        while True:
            try:
                message = await self._line.receive()
            except LineError as error:
                log("line-broken", "error", name=self.name, pid=self.pid, error=str(error))
                self._process.kill()
                return
            if message is None:
                return
            self._heard_at = time.monotonic()
            self._take(message, hear)

    def _take(self, message: FromChild, hear: Hear) -> None:
        match message:
            case Ready():
                self._ready_at = time.monotonic()
                self.ready.set()
            case Failed():
                self.refusal = message.reason
            case Heartbeat():
                self.facts = message.facts
            case Applied():
                waiting = self._applied.get(message.config_id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message.error)
            case _:
                hear(self, message)

    async def _reap(self) -> None:
        self.exit_status = await self._process.wait()
        # What it said last may still be on the line.
        await asyncio.wait([self._tasks[0]], timeout=LAST_WORDS_S)
        self._line.close()
        self.ended.set()
