"""Quantiles of values that are already sorted.

`nearest_rank` is always one of the values (what a latency report should show); `linear` interpolates
between two, as numpy does by default (type 7 of Hyndman & Fan, The American Statistician 50, 1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor


def nearest_rank(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed."""
    _check(ordered, share)
    # A share like 0.07 is a double a little off: 100 * 0.07 is 7.000000000000001 and means rank 7.
    rank = ceil(round(share * len(ordered), 9))
    return ordered[max(rank, 1) - 1]


def linear(ordered: Sequence[float], share: float) -> float:
    """The value at place share * (n - 1), in proportion between its neighbours."""
    _check(ordered, share)
    place = share * (len(ordered) - 1)
    below = floor(place)
    if below == len(ordered) - 1:
        return ordered[below]
    weight = place - below
    return ordered[below] * (1 - weight) + ordered[below + 1] * weight


def _check(ordered: Sequence[float], share: float) -> None:
    if not ordered:
        raise ValueError("no quantile of no values")
    if not 0 <= share <= 1:
        raise ValueError("share must be between 0 and 1")
