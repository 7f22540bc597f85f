"""Wilson's interval: edges, symmetry, coverage of the point estimate, digits, bad arguments."""

from fractions import Fraction
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from gateway.evidence.stats.wilson import wilson

counts = st.integers(0, 10**9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
confidences = st.floats(0.5, 0.9999999)


@given(counts, confidences)
def test_the_interval_holds_the_observed_share_within_zero_and_one(count: tuple[int, int], confidence: float) -> None:
    k, n = count
    lower, upper = wilson(k, n, confidence)
    assert 0 <= lower <= upper <= 1
    if n:
        assert lower <= k / n * (1 + 1e-12)
        assert upper >= k / n * (1 - 1e-12)


@given(counts, confidences)
def test_failures_mirror_successes(count: tuple[int, int], confidence: float) -> None:
    k, n = count
    lower, upper = wilson(k, n, confidence)
    mirrored = wilson(n - k, n, confidence)
    assert isclose(lower, 1 - mirrored[1], abs_tol=1e-12)
    assert isclose(upper, 1 - mirrored[0], abs_tol=1e-12)


@given(counts.filter(lambda count: count[1] > 0), confidences)
def test_the_bounds_solve_the_score_equation(count: tuple[int, int], confidence: float) -> None:
    k, n = count
    z = norm.isf((1 - confidence) / 2)
    for bound in wilson(k, n, confidence):
        share = Fraction(bound)
        left = (Fraction(k, n) - share) ** 2 * n
        right = Fraction(z) ** 2 * share * (1 - share)
        assert isclose(left, right, rel_tol=1e-6, abs_tol=1e-9)


def test_nothing_observed_leaves_every_share_possible() -> None:
    assert wilson(0, 0, 0.95) == (0.0, 1.0)


@pytest.mark.parametrize("n", [1, 7, 10**6])
def test_all_or_none_reach_the_end_of_the_range(n: int) -> None:
    assert wilson(0, n, 0.95)[0] == 0.0
    assert wilson(n, n, 0.95)[1] == 1.0


def test_a_tiny_share_keeps_its_digits() -> None:
    # Computed with 60 digits; centre minus half-width in doubles would keep four of them.
    lower, upper = wilson(1, 10**12, 0.95)
    assert isclose(lower, 1.7652455493517473e-13, rel_tol=1e-12)
    assert isclose(upper, 5.6649342657365115e-12, rel_tol=1e-12)


def test_almost_no_confidence_gives_almost_the_share_itself() -> None:
    assert wilson(0, 5, 1e-17) == (0.0, 0.0)
    assert wilson(1, 4, 1e-17) == (0.25, 0.25)


@pytest.mark.parametrize(
    ("k", "n", "confidence", "named"),
    [
        (-1, 5, 0.95, "k"),
        (6, 5, 0.95, "k"),
        (1, -5, 0.95, "k"),
        (1, 5, 0.0, "confidence"),
        (1, 5, 1.0, "confidence"),
        (1, 5, float("nan"), "confidence"),
    ],
)
def test_impossible_arguments_are_refused_by_name(k: int, n: int, confidence: float, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        wilson(k, n, confidence)
