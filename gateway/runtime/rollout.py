"""Brings one configuration to every process, in an order in which no request meets a process that
does not know it.

New model servers first, and the whole is refused if one does not come up; then the shadow
process, because workers' offers name the snapshot they were made under; then all workers at once;
model servers that nobody names any more go last, after the longest time a request begun on the
former configuration may take.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Final

from gateway.core.config import Gateway
from gateway.core.logs import log
from gateway.core.snapshot import ModelServer, Snapshot, compile_snapshot
from gateway.runtime.child import RoleName
from gateway.runtime.fleet import Fleet
from gateway.runtime.line import Apply
from gateway.runtime.slot import Slot, StartFailed

REMEMBERED: Final = 32
REMEMBERED_BYTES: Final = 64 * 1024 * 1024
MODEL_START_S: Final = 60.0
MODEL_DRAIN_S: Final = 10.0
SHADOW_PATIENCE_S: Final = 1.0
APPLY_PATIENCE_S: Final = 10.0
COMPILED_BYTES_PER_S: Final = 200_000
"""How much of a configuration a busy machine compiles at the least: very large ones are given time in proportion."""


class Configurations:
    """The configuration in force, and the last ones before it."""

    def __init__(self, snapshot: Snapshot, document: bytes):
        self.snapshot = snapshot
        self.current = Apply(snapshot.id, document)
        self._former: deque[Apply] = deque(maxlen=REMEMBERED)

    def replace(self, snapshot: Snapshot, document: bytes) -> Apply:
        """Put another in force."""
        former = Apply(self.current.config_id, self.current.document, current=False)
        self._former.append(former)
        while sum(len(kept.document) for kept in self._former) > REMEMBERED_BYTES:
            self._former.popleft()
        self.snapshot = snapshot
        self.current = Apply(snapshot.id, document)
        return self.current

    def documents(self, role: RoleName) -> list[Apply]:
        """What a process that starts must be sent, in this order."""
        if role == "shadow":
            return [*self._former, self.current]
        return [self.current]


class Rollout:
    """One roll-out at a time."""

    def __init__(self, fleet: Fleet, configurations: Configurations):
        self._fleet = fleet
        self._configurations = configurations
        self._turn = asyncio.Lock()
        self._retiring: dict[str, asyncio.Task[None]] = {}
        self._needed_until: dict[str, float] = {}

    async def apply(self, document: bytes) -> tuple[str, ...]:
        """Go over to a validated configuration; the reasons why not, or nothing once every
        process runs on it.
        """
        async with self._turn:
            former = self._configurations.snapshot
            snapshot = await asyncio.to_thread(self._compiled, document)
            if snapshot.id == former.id:
                return ()
            errors = await self._start_models(snapshot.servers.values())
            if errors:
                self._retire(former)
                return errors
            message = self._configurations.replace(snapshot, document)
            await self._bring_shadow(message)
            others = [*self._fleet.workers, self._fleet.control]
            await asyncio.gather(*(self._bring(slot, message) for slot in others))
            self._retire(former)
            return ()

    async def close(self) -> None:
        """Let nothing be retired any more: the fleet is being stopped as a whole."""
        async with self._turn:
            for task in self._retiring.values():
                task.cancel()
            await asyncio.gather(*self._retiring.values(), return_exceptions=True)

    def _compiled(self, document: bytes) -> Snapshot:
        return compile_snapshot(Gateway.model_validate_json(document), self._fleet.site.runtime_directory)

    async def _start_models(self, servers: Iterable[ModelServer]) -> tuple[str, ...]:
        """Bring up the model servers that do not run yet; all of them, or none."""
        new: list[ModelServer] = []
        for server in servers:
            if task := self._retiring.pop(server.key, None):
                task.cancel()
            if server.key not in self._fleet.models:
                new.append(server)
        outcomes = await asyncio.gather(*(self._start_model(server) for server in new))
        errors = tuple(error for error in outcomes if error is not None)
        if errors:
            await asyncio.gather(*(self._fleet.remove_model(server.key, MODEL_DRAIN_S) for server in new))
        return errors

    async def _start_model(self, server: ModelServer) -> str | None:
        try:
            async with asyncio.timeout(MODEL_START_S):
                await self._fleet.start_model(server)
        except TimeoutError:
            return f"model {server.model}/{server.version}: not ready within {MODEL_START_S:g} s"
        except (OSError, StartFailed) as failed:
            return str(failed)
        return None

    async def _bring_shadow(self, message: Apply) -> None:
        """A shadow process that is slow or gone holds nobody up: it learns of the configuration
        when it can.
        """
        try:
            error = await self._fleet.shadow.apply(message, SHADOW_PATIENCE_S + compiling_s(message))
        except TimeoutError as late:
            log("shadow-slow", "warning", config_id=message.config_id, reason=str(late))
            return
        if error is not None:
            await self._fleet.shadow.restart(error)

    async def _bring(self, slot: Slot, message: Apply) -> None:
        """A process that cannot follow is started afresh: two configurations must not go on side
        by side.
        """
        try:
            error = await slot.apply(message, APPLY_PATIENCE_S + compiling_s(message))
        except TimeoutError as late:
            error = str(late)
        if error is not None:
            await slot.restart(error)

    def _retire(self, former: Snapshot) -> None:
        """Let model servers go that the configuration in force does not name."""
        needed = self._configurations.snapshot.servers.keys()
        now = asyncio.get_running_loop().time()
        for key in needed & self._needed_until.keys():
            del self._needed_until[key]
        for key in self._fleet.models.keys() - needed - self._retiring.keys():
            # Of a server that a refused configuration named again, the former time holds.
            until = self._needed_until.setdefault(key, now + lingers_s(former, key))
            self._retiring[key] = asyncio.create_task(self._retire_later(key, until - now))

    async def _retire_later(self, key: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        async with self._turn:
            del self._retiring[key]
            del self._needed_until[key]
            await self._fleet.remove_model(key, MODEL_DRAIN_S)


def compiling_s(message: Apply) -> float:
    """How long a process may take to compile a configuration, beyond a moment."""
    return len(message.document) / COMPILED_BYTES_PER_S


def lingers_s(snapshot: Snapshot, key: str) -> float:
    """For how long a request that began on this snapshot may still call the model server of that
    key.

    As a champion until the version's deadline; as a challenger after the longest wait in a queue
    and the call itself.
    """
    longest = 0.0
    for model in snapshot.models.values():
        for version in model.versions.values():
            if version.server is not None and version.server.key == key:
                longest = max(longest, version.timeout_s)
        for challenger in model.challengers:
            server = challenger.version.server
            if server is not None and server.key == key:
                waits_s = model.champion.timeout_s + snapshot.config.shadow.max_age
                longest = max(longest, waits_s + challenger.settings.timeout)
    return longest + 1.0
