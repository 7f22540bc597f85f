"""The turns in which pairs are rolled and old ones deleted."""

import asyncio
import json
import os
import threading
from collections.abc import Callable

import pytest

from gateway.control import housekeeping
from gateway.control.housekeeping import NICENESS, Housekeeping
from gateway.core.config import Pairs
from gateway.core.ports import Retained, Rolled


class Store:
    """Gives the outcomes it is told to, one a turn, and keeps what it was asked."""

    def __init__(self, *outcomes: Rolled | Exception, kept: Retained | None = None):
        self._outcomes = list(outcomes)
        self._kept = kept or Retained(0, 0, 0, 0)
        self.asked: list[tuple[float, int]] = []

    def roll(self) -> Rolled:
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def retain(self, keep_age_s: float, keep_bytes: int) -> Retained:
        self.asked.append((keep_age_s, keep_bytes))
        return self._kept


SETTINGS = Pairs(keep_age=60.0, keep_bytes=1000)


@pytest.fixture
def events(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[tuple[str, str]]]:
    def read() -> list[tuple[str, str]]:
        said = map(json.loads, capsys.readouterr().err.splitlines())
        return [(one["event"], one.get("reason", "")) for one in said]

    return read


def turns(store: Store, count: int) -> None:
    keeping = Housekeeping(store, lambda: SETTINGS)

    async def take() -> None:
        for _ in range(count):
            await keeping.turn()

    asyncio.run(take())


def test_a_turn_rolls_and_retains_by_the_settings_in_force(
    events: Callable[[], list[tuple[str, str]]],
) -> None:
    store = Store(Rolled(segments=1, pairs=7))

    turns(store, 1)

    assert store.asked == [(60.0, 1000)]
    assert events() == []


def test_it_yields_the_core_to_everything_else() -> None:
    class Watching(Store):
        def roll(self) -> Rolled:
            self.niceness = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
            return super().roll()

    store = Watching(Rolled())
    turns(store, 1)

    assert store.niceness == NICENESS
    assert os.getpriority(os.PRIO_PROCESS, 0) < NICENESS


def test_a_failure_is_said_once_and_its_end_too(events: Callable[[], list[tuple[str, str]]]) -> None:
    full = OSError(28, "No space left on device")
    store = Store(full, full, Rolled(failure="IOException: full"), Rolled(), Rolled())

    turns(store, 5)

    assert events() == [
        ("pairs-not-rolled", "OSError: [Errno 28] No space left on device"),
        ("pairs-not-rolled", "IOException: full"),
        ("pairs-rolled-again", ""),
    ]


def test_damage_and_deletion_for_want_of_room_are_said(
    events: Callable[[], list[tuple[str, str]]],
) -> None:
    store = Store(Rolled(damaged=3, set_aside=1), kept=Retained(0, 2, 500, 1000))

    turns(store, 1)

    assert [event for event, _ in events()] == ["pairs-damaged", "pairs-over-limit"]


def test_it_goes_on_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "EVERY_S", 0.001)
    store = Store(*[Rolled()] * 100_000)

    async def live() -> None:
        keeping = Housekeeping(store, lambda: SETTINGS)
        running = asyncio.create_task(keeping.run())
        while len(store.asked) < 3:  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.001)
        keeping.stop()
        await running

    asyncio.run(live())
