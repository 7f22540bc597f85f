"""Quantiles from a histogram of durations: exact to the bucket, within it as if its requests were spread evenly.

What lies beyond the last bound is given as that bound: no number is invented for it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.core.metrics import DURATION_BOUNDS_S


class EstimatedLatency(msgspec.Struct, frozen=True, kw_only=True):
    """Durations of `count` requests in microseconds; the quantiles are estimated from buckets, the mean is exact."""

    count: int
    mean_us: int
    p50_us: int
    p90_us: int
    p99_us: int


def estimate(histogram: Mapping[str, int]) -> EstimatedLatency | None:
    """Of the cells of a histogram family, by field; None where nothing is counted."""
    counts = [*(histogram.get(f"{bound:g}", 0) for bound in DURATION_BOUNDS_S), histogram.get("+Inf", 0)]
    total = sum(counts)
    if total <= 0:
        return None
    return EstimatedLatency(
        count=total,
        mean_us=histogram.get("sum_us", 0) // total,
        p50_us=_quantile_us(counts, 0.5),
        p90_us=_quantile_us(counts, 0.9),
        p99_us=_quantile_us(counts, 0.99),
    )


def _quantile_us(counts: list[int], share: float) -> int:
    rank = share * sum(counts)
    below = 0
    lower_s = 0.0
    for upper_s, count in zip(DURATION_BOUNDS_S, counts, strict=False):
        if count and below + count >= rank:
            return round((lower_s + (upper_s - lower_s) * (rank - below) / count) * 1e6)
        below += count
        lower_s = upper_s
    return round(lower_s * 1e6)
