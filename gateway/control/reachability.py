"""Which backends nothing listens at: one TCP connection each when a configuration comes into force, then closed.

Not a health check. What answered once is left in peace; only what did not is tried again, so that `/readyz` names a
backend that is down before any request has found it, and forgets it once it is up. Model servers of ours are left out:
the supervisor knows how they do.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, NamedTuple

from gateway.core.logs import log
from gateway.core.snapshot import Snapshot

EVERY_S: Final = 5.0
CONNECT_S: Final = 1.0
AT_ONCE: Final = 32
MOST_NAMED: Final = 100


class Place(NamedTuple):
    """Where to connect to."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Reachability:
    """What is known of the backends of the configuration in force."""

    def __init__(self) -> None:
        self._versions: dict[Place, list[str]] = {}
        self._untried: set[Place] = set()
        self._down: set[Place] = set()
        self._changed = asyncio.Event()
        self._stopping = False

    def adopt(self, snapshot: Snapshot) -> None:
        """Go over to another configuration; backends that it shares with the former are not tried again."""
        former = self._versions.keys()
        self._versions = _places(snapshot)
        self._untried = (self._untried & self._versions.keys()) | (self._versions.keys() - former)
        self._down &= self._versions.keys()
        self._changed.set()

    def unreachable(self) -> list[str]:
        """`MODEL/VERSION HOST:PORT` of every backend that is down; of very many, the first."""
        named = sorted(f"{version} {place}" for place in self._down for version in self._versions[place])
        return named[:MOST_NAMED]

    async def run(self) -> None:
        """Try what is new at once, and what is down every few seconds, until `stop`."""
        while not self._stopping:
            self._changed.clear()
            await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._changed.wait()

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping = True
        self._changed.set()

    async def look(self) -> None:
        """Try every backend that was not tried yet or was down."""
        turns = asyncio.Semaphore(AT_ONCE)
        former = set(self._down)
        await asyncio.gather(*(self._try(place, turns) for place in self._untried | self._down))
        for event, places in (
            ("backends-unreachable", self._down - former),
            ("backends-reachable", former - self._down),
        ):
            if places:
                log(event, "warning" if event == "backends-unreachable" else "info", backends=sorted(map(str, places)))

    async def _try(self, place: Place, turns: asyncio.Semaphore) -> None:
        async with turns:
            if self._stopping:
                return
            is_up = await _answers(place)
        if place not in self._versions:
            return
        self._untried.discard(place)
        if is_up:
            self._down.discard(place)
        else:
            self._down.add(place)


async def _answers(place: Place) -> bool:
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(place.host, place.port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


def _places(snapshot: Snapshot) -> dict[Place, list[str]]:
    places: dict[Place, list[str]] = {}
    for model in snapshot.models.values():
        for version in model.versions.values():
            for target in version.targets:
                if target.unix_path is None:
                    named = places.setdefault(Place(target.host, target.port), [])
                    named.append(f"{model.name}/{version.name}")
    return places
