"""The replicas of one version and which of them takes the next request.

Each process keeps one `Replicas` per version for as long as the configuration names the same places, so a reload
neither drops warm connections nor forgets what is known about a backend.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

from gateway.core.snapshot import Target, Version
from gateway.upstream.pool import Pool

Key = tuple[str, str, tuple[Target, ...], int]


class Replicas:
    """One pool per replica, taken in turn; requests of one sequence stay with one replica."""

    __slots__ = ("_next", "pools")

    def __init__(self, targets: tuple[Target, ...], connections: int):
        self.pools = tuple(Pool(target, connections) for target in targets)
        self._next = 0

    def choose(self, sequence: str = "") -> Pool:
        """The pool for a request; `sequence` names what must not be spread over replicas."""
        pools = self.pools
        if len(pools) == 1:
            return pools[0]
        if sequence:
            return pools[crc32(sequence.encode()) % len(pools)]
        self._next = (self._next + 1) % len(pools)
        return pools[self._next]


class Registry:
    """All replicas of a process, by what they point at."""

    __slots__ = ("_replicas",)

    def __init__(self) -> None:
        self._replicas: dict[Key, Replicas] = {}

    def of(self, version: Version) -> Replicas:
        """The replicas of a version, made at first use."""
        key = (version.model, version.name, version.targets, version.connections)
        replicas = self._replicas.get(key)
        if replicas is None:
            replicas = self._replicas[key] = Replicas(version.targets, version.connections)
        return replicas

    def keep_only(self, replicas: Iterable[Replicas]) -> None:
        """Close those that no snapshot names any more; their running calls end undisturbed."""
        kept = {id(item) for item in replicas}
        for key, item in list(self._replicas.items()):
            if id(item) not in kept:
                del self._replicas[key]
                for pool in item.pools:
                    pool.close()

    def pools(self) -> Iterable[Pool]:
        """Every pool."""
        for replicas in self._replicas.values():
            yield from replicas.pools
