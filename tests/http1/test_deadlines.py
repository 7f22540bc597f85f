"""One sweep keeps every deadline."""

import asyncio
from collections.abc import Iterator
from typing import cast

import pytest

from gateway.http1 import deadlines as module
from gateway.http1.deadlines import NEVER, SWEEP_EVERY_S, Deadlines
from tests.support.clocks import Clock, stopped_clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    with stopped_clock(module) as clock:
        yield clock


@pytest.fixture
def deadlines(clock: Clock) -> Deadlines:
    return Deadlines(cast(asyncio.AbstractEventLoop, clock))


class Kept:
    """Notes when it was told that its deadline had passed."""

    def __init__(self, deadline: float, again_s: float = NEVER):
        self.deadline = deadline
        self.again_s = again_s
        self.expired: list[float] = []

    def expire(self, now: float) -> None:
        self.expired.append(now)
        self.deadline = now + self.again_s


def test_a_deadline_is_kept_within_one_sweep(deadlines: Deadlines, clock: Clock) -> None:
    kept = Kept(clock.now + 10)
    deadlines.watch(kept)

    clock.passes(10 - SWEEP_EVERY_S)
    assert kept.expired == []
    clock.passes(2 * SWEEP_EVERY_S)
    assert len(kept.expired) == 1


def test_a_deadline_can_be_moved_while_it_is_watched(deadlines: Deadlines, clock: Clock) -> None:
    kept = Kept(clock.now + 1)
    deadlines.watch(kept)
    clock.passes(0.5)
    kept.deadline = clock.now + 10

    clock.passes(9)
    assert kept.expired == []
    clock.passes(1.1)
    assert len(kept.expired) == 1


def test_one_without_a_deadline_is_never_told(deadlines: Deadlines, clock: Clock) -> None:
    kept = Kept(NEVER)
    deadlines.watch(kept)
    clock.passes(1000)
    assert kept.expired == []


def test_one_that_moves_its_deadline_on_is_told_again(deadlines: Deadlines, clock: Clock) -> None:
    kept = Kept(clock.now + 1, again_s=1.0)
    deadlines.watch(kept)
    clock.passes(3.5)
    assert len(kept.expired) == 3


def test_the_forgotten_is_not_told(deadlines: Deadlines, clock: Clock) -> None:
    kept = Kept(clock.now + 1)
    deadlines.watch(kept)
    deadlines.unwatch(kept)
    deadlines.unwatch(kept)
    clock.passes(2)
    assert kept.expired == []


def test_an_idle_process_sets_no_timer(deadlines: Deadlines, clock: Clock) -> None:
    assert clock.waiting == 0
    kept = Kept(NEVER)
    deadlines.watch(kept)
    assert clock.waiting == 1
    deadlines.unwatch(kept)
    clock.passes(3 * SWEEP_EVERY_S)
    assert clock.waiting == 0


def test_watching_begins_again_after_a_rest(deadlines: Deadlines, clock: Clock) -> None:
    first = Kept(NEVER)
    deadlines.watch(first)
    deadlines.unwatch(first)
    clock.passes(3 * SWEEP_EVERY_S)

    second = Kept(clock.now + 1)
    deadlines.watch(second)
    clock.passes(1.1)

    assert len(second.expired) == 1


def test_a_defect_in_one_keeps_no_other_from_its_deadline(deadlines: Deadlines, clock: Clock) -> None:
    class Broken(Kept):
        def expire(self, now: float) -> None:
            super().expire(now)
            raise RuntimeError("a defect")

    broken, kept = Broken(clock.now + 1), Kept(clock.now + 2)
    deadlines.watch(broken)
    deadlines.watch(kept)

    with pytest.raises(RuntimeError):
        clock.passes(1.1)
    clock.passes(2)

    assert len(broken.expired) == 1
    assert len(kept.expired) == 1
