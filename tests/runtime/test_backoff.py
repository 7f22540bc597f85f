"""How long the next start of a process waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.runtime.backoff import HEALTHY_S, LONGEST_DELAY_S, Backoff


def test_the_first_restart_is_at_once_and_the_next_ones_are_slower() -> None:
    backoff = Backoff()

    delays = [backoff.after_exit(0.0) for _ in range(9)]

    assert delays == pytest.approx([0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])


def test_ten_seconds_of_health_forgive_what_was_before() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.after_exit(0.0)

    assert backoff.after_exit(HEALTHY_S) == 0
    assert backoff.after_exit(HEALTHY_S - 0.1) == pytest.approx(0.1)


@given(st.lists(st.floats(0, 100), max_size=200))
def test_no_history_makes_it_wait_longer_than_the_bound(lives: list[float]) -> None:
    backoff = Backoff()

    assert all(0 <= backoff.after_exit(life) <= LONGEST_DELAY_S for life in lives)


def test_a_process_that_fails_for_months_is_still_tried() -> None:
    backoff = Backoff(failures=10**9)

    assert backoff.after_exit(0.0) == LONGEST_DELAY_S
