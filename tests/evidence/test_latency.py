"""Quantiles from a histogram: right to the bucket, whatever was counted."""

from bisect import bisect_left
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.metrics import DURATION, DURATION_BOUNDS_S
from gateway.evidence.latency import EstimatedLatency, estimate
from gateway.evidence.stats.quantiles import nearest_rank

BOUNDS_US = [round(bound * 1e6) for bound in DURATION_BOUNDS_S]


def histogram_of(durations_us: list[int]) -> dict[str, int]:
    """As a worker counts them."""
    counts = Counter(DURATION.fields[bisect_left(BOUNDS_US, duration)] for duration in durations_us)
    return {**{field: counts[field] for field in DURATION.fields}, "sum_us": sum(durations_us)}


def test_nothing_counted_has_no_latency() -> None:
    assert estimate({}) is None
    assert estimate(histogram_of([])) is None


@pytest.mark.parametrize(
    ("durations_us", "expected"),
    [
        ([300] * 4, EstimatedLatency(count=4, mean_us=300, p50_us=250, p90_us=450, p99_us=495)),
        ([700, 700, 9000, 9000], EstimatedLatency(count=4, mean_us=4850, p50_us=1000, p90_us=9000, p99_us=9900)),
        ([60_000_000], EstimatedLatency(count=1, mean_us=60_000_000, p50_us=10**7, p90_us=10**7, p99_us=10**7)),
    ],
)
def test_within_a_bucket_requests_are_taken_as_spread_evenly(
    durations_us: list[int], expected: EstimatedLatency
) -> None:
    assert estimate(histogram_of(durations_us)) == expected


@given(st.lists(st.integers(0, 20_000_000), min_size=1, max_size=300))
def test_an_estimate_lies_in_the_bucket_of_the_true_quantile(durations_us: list[int]) -> None:
    found = estimate(histogram_of(durations_us))
    assert found is not None
    assert found.count == len(durations_us)
    assert found.mean_us == sum(durations_us) // len(durations_us)
    for share, estimated in ((0.5, found.p50_us), (0.9, found.p90_us), (0.99, found.p99_us)):
        true = nearest_rank(sorted(durations_us), share)
        bucket = bisect_left(BOUNDS_US, true)
        lower, upper = [0, *BOUNDS_US, BOUNDS_US[-1]][bucket : bucket + 2]
        assert lower <= estimated <= upper
    assert found.p50_us <= found.p90_us <= found.p99_us
