"""Keeps one process running: starts it, feeds it the configuration, starts it again when it ends
unasked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.control.status import ProcessStatus
from gateway.core.logs import log
from gateway.runtime.backoff import Backoff
from gateway.runtime.child import Assignment, RoleName
from gateway.runtime.line import Apply
from gateway.runtime.process import CHILD_MODULE, ChildProcess, Hear

START_ATTEMPTS: Final = 5
SILENT_S: Final = 10.0


class StartFailed(Exception):
    """A process could not be brought up for the first time."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What all slots share.

    `documents` gives what a process of a role must be sent when it starts; `inherit` are file
    descriptors that every child keeps open; `module` is what children run (tests have their own
    roles).
    """

    documents: Callable[[RoleName], list[Apply]]
    hear: Hear
    count_restart: Callable[[RoleName], None]
    inherit: tuple[int, ...] = ()
    module: str = CHILD_MODULE


class Slot:
    """The place of one process. `start` it, wait for `started`, and `stop` it."""

    def __init__(self, assignment: Assignment, wiring: Wiring):
        self.assignment = assignment
        self.restarts = 0
        self.process: ChildProcess | None = None
        self._wiring = wiring
        self._stopping = asyncio.Event()
        self._first_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failed_starts = 0
        self._said_silent = False
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to keep the process running."""
        self._keeping = asyncio.create_task(self._keep())

    async def started(self) -> None:
        """Wait until it is ready for the first time. Raises StartFailed, naming why."""
        await asyncio.shield(self._first_ready)

    async def apply(self, message: Apply, patience_s: float) -> str | None:
        """Bring a configuration to the process, if there is one; what went wrong, or None.

        A process that starts just now was sent the current configuration anyway. Raises
        TimeoutError.
        """
        if self.process is None or self.process.ended.is_set():
            return None
        return await self.process.apply(message, patience_s)

    async def restart(self, reason: str) -> None:
        """End the process at once; the next one starts afresh."""
        if self.process is not None and not self.process.ended.is_set():
            log(
                "process-restart",
                "error",
                name=self.assignment.name,
                pid=self.process.pid,
                reason=reason,
            )
            await self.process.kill()

    async def stop(self, patience_s: float) -> None:
        """Drain the process and start no other; kill it when the time is over."""
        self._stopping.set()
        if self.process is not None and not self.process.ended.is_set():
            await self.process.drain(patience_s)
        if self._keeping is not None:
            await self._keeping

    async def kill(self) -> None:
        """End the process at once and start no other."""
        self._stopping.set()
        if self.process is not None:
            await self.process.kill()

    def status(self) -> ProcessStatus:
        """How the process does."""
        process = self.process
        alive = process is not None and not process.ended.is_set()
        return ProcessStatus(
            name=self.assignment.name,
            title=self.assignment.title,
            role=self.assignment.role,
            state=process.state if process else "down",
            pid=process.pid if process and alive else None,
            restarts=self.restarts,
            silent_s=round(process.silent_s, 1) if process and alive else 0.0,
            facts=process.facts if process and alive else {},
        )

    def check_silence(self) -> None:
        """Say once that a process has not been heard of for long."""
        process = self.process
        silent = process is not None and process.state == "ready" and process.silent_s > SILENT_S
        if silent and process is not None and not self._said_silent:
            log(
                "process-silent",
                "error",
                name=self.assignment.name,
                pid=process.pid,
                for_s=round(process.silent_s),
            )
        self._said_silent = silent

    async def _keep(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            healthy_s = await self._run_once()
            if self._stopping.is_set() or self._gave_up():
                break
            self.restarts += 1
            self._wiring.count_restart(self.assignment.role)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.after_exit(healthy_s)):
                    await self._stopping.wait()
        if not self._first_ready.done():
            self._first_ready.cancel()

    async def _run_once(self) -> float:
        """One process from start to end; for how many seconds it served."""
        name, role = self.assignment.name, self.assignment.role
        try:
            process = await ChildProcess.spawn(
                self.assignment, self._wiring.hear, self._wiring.module, self._wiring.inherit
            )
        except OSError as error:
            self._failed_starts += 1
            log("process-not-started", "error", name=name, error=str(error))
            return 0.0
        self.process = process
        for message in self._wiring.documents(role):
            process.send(message)
        if self._stopping.is_set():
            await process.kill()
            return 0.0
        await self._until_ready(process)
        await process.ended.wait()
        if not self._stopping.is_set():
            log(
                "process-ended",
                "error",
                name=name,
                pid=process.pid,
                status=process.exit_status,
                reason=process.refusal,
            )
        return process.served_s

    async def _until_ready(self, process: ChildProcess) -> None:
        waits = [
            asyncio.create_task(process.ready.wait()),
            asyncio.create_task(process.ended.wait()),
        ]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if not process.ready.is_set():
            self._failed_starts += 1
        elif not self._first_ready.done():
            self._first_ready.set_result(None)

    def _gave_up(self) -> bool:
        """Whether the first start is hopeless; once a process has served, it is tried again
        without end.
        """
        if self._first_ready.done():
            return False
        refusal = self.process.refusal if self.process else None
        title = self.assignment.title
        if refusal is not None:
            self._first_ready.set_exception(StartFailed(f"{title}: {refusal}"))
        elif self._failed_starts >= START_ATTEMPTS:
            self._first_ready.set_exception(
                StartFailed(f"{title}: ended {self._failed_starts} times before it was ready")
            )
        return self._first_ready.done()
