"""Requests that belong together (Triton's `sequence_id`): a challenger sees all of a sequence, in order, or none.

A stateful model that missed one request of a sequence answers the rest wrongly, so the first loss ends the sequence
for that challenger: what follows is skipped under the same reason, until the client starts the sequence anew.
"""

from __future__ import annotations

from collections import OrderedDict

MAX_KNOWN = 10_000
"""Broken sequences remembered per challenger; the oldest are forgotten first."""


class Sequences:
    """What one challenger's lane knows of sequences."""

    __slots__ = ("_broken", "_busy")

    def __init__(self) -> None:
        self._broken: OrderedDict[str, str] = OrderedDict()
        self._busy: set[str] = set()

    def broken(self, sequence: str, starts: bool) -> str:
        """Why this sequence is not shadowed any more, or empty."""
        if not sequence:
            return ""
        if starts:
            self._broken.pop(sequence, None)
        return self._broken.get(sequence, "")

    def break_off(self, sequence: str, reason: str) -> None:
        """One of its requests was lost."""
        if sequence:
            self._broken[sequence] = reason
            if len(self._broken) > MAX_KNOWN:
                self._broken.popitem(last=False)

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
