import asyncio
import json
from collections import Counter
from datetime import UTC, datetime
from itertools import islice

import pytest

from gateway.demo.caller import LARGEST_ANSWER_BYTES, Caller, CallFailed
from gateway.demo.flights import FLIGHTS_FILE, read_flights
from gateway.demo.replay import CONNECTIONS, Replay, Schedule, Tally, count_flights, infer_request, reasons, set_course
from tests.support.backends import (
    Backend,
    answers,
    hangs,
    in_turn,
    never_ends,
    resets,
    resets_within_body,
    response,
    says_garbage,
)
from tests.support.polling import eventually

FAST = 100_000.0
FLIGHTS = tuple(islice(read_flights(), 60))
GET = b"GET / HTTP/1.1\r\nhost: backend\r\n\r\n"


def answered_by(version):
    return answers(b'{"outputs": []}', fields=[("x-model-version", version)])


def call(backend, request=GET, patience_s=20.0):
    async def once():
        caller = Caller(f"127.0.0.1:{backend.port}", 1, patience_s)
        try:
            return await caller.call(request)
        finally:
            caller.close()

    return asyncio.run(once())


def replay(backend, flights, rate=FAST, patience_s=20.0):
    async def run():
        caller = Caller(f"127.0.0.1:{backend.port}", CONNECTIONS, patience_s)
        one = Replay(caller, iter(flights), rate)
        await one.run()
        caller.close()
        return one.tally

    return asyncio.run(run())


def test_a_call_brings_the_whole_answer():
    with Backend(answers(b'{"a": 1}', status=418, fields=[("X-Some", "thing")])) as backend:
        reply = call(backend)

    assert (reply.status, reply.body, reply.fields[b"x-some"]) == (418, b'{"a": 1}', b"thing")


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (resets(), "closed the connection without an answer"),
        (resets_within_body(), "ended before its end"),
        (says_garbage(), "not valid HTTP/1.1"),
        (never_ends(), f"larger than {LARGEST_ANSWER_BYTES} bytes"),
    ],
)
def test_a_call_without_a_whole_answer_fails_and_says_why(behaviour, reason):
    with Backend(behaviour) as backend, pytest.raises(CallFailed, match=reason):
        call(backend)


def test_a_call_is_not_waited_for_longer_than_patience():
    with Backend(hangs()) as backend, pytest.raises(CallFailed, match=r"no answer within 0\.05 s"):
        call(backend, patience_s=0.05)


def test_a_call_to_nobody_fails_and_names_the_address():
    backend = Backend()
    backend.close()

    with pytest.raises(CallFailed, match=f"connecting to 127.0.0.1:{backend.port}: "):
        call(backend)


def test_a_caller_who_is_cancelled_leaves_no_call_behind():
    async def cancelled(backend):
        caller = Caller(f"127.0.0.1:{backend.port}", 1, 20.0)
        task = asyncio.create_task(caller.call(GET))
        await asyncio.to_thread(eventually, lambda: backend.requests, "the call arrives")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        backend.behave(answers(b"next"))
        # The only connection is free again, although its call never ended.
        reply = await caller.call(GET)
        caller.close()
        return reply

    with Backend(hangs()) as backend:
        assert asyncio.run(cancelled(backend)).body == b"next"


def test_every_flight_is_asked_about_once_in_the_order_they_were_due_to_leave():
    with Backend(answered_by("1")) as backend:
        tally = replay(backend, FLIGHTS)
        asked = [json.loads(request.body)["id"] for request in backend.requests]

    assert Counter(asked) == Counter(flight.id for flight in FLIGHTS)
    assert asked[:1] == [FLIGHTS[0].id]
    # Clients run side by side, so a request may overtake as many others as there are clients.
    places = {flight.id: place for place, flight in enumerate(FLIGHTS)}
    assert all(abs(places[one] - place) < CONNECTIONS for place, one in enumerate(asked))
    assert tally.sent == tally.answered == len(FLIGHTS)
    assert tally.answered_by == {"1": len(FLIGHTS)}
    assert tally.failed == {}
    assert tally.at == FLIGHTS[-1].scheduled


def test_a_request_comes_from_the_flights_client_for_its_tenant_over_few_kept_connections():
    with Backend(answered_by("1")) as backend:
        replay(backend, FLIGHTS)
        by_id = {json.loads(request.body)["id"]: request for request in backend.requests}
        connections = backend.connections

    for flight in FLIGHTS:
        request = by_id[flight.id]
        assert (request.method, request.path) == ("POST", "/v2/models/flight-delay/infer")
        assert request.field("x-tenant") == flight.carrier
        assert request.field("x-forwarded-for") == flight.client
        assert request.body == flight.request_body()
    assert connections <= CONNECTIONS


def test_what_fails_is_counted_by_reason_and_the_replay_goes_on():
    refused = answers(b'{"code": "overloaded", "status": 503}', 503, "application/problem+json")
    broken = answers(b"not what it says", 502, "application/problem+json")
    own_error = answers(b'{"error": "no"}', 400)
    with Backend(in_turn(refused, broken, own_error, resets(), answered_by("2"))) as backend:
        tally = replay(backend, FLIGHTS[:10])

    assert tally.failed == {
        "status 503 overloaded": 1,
        "status 502": 1,
        "status 400": 1,
        "the backend closed the connection without an answer": 1,
    }
    assert tally.answered_by == {"2": 6}
    assert tally.sent == 10
    assert len(tally.recent_s) == 6


def test_a_hung_gateway_is_given_up_flight_by_flight():
    with Backend(hangs()) as backend:
        tally = replay(backend, FLIGHTS[:CONNECTIONS], patience_s=0.05)

    assert tally.failed == {"no answer within 0.05 s": CONNECTIONS}


def sent_at(rate, took_s):
    """When one client asks about one flight after another, each answer taking its time from `took_s`."""
    schedule, now, at = Schedule(rate, 0.0), 0.0, []
    for seconds in took_s:
        now += schedule.wait_s(now)
        at.append(round(now, 6))
        now += seconds
    return at


def test_the_pace_is_kept_by_the_clock_whatever_an_answer_takes():
    assert sent_at(10, [0, 0.05, 0.2, 0, 0, 0]) == [0, 0.1, 0.2, 0.4, 0.4, 0.5]


def test_a_long_pause_is_made_up_for_by_a_quarter_of_a_second_only():
    at = sent_at(100, [5.0, *[0.0] * 40])

    assert at[0] == 0.0
    assert at[1:27] == [5.0] * 26
    assert at[27:30] == [5.01, 5.02, 5.03]


def test_a_stopped_replay_sends_no_more_and_does_not_wait_for_the_next_turn():
    async def run(backend):
        caller = Caller(f"127.0.0.1:{backend.port}", CONNECTIONS, 20.0)
        # Given a pace at which the next flight would be due in a quarter of an hour
        one = Replay(caller, iter(FLIGHTS), 0.001)
        running = asyncio.create_task(one.run())
        await asyncio.to_thread(eventually, lambda: one.tally.answered, "the first answer")
        one.stop()
        await running
        caller.close()
        return one.tally

    with Backend(answered_by("1")) as backend:
        assert asyncio.run(run(backend)).sent == 1


def test_latencies_are_those_that_occurred():
    tally = Tally()
    assert tally.latency_s(0.5) is None

    tally.recent_s.extend(value / 100 for value in range(100, 0, -1))

    assert [tally.latency_s(quantile) for quantile in (0.0, 0.5, 0.99, 1.0)] == [0.01, 0.5, 0.99, 1.0]


def test_reasons_are_the_most_frequent_first():
    failed = Counter({"rare": 1, "often": 1200, "now and then": 7})

    assert reasons(failed, most=2) == ["1,200 requests: often", "7 requests: now and then"]


def test_flights_are_counted_without_reading_them():
    assert count_flights(FLIGHTS_FILE) == sum(1 for _ in read_flights())


@pytest.mark.parametrize(
    ("first", "most", "starts_at", "before", "total", "anew"),
    [
        (0, None, 0, 0, 86768, False),
        (1000, None, 1000, 1000, 86768, False),
        (1000, 200, 1000, 0, 200, False),
        (86760, 200, 86760, 0, 8, False),
        (86768, None, 0, 0, 86768, True),
    ],
)
def test_a_course_goes_on_where_the_last_ended_and_begins_anew_after_the_end(
    first, most, starts_at, before, total, anew
):
    course = set_course(first, most)

    assert (course.first, course.before, course.total, course.anew) == (starts_at, before, total, anew)
    assert next(course.flights) == next(islice(read_flights(), starts_at, None))
    assert sum(1 for _ in course.flights) == (total - before) - 1


def test_a_request_is_one_whole_http_message():
    request = infer_request(FLIGHTS[0], b"127.0.0.1:8080")
    head, _, body = request.partition(b"\r\n\r\n")

    assert head.split(b"\r\n")[:2] == [b"POST /v2/models/flight-delay/infer HTTP/1.1", b"host: 127.0.0.1:8080"]
    assert f"content-length: {len(body)}".encode() in head
    assert FLIGHTS[0].scheduled < datetime(2013, 4, 2, tzinfo=UTC)


def test_an_answer_without_a_version_is_still_counted():
    async def bare(request, connection):
        await connection.send(response(b"{}"))

    with Backend(bare) as backend:
        assert replay(backend, FLIGHTS[:3]).answered_by == {"?": 3}
