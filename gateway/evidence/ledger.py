"""The shadow process's books: every request taken over is accounted for, also across `kill -9`.

Counts live in shared memory (core.counters) and are only ever added to in this order, so that whatever instant a kill
picks, what is missing at the next start is exactly what was lost:

    taken -> sampled_out | skipped | sent;   sent -> ok | error | timeout | cancelled;   ok -> stored | unstored
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from gateway.core.counters import Counters, read
from gateway.core.metrics import (
    CHALLENGER_DURATION,
    JOURNAL,
    OFFERED,
    SHADOW,
    SKIP_REASONS,
    TAKEN,
    UNSTORED_REASONS,
)

_SKIPS = tuple(f"skipped_{reason}" for reason in SKIP_REASONS)
_OUTCOMES = ("ok", "error", "timeout", "cancelled")
_STORED = ("stored", *(f"unstored_{reason}" for reason in UNSTORED_REASONS))
_PLACES = {field: place for place, field in enumerate(SHADOW.fields)}


class Account:
    """The cells of one challenger of one model."""

    __slots__ = ("_at", "_cells", "challenger", "durations_at", "model")

    def __init__(self, counters: Counters, model: str, challenger: str):
        self.model = model
        self.challenger = challenger
        self._cells = counters.cells
        self._at = counters.group(SHADOW, (model, challenger))
        self.durations_at = counters.group(CHALLENGER_DURATION, (model, challenger))

    def add(self, field: str, count: int = 1) -> None:
        """Count; books are only ever added to."""
        if count > 0:
            self._cells[self._at + _PLACES[field]] += count

    def total(self, fields: Iterable[str]) -> int:
        """The sum of some fields."""
        return sum(self._cells[self._at + _PLACES[field]] for field in fields)


class Ledger:
    """All accounts of this process."""

    def __init__(self, counters: Counters):
        self._counters = counters
        self.cells = counters.cells
        self._accounts: dict[tuple[str, str], Account] = {}
        self._sequence_at = counters.group(JOURNAL, ())

    def account(self, model: str, challenger: str) -> Account:
        """The account of one challenger, opened at first use."""
        account = self._accounts.get((model, challenger))
        if account is None:
            account = self._accounts[model, challenger] = Account(self._counters, model, challenger)
        return account

    def taken_at(self, worker: str, model: str, challenger: str) -> int:
        """The cell that counts what one worker handed over for one challenger."""
        return self._counters.group(TAKEN, (worker, model, challenger))

    def open(self, challengers: Iterable[tuple[str, str]], workers: int) -> None:
        """Have the books of these (model, challenger) now, so that no request of theirs meets a full disk."""
        names = {f"worker-{index}" for index in range(workers)}
        names |= {worker for (worker, _, _), _ in self._counters.groups(TAKEN)}
        for model, challenger in challengers:
            self.account(model, challenger)
            for worker in names:
                self.taken_at(worker, model, challenger)

    def settle_connection(self, worker: str, handed_over: Iterable[tuple[str, str, int]]) -> int:
        """A worker connects and says what it has handed over before: what did not come is lost. Returns how much."""
        cells = self._counters.cells
        lost_in_all = 0
        for model, challenger, total in handed_over:
            at = self.taken_at(worker, model, challenger)
            lost = total - cells[at]
            if lost > 0:
                cells[at] += lost
                self.account(model, challenger).add("skipped_shadow_lost", lost)
                lost_in_all += lost
        return lost_in_all

    def settle_gone(self, directory: Path) -> int:
        """No worker runs, and some may never come back: settle what their books below `directory` say. Returns how much
        was lost.
        """
        handed_over: dict[str, Counter[tuple[str, str]]] = {}
        for reading in read(directory):
            if reading.family == OFFERED.name:
                # What was eligible and not skipped was handed over, or died with the queue.
                sign = 1 if reading.field == "eligible" else -1
                model, challenger = reading.labels
                handed_over.setdefault(reading.process, Counter())[model, challenger] += sign * reading.value
        return sum(
            self.settle_connection(worker, [(*labels, count) for labels, count in counts.items()])
            for worker, counts in handed_over.items()
        )

    def settle_start(self) -> None:
        """What a former process had taken and not brought to an end is lost, or was cancelled in flight."""
        taken: Counter[tuple[str, str]] = Counter()
        for (_, model, challenger), at in self._counters.groups(TAKEN):
            taken[model, challenger] += self._counters.cells[at]
        for labels, _ in self._counters.groups(SHADOW):
            self.account(*labels)
        for labels in taken:
            self.account(*labels)
        for labels, account in self._accounts.items():
            account.add("skipped_shadow_lost", taken[labels] - account.total(("sampled_out", *_SKIPS, "sent")))
            account.add("cancelled", account.total(("sent",)) - account.total(_OUTCOMES))
            account.add("unstored_shadow_lost", account.total(("ok",)) - account.total(_STORED))

    @property
    def sequence(self) -> int:
        """Number of the last pair record that is journalled and counted."""
        return self._counters.cells[self._sequence_at]

    @sequence.setter
    def sequence(self, number: int) -> None:
        self._counters.cells[self._sequence_at] = number
