"""One sweep for all deadlines of a process.

A timer per request costs 1-2 us to set and cancel and almost never fires. Instead each watched thing has a
`deadline` (monotonic seconds, or `NEVER`) that its owner moves by plain assignment, and a sweep every 25 ms calls
`expire` on those that are past theirs. Deadlines are so kept within 25 ms plus the loop's delay.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

SWEEP_EVERY_S = 0.025
NEVER = float("inf")


class Watched(Protocol):
    """Something with a deadline. `expire` must move the deadline on, or it is called again at the next sweep."""

    deadline: float

    def expire(self, now: float) -> None:
        """The deadline has passed."""


class Deadlines:
    """The sweep. Not thread-safe; belongs to one event loop."""

    __slots__ = ("_handle", "_loop", "_watched")

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._watched: set[Watched] = set()
        self._handle: asyncio.TimerHandle | None = None

    def watch(self, watched: Watched) -> None:
        """Keep the deadline of `watched` from now on."""
        self._watched.add(watched)
        if self._handle is None:
            self._handle = self._loop.call_later(SWEEP_EVERY_S, self._sweep)

    def unwatch(self, watched: Watched) -> None:
        """Forget it; unknown ones are fine."""
        self._watched.discard(watched)

    def _sweep(self) -> None:
        now = time.monotonic()
        # With nothing to watch the process sleeps: an idle gateway costs no CPU. Set before anything expires, so that
        # a defect in one of them does not end the deadlines of all others.
        self._handle = self._loop.call_later(SWEEP_EVERY_S, self._sweep) if self._watched else None
        for watched in [watched for watched in self._watched if watched.deadline <= now]:
            watched.expire(now)
