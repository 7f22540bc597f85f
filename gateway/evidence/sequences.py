"""Requests that belong together (Triton's `sequence_id`): a challenger sees all of a sequence, in order, or none.

A stateful model that missed one request of a sequence answers the rest wrongly. So a challenger follows a sequence
only from its first request (`sequence_start`) on, and the first loss, wherever it happens, ends the following: what
comes after is skipped until the client starts the sequence anew. A request that overtakes another on its way here
(two workers) is a loss too.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MAX_KNOWN: Final = 10_000
"""Sequences remembered per challenger; of one that was forgotten the rest is skipped."""
UNSEEN: Final = "shadow_lost"
"""Why a request is skipped whose sequence began before, or lost a request on its way here."""


class Run:
    """One sequence from its first request to the next first request of that name."""

    __slots__ = ("broken", "latest_us")

    def __init__(self, broken: str, latest_us: int):
        self.broken = broken
        """Why it is not followed any more, or empty."""
        self.latest_us = latest_us

    def break_off(self, reason: str) -> None:
        """One of its requests is lost; the first reason stays."""
        self.broken = self.broken or reason


class Sequences:
    """What one challenger's lane knows of sequences."""

    __slots__ = ("_busy", "_runs")

    def __init__(self) -> None:
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._busy: set[str] = set()

    def run(self, sequence: str, starts: bool, offered_us: int) -> Run | None:
        """The run that a request belongs to, or None for an ordinary one. Called in the order requests come."""
        if not sequence:
            return None
        run = self._runs.get(sequence)
        if run is None or (starts and offered_us >= run.latest_us):
            run = self._runs[sequence] = Run("" if starts else UNSEEN, offered_us)
        elif offered_us < run.latest_us:
            run.break_off(UNSEEN)
        run.latest_us = max(run.latest_us, offered_us)
        self._runs.move_to_end(sequence)
        if len(self._runs) > MAX_KNOWN:
            self._runs.popitem(last=False)
        return run

    def lose(self, sequence: str) -> None:
        """A request of this sequence is lost before it came here."""
        run = self._runs.get(sequence)
        if run is not None:
            run.break_off(UNSEEN)

    def lose_any(self) -> None:
        """Some requests are lost, and nobody knows of which sequences."""
        for run in self._runs.values():
            run.break_off(UNSEEN)

    def busy(self, sequence: str) -> bool:
        """Whether a request of this sequence is at the challenger now; the next must wait for it."""
        return bool(sequence) and sequence in self._busy

    def begin(self, sequence: str) -> None:
        """A request of the sequence is sent."""
        if sequence:
            self._busy.add(sequence)

    def end(self, sequence: str) -> None:
        """It is over."""
        self._busy.discard(sequence)
