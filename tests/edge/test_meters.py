"""What is counted of a request: its outcome, and two durations in buckets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.counters import Counters, totals
from gateway.core.metrics import DURATION, DURATION_BOUNDS_S, REQUESTS, UPSTREAM_DURATION
from gateway.edge.meters import Meter, outcome_of


@pytest.fixture
def counters(tmp_path: Path) -> Iterator[Counters]:
    counters = Counters(tmp_path, "worker-0")
    yield counters
    counters.close()


def counted(tmp_path: Path, family: str) -> dict[str, int]:
    return {field: value for field, value in totals(tmp_path)[family, ("m", "1")].items() if value}


def test_a_request_is_counted_by_its_outcome(tmp_path: Path, counters: Counters) -> None:
    meter = Meter(counters, "m", "1")
    for outcome in ("2xx", "2xx", "refused", "client_gone"):
        meter.count(outcome, 0.0, None)
    assert counted(tmp_path, REQUESTS.name) == {"2xx": 2, "refused": 1, "client_gone": 1}


def test_durations_fall_into_the_bucket_that_holds_them(tmp_path: Path, counters: Counters) -> None:
    meter = Meter(counters, "m", "1")
    for duration in (0.0, 0.0005, 0.0006, 0.25, 10.0, 10.5):
        meter.count("2xx", duration, duration / 2)
    assert counted(tmp_path, DURATION.name) == {
        "0.0005": 2,
        "0.001": 1,
        "0.25": 1,
        "10": 1,
        "+Inf": 1,
        "sum_us": 20_751_100,
    }
    assert counted(tmp_path, UPSTREAM_DURATION.name)["sum_us"] == 10_375_550


def test_a_request_that_no_backend_answered_has_no_time_of_one(tmp_path: Path, counters: Counters) -> None:
    Meter(counters, "m", "1").count("refused", 0.1, None)
    assert counted(tmp_path, UPSTREAM_DURATION.name) == {}


def test_cells_are_taken_before_the_first_request(tmp_path: Path, counters: Counters) -> None:
    """A request must not meet a full disk."""
    Meter(counters, "m", "1")
    assert {family for family, _ in totals(tmp_path)} == {REQUESTS.name, DURATION.name, UPSTREAM_DURATION.name}


@pytest.mark.parametrize("status", [200, 201, 299, 300, 399, 400, 499, 500, 599])
def test_every_status_has_an_outcome_that_is_counted(status: int) -> None:
    assert outcome_of(status) == f"{status // 100}xx"
    assert outcome_of(status) in REQUESTS.fields


def test_the_bounds_are_in_order() -> None:
    assert list(DURATION_BOUNDS_S) == sorted(set(DURATION_BOUNDS_S))
