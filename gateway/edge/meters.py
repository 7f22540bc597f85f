"""What a worker counts for one version of a model, bound to cells once so that counting is two adds."""

from __future__ import annotations

from bisect import bisect_left

from gateway.core.counters import Counters
from gateway.core.metrics import DURATION, DURATION_BOUNDS_S, REQUESTS, UPSTREAM_DURATION

_SUM_US = DURATION.at("sum_us")
_OUTCOMES = {outcome: place for place, outcome in enumerate(REQUESTS.fields)}
_CLASS = tuple(f"{status // 100}xx" if status >= 200 else "2xx" for status in range(600))


class Meter:
    """Requests by outcome and two durations, for one (model, version)."""

    __slots__ = ("_at", "_cells")

    def __init__(self, counters: Counters, model: str, version: str):
        self._cells = counters.cells
        # Taken now, not at the first request: a request must not meet a full disk.
        self._at = tuple(counters.group(family, (model, version)) for family in (REQUESTS, DURATION, UPSTREAM_DURATION))

    def count(self, outcome: str, duration_s: float, upstream_s: float | None) -> None:
        """One request is over. `upstream_s` is None where no backend answered."""
        at = self._at
        cells = self._cells
        cells[at[0] + _OUTCOMES[outcome]] += 1
        cells[at[1] + bisect_left(DURATION_BOUNDS_S, duration_s)] += 1
        cells[at[1] + _SUM_US] += int(duration_s * 1e6)
        if upstream_s is not None:
            cells[at[2] + bisect_left(DURATION_BOUNDS_S, upstream_s)] += 1
            cells[at[2] + _SUM_US] += int(upstream_s * 1e6)


def outcome_of(status: int) -> str:
    """The outcome under which an answer with this status is counted."""
    return _CLASS[status]
