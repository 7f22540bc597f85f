"""Quantiles of sorted values, against numpy."""

from math import isclose

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.evidence.stats.quantiles import linear, nearest_rank

values = st.lists(st.floats(-1e9, 1e9), min_size=1).map(sorted)
shares = st.floats(0, 1)


@given(values, shares)
def test_linear_is_numpys_default(ordered: list[float], share: float) -> None:
    want = float(np.quantile(ordered, share))
    assert isclose(linear(ordered, share), want, rel_tol=1e-9, abs_tol=1e-3)


@given(values, shares)
def test_nearest_rank_is_a_value_that_the_share_does_not_exceed(ordered: list[float], share: float) -> None:
    found = nearest_rank(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-6
    assert sum(value < found for value in ordered) <= max(share * len(ordered), 1) + 1e-6


@pytest.mark.parametrize(
    ("share", "want"),
    [(0.0, 1), (0.01, 1), (0.07, 7), (0.29, 29), (0.5, 50), (0.95, 95), (0.991, 100), (1.0, 100)],
)
def test_nearest_rank_among_a_hundred(share: float, want: int) -> None:
    assert nearest_rank(range(1, 101), share) == want


@pytest.mark.parametrize("quantile", [linear, nearest_rank])
@pytest.mark.parametrize(("ordered", "share"), [([], 0.5), ([1.0], -0.1), ([1.0], 1.1)])
def test_what_has_no_quantile_is_refused(quantile, ordered: list[float], share: float) -> None:
    with pytest.raises(ValueError, match=r"no values|share"):
        quantile(ordered, share)
