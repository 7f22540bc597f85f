"""A run at a fixed rate ends when its time is up: how long it took says whether its answers were late."""

import pytest

from loadtests.bench.load import FixedRate

MS = 1_000_000


def five_a_second() -> FixedRate:
    return FixedRate(start=0, end=1000 * MS, interval_ns=200 * MS)


def test_a_request_is_sent_when_it_is_due() -> None:
    schedule = five_a_second()
    assert schedule.due(0) == 0
    assert schedule.due(100 * MS) is None
    assert schedule.due(250 * MS) == 200 * MS


@pytest.mark.parametrize(
    ("sent", "now", "expected"),
    [
        pytest.param(1, 50 * MS, 0.15, id="until the next one is due"),
        pytest.param(1, 300 * MS, 0.0, id="not at all for one that is late"),
        pytest.param(5, 900 * MS, 0.1, id="until the end after the last one"),
        pytest.param(5, 1000 * MS, None, id="only for answers after the end"),
        pytest.param(3, 1100 * MS, None, id="only for a free connection when all is late"),
    ],
)
def test_it_waits_for_the_next_request_or_the_end(sent: int, now: int, expected: float | None) -> None:
    schedule = five_a_second()
    schedule.sent = sent
    assert schedule.wait_s(now) == expected


def test_what_could_not_be_sent_is_known_by_its_due_times() -> None:
    schedule = five_a_second()
    schedule.sent = 3
    assert schedule.unsent() == [600 * MS, 800 * MS]
