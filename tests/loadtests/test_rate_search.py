"""The rate a bench measures pairs at is close under the highest one that is held, and found in few trials."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.bench.rate_search import FIRST_RATE, GROWTH, MOST_TRIALS, SAFETY, RateSearch

LOWEST, HIGHEST = 300.0, 40_000.0
CLOSE = 0.85


def searched(is_held: Callable[[float], bool]) -> RateSearch:
    search = RateSearch()
    while not search.is_over():
        search = search.after(is_held(search.rate))
    return search


def tried(*outcomes: bool) -> RateSearch:
    search = RateSearch()
    for is_held in outcomes:
        search = search.after(is_held)
    return search


@given(st.floats(LOWEST, HIGHEST))
def test_it_ends_close_under_any_threshold(threshold: float) -> None:
    search = searched(lambda rate: rate <= threshold)
    result = search.result()
    assert result is not None
    assert CLOSE * threshold <= result <= threshold
    assert search.trials <= MOST_TRIALS


@given(st.lists(st.booleans(), min_size=MOST_TRIALS, max_size=MOST_TRIALS))
def test_it_ends_and_never_names_a_rate_that_was_not_held(outcomes: list[bool]) -> None:
    held: list[float] = []
    search = RateSearch()
    for is_held in outcomes:
        if search.is_over():
            break
        held += [search.rate] if is_held else []
        search = search.after(is_held)
    assert search.is_over()
    assert search.result() == (max(held) * SAFETY if held else None)


def test_it_grows_while_trials_are_held() -> None:
    assert tried(True).rate == FIRST_RATE * GROWTH
    assert tried(True, True).rate == FIRST_RATE * GROWTH**2


def test_a_failure_that_does_not_come_again_changes_nothing() -> None:
    assert tried(True, False).rate == tried(True).rate
    assert tried(True, False, True).rate == tried(True, True).rate


def test_a_failure_that_comes_twice_is_believed() -> None:
    between = tried(True, False, False).rate
    assert FIRST_RATE < between < FIRST_RATE * GROWTH


def test_a_first_rate_too_high_is_lowered_until_one_is_held() -> None:
    assert tried(False, False).rate == FIRST_RATE / GROWTH
    assert tried(False, False, False).rate == FIRST_RATE / GROWTH**2
    assert FIRST_RATE / GROWTH**2 < tried(False, False, False, True).rate < FIRST_RATE / GROWTH


@pytest.mark.parametrize("is_held", [True, False])
def test_it_ends_where_every_trial_says_the_same(is_held: bool) -> None:
    search = searched(lambda _: is_held)
    assert search.trials == MOST_TRIALS
    assert (search.result() is not None) is is_held
