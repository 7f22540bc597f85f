"""A breaker opens after failures in a row, and lets one probe decide."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.breaker import Breaker, State

FAILURES, OPEN_S = 3, 5.0


def opened(now: float = 100.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(now, FAILURES, OPEN_S)
    return breaker


def test_it_lets_everything_through_at_first() -> None:
    breaker = Breaker()
    assert all(breaker.allows(now) for now in (0.0, 1.0, 1e9))


def test_failures_in_a_row_open_it_for_a_while() -> None:
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        breaker.failed(100.0, FAILURES, OPEN_S)
        assert breaker.allows(100.0)
    breaker.failed(100.0, FAILURES, OPEN_S)
    assert breaker.state is State.OPEN
    assert not breaker.allows(104.9)


def test_a_success_between_starts_the_count_anew() -> None:
    breaker = Breaker()
    for _ in range(10):
        breaker.failed(100.0, FAILURES, OPEN_S)
        breaker.failed(100.0, FAILURES, OPEN_S)
        breaker.succeeded()
    assert breaker.state is State.CLOSED


def test_after_its_time_one_probe_is_let_through() -> None:
    breaker = opened()
    assert breaker.allows(105.0)
    assert not breaker.allows(105.0)
    assert not breaker.allows(1e9)


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened()
    breaker.allows(105.0)
    breaker.succeeded()
    assert all(breaker.allows(105.0) for _ in range(3))


def test_a_probe_that_fails_opens_it_again() -> None:
    breaker = opened()
    breaker.allows(105.0)
    breaker.failed(106.0, FAILURES, OPEN_S)
    assert not breaker.allows(110.9)
    assert breaker.allows(111.0)


def test_a_probe_that_tells_nothing_may_be_tried_again() -> None:
    breaker = opened()
    breaker.allows(105.0)
    breaker.undecided()
    assert breaker.allows(105.0)
    assert not breaker.allows(105.0)


def test_a_call_that_tells_nothing_changes_nothing_else() -> None:
    breaker = Breaker()
    breaker.undecided()
    assert breaker.state is State.CLOSED
    breaker = opened()
    breaker.undecided()
    assert not breaker.allows(104.0)


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["ask", "succeeded", "failed", "undecided"]))))
def test_never_more_than_one_probe_is_out(steps: list[tuple[float, str]]) -> None:
    breaker, now, probes = Breaker(), 0.0, 0
    for passed, what in steps:
        now += passed
        if what == "ask":
            was_closed = breaker.state is State.CLOSED
            if breaker.allows(now) and not was_closed:
                probes += 1
                assert probes == 1
        elif what == "failed":
            breaker.failed(now, FAILURES, OPEN_S)
            probes = 0
        else:
            getattr(breaker, what)()
            probes = 0
