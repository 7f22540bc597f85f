"""Which replica takes a request, and what a reload keeps."""

from collections import Counter

import pytest

from gateway.core.snapshot import Target, Version
from gateway.upstream.replicas import Registry, Replicas
from tests.support.targets import target


def version(*targets: Target, name: str = "1", connections: int = 8) -> Version:
    return Version("m", name, targets, 2.0, connections, None)


A, B, C = target(1), target(2), target(3)


def test_replicas_take_turns() -> None:
    replicas = Replicas((A, B, C), 8)
    assert Counter(replicas.choose().target for _ in range(30)) == {A: 10, B: 10, C: 10}


def test_a_single_replica_takes_everything() -> None:
    replicas = Replicas((A,), 8)
    assert {replicas.choose(sequence).target for sequence in ("", "a", "b")} == {A}


def test_a_sequence_stays_with_one_replica_whatever_else_comes() -> None:
    replicas = Replicas((A, B, C), 8)
    homes = {}
    for number in range(300):
        sequence = f"s{number % 30}"
        homes.setdefault(sequence, set()).add(replicas.choose(sequence).target)
        replicas.choose()
    assert all(len(home) == 1 for home in homes.values())
    assert {target for home in homes.values() for target in home} == {A, B, C}


def test_a_reload_keeps_the_pools_of_places_that_stay() -> None:
    registry = Registry()
    assert registry.of(version(A, B)) is registry.of(version(A, B))


@pytest.mark.parametrize(
    "other", [version(A), version(B, A), version(A, B, connections=9), version(A, B, name="2"), version(A, C)]
)
def test_other_places_get_other_pools(other: Version) -> None:
    registry = Registry()
    assert registry.of(version(A, B)) is not registry.of(other)


def test_pools_that_nobody_names_any_more_are_closed() -> None:
    registry = Registry()
    kept, dropped = registry.of(version(A)), registry.of(version(B, C))
    assert [pool.target for pool in registry.pools()] == [A, B, C]

    registry.keep_only([kept])

    assert [pool.target for pool in registry.pools()] == [A]
    assert registry.of(version(A)) is kept
    assert registry.of(version(B, C)) is not dropped
