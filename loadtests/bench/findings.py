"""From rounds to verdicts: one finding is one line of the table.

A finding compares the subject with its rival round by round (as a ratio or a difference) or
stands alone, and holds when the median over the rounds is within its limit. A finding without a
limit is context. Raw values are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from statistics import median


class Measure(Enum):
    """How a subject's rounds become the number that is judged."""

    RATIO = "ratio"
    DIFFERENCE = "difference"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Series:
    """One subject's values, one a round."""

    name: str
    values: tuple[float, ...]

    @classmethod
    def of(cls, name: str, values: list[float]) -> Series:
        return cls(name, tuple(values))


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table. `at_least` turns the limit round: the number must not be under it."""

    row: str
    unit: str
    subject: Series
    rival: Series | None = None
    measure: Measure = Measure.VALUE
    limit: float | None = None
    at_least: bool = False
    note: str = ""

    def judged(self) -> tuple[float, ...]:
        """The number that is judged, one a round."""
        if self.rival is None or self.measure is Measure.VALUE:
            return self.subject.values
        pairs = zip(self.subject.values, self.rival.values, strict=True)
        if self.measure is Measure.RATIO:
            return tuple(ours / theirs if theirs else float("inf") for ours, theirs in pairs)
        return tuple(ours - theirs for ours, theirs in pairs)

    def middle(self) -> float:
        """The median over the rounds."""
        return median(self.judged())

    def holds(self) -> bool | None:
        """Whether the median is within the limit; None for context."""
        if self.limit is None:
            return None
        return self.middle() >= self.limit if self.at_least else self.middle() <= self.limit

    def as_json(self) -> dict[str, object]:
        """Everything, raw values included."""
        judged = self.judged()
        return {
            "row": self.row,
            "unit": self.unit,
            "subject": {"name": self.subject.name, "values": self.subject.values},
            "rival": {"name": self.rival.name, "values": self.rival.values} if self.rival else None,
            "measure": self.measure.value,
            "median": self.middle(),
            "min": min(judged),
            "max": max(judged),
            "limit": self.limit,
            "at_least": self.at_least,
            "holds": self.holds(),
            "note": self.note,
        }


def ratio(row: str, subject: Series, rival: Series, limit: float | None = None) -> Finding:
    """CPU microseconds of the subject over those of the rival."""
    return Finding(row, "µs CPU", subject, rival, Measure.RATIO, limit)
