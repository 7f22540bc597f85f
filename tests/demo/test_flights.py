import gzip
import itertools
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from gateway.demo.addresses import client_address
from gateway.demo.flights import (
    COLUMNS,
    FLIGHTS_FILE,
    NUMBER_INPUTS,
    STRING_INPUTS,
    Flight,
    FlightDataInvalid,
    read_flights,
)

FLIGHTS = tuple(read_flights())
CARRIERS = ["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV"]
ON_TIME_ROW = "2013-04-01T09:00Z,1,UA,EWR,IAH,1,300,240,2,10,10,60,15"


def flight(**changes):
    facts = {
        "scheduled": datetime(2013, 4, 1, 9, 15, tzinfo=UTC),
        "number": 1545,
        "carrier": "UA",
        "origin": "EWR",
        "destination": "IAH",
        "numbers": (1.0, 315.0, 240.0, 2.0, 10.0, 10.0, 93.0),
        "arrival_delay_minutes": 0,
    }
    return Flight(**(facts | changes))


def test_flights_come_in_the_order_they_were_due_to_leave():
    assert all(one.scheduled <= next_one.scheduled for one, next_one in itertools.pairwise(FLIGHTS))


def test_flights_are_of_months_no_version_was_trained_on():
    assert {one.scheduled.year for one in FLIGHTS[:-88]} == {2013}
    # 1 April and 31 December in New York, in UTC.
    assert FLIGHTS[0].scheduled >= datetime(2013, 4, 1, 4, tzinfo=UTC)
    assert FLIGHTS[-1].scheduled < datetime(2014, 1, 1, 5, tzinfo=UTC)


def test_every_carrier_of_the_year_is_a_tenant():
    flights_of = Counter(one.tenant for one in FLIGHTS)

    assert sorted(flights_of) == CARRIERS
    assert flights_of["UA"] > 10_000
    assert flights_of["OO"] < 30


def test_every_flight_has_an_id_of_its_own():
    assert flight().id == "UA1545-EWR-20130401T0915Z"
    assert len({one.id for one in FLIGHTS}) == len(FLIGHTS)


def test_a_carrier_asks_about_a_destination_from_one_address():
    assert flight().client == client_address("UA", "IAH")
    assert flight(number=1).client == flight().client


@pytest.mark.parametrize(
    ("delay", "late"), [(-20, False), (0, False), (15, False), (16, True), (600, True), (None, None)]
)
def test_late_means_more_than_fifteen_minutes(delay, late):
    assert flight(arrival_delay_minutes=delay).late is late


def test_the_label_becomes_known_when_the_flight_arrives():
    late = flight(arrival_delay_minutes=30)

    assert late.label_known_at == late.scheduled + timedelta(minutes=240 + 30)
    assert flight(arrival_delay_minutes=None).label_known_at is None


def test_labels_come_after_the_flight_and_for_some_never():
    known = [one for one in FLIGHTS if one.label_known_at is not None]
    share_late = sum(one.late is True for one in known) / len(known)

    assert all(one.late is None for one in FLIGHTS if one.label_known_at is None)
    assert all(one.scheduled < one.label_known_at for one in known)
    assert len(FLIGHTS) - len(known) == 2277
    assert share_late == pytest.approx(0.253, abs=0.001)


def test_a_request_body_is_an_open_inference_request():
    body = json.loads(flight().request_body())

    assert body["id"] == flight().id
    assert [tensor["name"] for tensor in body["inputs"]] == [*NUMBER_INPUTS, *STRING_INPUTS]
    assert body["inputs"][1] == {
        "name": "departure_minute",
        "shape": [1, 1],
        "datatype": "FP32",
        "data": [315.0],
    }
    assert body["inputs"][-1] == {
        "name": "destination",
        "shape": [1, 1],
        "datatype": "BYTES",
        "data": ["IAH"],
    }


def test_every_request_body_has_tensors_of_one_plausible_row():
    for one in FLIGHTS[::97]:
        values = {}
        for tensor in json.loads(one.request_body())["inputs"]:
            assert tensor["shape"] == [1, 1]
            (values[tensor["name"]],) = tensor["data"]

        assert 1 <= values["day_of_week"] <= 7
        assert 0 <= values["departure_minute"] < 24 * 60
        assert 30 <= values["scheduled_minutes"] <= 12 * 60
        assert 1 <= values["departures_in_hour"] <= 60
        assert 0 <= values["visibility_miles"] <= 10
        assert 0 <= values["wind_speed_mph"] <= 60
        assert 0 < values["humidity_percent"] <= 100
        assert values["origin"] in {"EWR", "JFK", "LGA"}
        assert values["carrier"] == one.tenant


def test_the_file_is_small_enough_to_ship():
    assert FLIGHTS_FILE.stat().st_size < 2_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the first line must be scheduled,flight,carrier"),
        ("a,b\n1,2\n", "the first line must be scheduled,flight,carrier"),
        (f"{','.join(COLUMNS)}\nyesterday,1\n", ":2: "),
        (f"{','.join(COLUMNS)}\n{ON_TIME_ROW}\n{ON_TIME_ROW}!\n", ":3: "),
    ],
)
def test_a_file_that_is_none_of_flights_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "flights.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))

    with pytest.raises(FlightDataInvalid, match=message):
        list(read_flights(path))
