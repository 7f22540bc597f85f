"""What a comparison found: collected while it runs, then frozen.

`agree` is true exactly when nothing differs. `difference` has a size only while every difference is
one of the kind's own (label: a value against a value; number and json: a number against a number);
a missing part, another type, another count makes it None. A tolerated difference gives a size, no
path. The collector keeps the first `limit` paths it meets and counts the rest in `omitted`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from gateway.evidence.compare.numbers import LARGEST, distance
from gateway.evidence.compare.paths import Place, Step, child
from gateway.evidence.compare.values import CONTAINERS, Json, is_number, same


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one comparison; `paths` is sorted."""

    agree: bool
    difference: float | None
    paths: tuple[str, ...]
    omitted: int = 0


AGREED: Final = Outcome(agree=True, difference=0.0, paths=())


class Findings(ABC):
    """The differences found so far."""

    __slots__ = ("_absolute", "_limit", "_paths", "_relative", "omitted", "size", "sized")

    def __init__(self, limit: int | None, absolute: float = 0.0, relative: float = 0.0) -> None:
        self._limit = limit
        self._absolute = absolute
        self._relative = relative
        self._paths: set[str] = set()
        self.omitted = 0
        self.size: float = 0.0
        self.sized = True

    def part(self, place: Place, step: Step) -> None:
        """A part that only one answer has, or whose type or count differs: it has no size."""
        if not place.ignores(step):
            self.sized = False
            self._note(place, step)

    @abstractmethod
    def values(self, left: Json, right: Json, place: Place, step: Step) -> None:
        """One value of the member at `step` against another; not both are lists or objects."""

    def outcome(self) -> Outcome:
        """What was found, frozen."""
        if not self._paths:
            return Outcome(True, self.size, ()) if self.size else AGREED
        difference = self.size if self.sized else None
        return Outcome(False, difference, tuple(sorted(self._paths)), self.omitted)

    def _note(self, place: Place, step: Step) -> None:
        if self._limit is not None and len(self._paths) >= self._limit:
            self.omitted += 1
        else:
            self._paths.add(child(place.path, step))


class LabelFindings(Findings):
    """Counts the values that differ."""

    __slots__ = ()

    def values(self, left: Json, right: Json, place: Place, step: Step) -> None:
        if same(left, right) or place.ignores(step):
            return
        self.size += 1
        if type(left) in CONTAINERS or type(right) in CONTAINERS:
            self.sized = False
        self._note(place, step)


class NumberFindings(Findings):
    """Measures the numbers that differ, and tolerates some; everything else must be equal."""

    __slots__ = ()

    def values(self, left: Json, right: Json, place: Place, step: Step) -> None:
        if isinstance(left, float) and isinstance(right, float):
            size = abs(left - right)
            if size <= LARGEST:  # neither is a NaN or an infinity
                limit = max(self._absolute, self._relative * max(abs(left), abs(right)))
                self._number(size, size <= limit, place, step)
                return
        if same(left, right) or place.ignores(step):
            return
        if is_number(left) and is_number(right):
            assert isinstance(left, int | float)
            assert isinstance(right, int | float)
            measured = distance(left, right, self._absolute, self._relative)
            self._number(*measured, place, step)
        else:
            self.sized = False
            self._note(place, step)

    def _number(self, size: float, tolerated: bool, place: Place, step: Step) -> None:
        if (tolerated and size <= self.size) or place.ignores(step):
            return
        self.size = max(self.size, size)
        if not tolerated:
            self._note(place, step)
