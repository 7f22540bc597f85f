"""The Date field is right, and written once a second."""

from collections.abc import Iterator

import pytest

from gateway.http1 import date
from gateway.http1.date import DateLine
from tests.support.clocks import Clock, stopped_clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    with stopped_clock(date) as clock:
        yield clock


def test_it_is_a_field_line_in_the_form_that_http_wants(clock: Clock) -> None:
    clock.now = -1_800_000_000.0 + 784_111_777
    assert DateLine().now() == b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


def test_it_moves_on_with_the_second_and_not_before(clock: Clock) -> None:
    line = DateLine()
    first = line.now()
    clock.passes(0.9)
    assert line.now() is first
    clock.passes(0.1)
    assert line.now() != first
