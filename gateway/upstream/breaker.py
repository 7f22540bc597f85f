"""A circuit breaker: after some failures in a row nothing is sent for a while, then one probe decides.

CLOSED --failures in a row--> OPEN --time--> PROBING --success--> CLOSED
                               ^------------failure---'
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Whether calls are let through."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


class Breaker:
    """Pure: the time is given by the caller, in monotonic seconds."""

    __slots__ = ("_failures", "_open_until", "state")

    def __init__(self) -> None:
        self._failures = 0
        self._open_until = 0.0
        self.state = State.CLOSED

    def allows(self, now: float) -> bool:
        """Whether a call may be made now. Where it may as the probe, only one may: call it."""
        if self.state is State.CLOSED:
            return True
        if self.state is State.OPEN and now >= self._open_until:
            self.state = State.PROBING
            return True
        return False

    def succeeded(self) -> None:
        """A call was answered well."""
        self._failures = 0
        self.state = State.CLOSED

    def failed(self, now: float, failures: int, open_s: float) -> None:
        """A call failed: the `failures`-th in a row opens, and so does a failed probe."""
        self._failures += 1
        if self.state is State.PROBING or self._failures >= failures:
            self.state = State.OPEN
            self._open_until = now + open_s

    def undecided(self) -> None:
        """A call ended without telling anything (it was cancelled): a probe may be tried again."""
        if self.state is State.PROBING:
            self.state = State.OPEN
