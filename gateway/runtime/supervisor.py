"""The process at the top: holds the sockets, starts the others, watches them, stops them in
order.

It serves nobody and parses nothing that comes from outside, so that it has no reason to die.
Start: model servers, then the shadow process, then workers and control. Stop: workers first, so
that what they still offer is taken; then the shadow process, model servers, and control last, so
that `/readyz` tells what goes on until the end.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterable
from typing import Final, get_args

from gateway.control.status import GatewayStatus
from gateway.core.counters import Counters
from gateway.core.logs import log
from gateway.core.metrics import RESTARTS
from gateway.runtime.child import RoleName
from gateway.runtime.fleet import Fleet, Site
from gateway.runtime.line import (
    FromChild,
    ReloadNow,
    ReloadRequest,
    ReloadResult,
    StatusReply,
    StatusRequest,
)
from gateway.runtime.places import Record, StateDirectory, address_of
from gateway.runtime.process import CHILD_MODULE, ChildProcess
from gateway.runtime.rollout import Configurations, Rollout
from gateway.runtime.slot import Slot, StartFailed, Wiring

WATCH_S: Final = 1.0
DRAIN_MARGIN_S: Final = 2.0
"""What a process gets beyond `http.drain` to flush and end."""
UPPER_DRAIN_S: Final = 10.0

EXIT_STOPPED: Final = 0
EXIT_FAILED: Final = 1


class Supervisor:
    """Runs the gateway from its first process to its last."""

    def __init__(
        self,
        site: Site,
        held: StateDirectory,
        configurations: Configurations,
        workers: int,
        module: str = CHILD_MODULE,
    ):
        self._site = site
        self._held = held
        self._configurations = configurations
        self._counters = Counters(site.state / "counters", "supervisor")
        # Had now: where a full disk ends a process, counting that must not keep it from being started again.
        self._restarts = {role: self._counters.group(RESTARTS, (role,)) for role in get_args(RoleName)}
        wiring = Wiring(
            documents=configurations.documents,
            hear=self._hear,
            count_restart=self._count_restart,
            inherit=(held.lock,),
            module=module,
        )
        self._fleet = Fleet(site, wiring, workers)
        self._rollout = Rollout(self._fleet, configurations)
        self._stop = asyncio.Event()
        self._force = asyncio.Event()
        self._questions: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Serve until told to stop; the exit status."""
        self._listen_to_signals()
        watching = asyncio.create_task(self._watch())
        try:
            status = await self._serve()
            await self._or_forced(self._drain())
            return EXIT_FAILED if self._force.is_set() else status
        finally:
            watching.cancel()
            self._fleet.close()
            self._counters.close()

    async def _serve(self) -> int:
        """Start everything and stay until the signal to stop."""
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return EXIT_STOPPED
        try:
            starting.result()
        except (OSError, StartFailed) as failed:
            log("start-failed", "error", reason=str(failed))
            stopping.cancel()
            return EXIT_FAILED
        self._announce()
        await stopping
        return EXIT_STOPPED

    async def _start(self) -> None:
        servers = self._configurations.snapshot.servers.values()
        await _all_or_first_failure(self._fleet.start_model(server) for server in servers)
        for slots in ([self._fleet.shadow], [*self._fleet.workers, self._fleet.control]):
            for slot in slots:
                slot.start()
            await _all_or_first_failure(slot.started() for slot in slots)

    def _announce(self) -> None:
        status = self._status()
        self._held.write_record(
            Record(
                pid=os.getpid(),
                inference=status.inference,
                admin=status.admin,
                runtime_directory=str(self._site.runtime_directory),
            )
        )
        log(
            "serving",
            inference=f"http://{status.inference}",
            admin=f"http://{status.admin}",
            config_id=status.config_id,
            build=self._site.build,
            pid=os.getpid(),
            processes={process.title: process.pid for process in status.processes},
        )

    async def _drain(self) -> None:
        log("stopping")
        for question in self._questions:
            question.cancel()
        await self._rollout.close()
        patience_s = self._configurations.snapshot.config.http.drain + DRAIN_MARGIN_S
        fleet = self._fleet
        await _stop(fleet.workers, patience_s)
        await _stop([fleet.shadow], UPPER_DRAIN_S)
        await _stop(fleet.models.values(), UPPER_DRAIN_S)
        await _stop([fleet.control], UPPER_DRAIN_S)
        log("stopped")

    async def _or_forced(self, stopping: Coroutine[None, None, None]) -> None:
        """Stop in order, unless a second Ctrl-C says not to wait."""
        orderly = asyncio.create_task(stopping)
        forced = asyncio.create_task(self._force.wait())
        await asyncio.wait([orderly, forced], return_when=asyncio.FIRST_COMPLETED)
        forced.cancel()
        if not orderly.done():
            log("stopping-forced", "warning")
            orderly.cancel()
            await asyncio.gather(*(slot.kill() for slot in self._fleet.slots()))
        await asyncio.gather(orderly, return_exceptions=True)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)

    def _interrupted(self) -> None:
        """Ctrl-C: stop in order; pressed again, at once. An orchestrator may repeat its SIGTERM in peace."""
        if self._stop.is_set():
            self._force.set()
        self._stop.set()

    def _asked_to_reload(self) -> None:
        # A control process that is just being started again reads the file anyway.
        if process := self._fleet.control.process:
            process.send(ReloadNow())

    def _hear(self, process: ChildProcess, message: FromChild) -> None:
        match message:
            case StatusRequest():
                process.send(StatusReply(message.number, self._status()))
            case ReloadRequest():
                question = asyncio.create_task(self._roll_out(process, message))
                self._questions.add(question)
                question.add_done_callback(self._questions.discard)
            case _:
                return

    async def _roll_out(self, process: ChildProcess, request: ReloadRequest) -> None:
        try:
            errors = await self._rollout.apply(request.document)
        except asyncio.CancelledError:
            errors = ("the gateway is stopping",)
        process.send(ReloadResult(request.number, errors))

    def _status(self) -> GatewayStatus:
        return GatewayStatus(
            config_id=self._configurations.snapshot.id,
            inference=address_of(self._site.inference),
            admin=address_of(self._site.admin),
            draining=self._stop.is_set(),
            processes=tuple(slot.status() for slot in self._fleet.slots()),
        )

    def _count_restart(self, role: RoleName) -> None:
        self._counters.cells[self._restarts[role]] += 1

    async def _watch(self) -> None:
        """Every second, look for processes whose event loop does not turn."""
        while True:
            await asyncio.sleep(WATCH_S)
            for slot in self._fleet.slots():
                slot.check_silence()


async def _stop(slots: Iterable[Slot], patience_s: float) -> None:
    await asyncio.gather(*(slot.stop(patience_s) for slot in list(slots)))


async def _all_or_first_failure(starts: Iterable[Coroutine[None, None, None]]) -> None:
    """Wait for all; the first that fails ends the waiting for the others."""
    tasks = [asyncio.create_task(start) for start in starts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
