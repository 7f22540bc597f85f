"""Every wait for a client has an end, and no client is hurried while it is us who do not read."""

import pytest

from gateway.core.flow import pause
from gateway.http1.errors import BodyBroken, DeadlineExceeded
from gateway.http1.exchange import Exchange
from gateway.http1.limits import Limits
from tests.http1.conversation import Held, at_once, conversation, echo, request

HOST = b"Host: a\r\n"
BODY = b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 500\r\n\r\n"


# -- waiting for a request ---------------------------------------------------------------------------------------------


def test_a_client_that_says_nothing_is_closed_without_an_answer() -> None:
    with conversation(at_once) as client:
        client.waits(9.9)
        assert not client.is_closed
        client.waits(0.2)
        assert client.transport.closed
        assert client.received == b""


def test_an_idle_connection_is_closed_after_its_time() -> None:
    with conversation(at_once) as client:
        client.sends(request())
        client.waits(74.9)
        assert not client.is_closed
        client.waits(0.2)
        assert client.transport.closed
        assert client.statuses == [200]


def test_every_request_starts_the_idle_time_anew() -> None:
    with conversation(at_once) as client:
        for _ in range(3):
            client.sends(request())
            client.waits(70)
        assert not client.is_closed
        client.waits(10)
        assert client.transport.closed


def test_a_head_has_one_deadline_however_it_trickles() -> None:
    with conversation(at_once) as client:
        for byte in b"GET / HTTP/1.1\r\nHost: a"[:19]:
            client.sends(bytes([byte]))
            client.waits(0.5)
        assert client.answers() == []

        client.waits(0.6)

        assert client.answer().status == 408
        assert client.is_closed


def test_a_second_head_has_the_same_time_as_the_first() -> None:
    with conversation(at_once) as client:
        client.sends(request())
        client.waits(60)
        client.sends(b"GET / HTT")
        client.waits(9.9)
        assert client.statuses == [200]
        client.waits(0.2)
        assert client.statuses == [200, 408]


def test_a_slow_head_behind_a_running_request_waits_for_its_turn_to_be_refused() -> None:
    held = Held()
    with conversation(held) as client:
        client.sends(request("/slow"))
        client.sends(b"GET / HTT")
        client.waits(30)
        assert client.answers() == []

        held.lets_through(client)

        assert client.statuses == [200, 408]


def test_a_head_that_is_begun_while_another_request_runs_has_its_own_time() -> None:
    held = Held()
    with conversation(held) as client:
        client.sends(request("/slow"))
        client.waits(20)
        client.sends(b"GET /next HTT")
        held.lets_through(client)
        client.waits(5)

        client.sends(b"P/1.1\r\n" + HOST + b"\r\n")
        held.lets_through(client)

        assert client.statuses == [200, 200]


# -- waiting for a body ------------------------------------------------------------------------------------------------


def test_a_body_that_pauses_is_given_up() -> None:
    with conversation(echo) as client:
        client.sends(BODY + b"a" * 400)
        client.waits(9.5)
        assert client.answers() == []
        client.waits(2)
        assert client.answer().status == 408
        assert client.is_closed


def test_a_body_that_crawls_is_given_up() -> None:
    with conversation(echo) as client:
        client.sends(BODY)
        for _ in range(24):
            if client.is_closed:
                break
            client.sends(b"a" * 10)
            client.waits(0.5)

        assert client.answer().status == 408


def test_a_body_that_keeps_its_pace_may_take_long() -> None:
    async def count(message: Exchange) -> None:
        await message.gather(10**6, 10**6)
        message.reply(200, [], b"%d" % message.received)

    with conversation(count) as client:
        client.sends(b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 60000\r\n\r\n")
        for _ in range(60):
            client.sends(b"a" * 1000)
            client.waits(1)
        assert client.answer().body == b"60000"


def test_time_in_which_we_do_not_read_is_not_the_clients() -> None:
    async def late(message: Exchange) -> None:
        while len(taken) < 3:
            await pause()
        await message.gather(10**6, 10**6)
        message.reply(200, [], b"%d" % message.received)

    taken: list[int] = []
    with conversation(late, limits=Limits(buffer_bytes=100)) as client:
        client.sends(BODY + b"a" * 200)
        client.waits(100)
        assert not client.transport.reading
        assert client.answers() == []

        (message,) = client.application.served
        message.take()
        assert client.transport.reading
        client.waits(5)
        taken += [1, 2, 3]
        client.sends(b"a" * 300)

        assert client.answer().body == b"500"


def test_a_flow_that_is_busy_hears_of_a_broken_body_when_it_waits_for_more() -> None:
    async def busy(message: Exchange) -> None:
        while not busy_no_more:
            await pause()
        try:
            await message.more()
        except BodyBroken as broken:
            message.reply(broken.refusal.problem.status, [], b"")

    busy_no_more: list[bool] = []
    with conversation(busy) as client:
        client.sends(BODY)
        client.waits(15)
        assert client.answers() == []

        busy_no_more.append(True)
        flow = client.application.served[0].flow
        assert flow is not None
        flow.wake()

        assert client.answer().status == 408


# -- waiting for an answer ---------------------------------------------------------------------------------------------


def test_a_request_whose_time_is_over_is_told_so() -> None:
    held = Held(within_s=3.0)
    with conversation(held) as client:
        client.sends(request())
        client.waits(2.9)
        assert held.ended == []
        client.waits(0.2)
        assert held.ended == ["overdue"]
        assert client.answer().status == 504
        assert not client.is_closed


def test_a_request_whose_body_is_missing_is_told_so_too() -> None:
    held = Held(within_s=3.0)
    with conversation(held) as client:
        client.sends(BODY)
        client.waits(3.1)
        assert held.ended == ["overdue"]


def test_a_deadline_in_the_past_is_kept_at_once() -> None:
    held = Held(within_s=0.0)
    with conversation(held) as client:
        client.sends(request())
        client.waits(0.05)
        assert held.ended == ["overdue"]


def test_the_next_request_has_a_time_of_its_own() -> None:
    held = Held(within_s=3.0)
    with conversation(held) as client:
        client.sends(request())
        client.waits(3.1)
        client.sends(request())
        client.waits(2.8)
        assert held.ended == ["overdue"]
        client.waits(0.3)
        assert held.ended == ["overdue", "overdue"]


def test_a_request_that_is_overdue_takes_no_time_from_the_head_behind_it() -> None:
    held = Held(within_s=3.0)
    with conversation(held) as client:
        client.sends(request())
        client.sends(b"GET / HTT")
        client.waits(3.1)
        assert client.statuses == [504]
        client.waits(6.8)
        assert client.statuses == [504]
        client.waits(0.3)
        assert client.statuses == [504, 408]


def test_a_request_without_a_deadline_may_take_for_ever() -> None:
    held = Held()
    with conversation(held) as client:
        client.sends(request())
        client.waits(1000)
        held.lets_through(client)
        assert client.answer().status == 200


def test_a_deadline_that_meets_a_running_flow_is_kept_at_its_next_pause() -> None:
    async def expires_itself(message: Exchange) -> None:
        message.expired()
        try:
            await pause()
        except DeadlineExceeded:
            message.reply(504, [], b"")

    with conversation(expires_itself) as client:
        client.sends(request())
        assert client.answer().status == 504


# -- waiting for the client to read ------------------------------------------------------------------------------------


async def _endless(message: Exchange) -> None:
    message.begin(200, [], None)
    while True:
        message.write(b"x" * 1000)
        await message.drained()
        await pause()


def test_a_client_that_takes_nothing_is_cut_off() -> None:
    with conversation(Held()) as client:
        client.sends(request())
        client.stops_reading()
        client.waits(29.9)
        assert not client.is_closed
        client.waits(1.2)
        assert client.transport.aborted


def test_a_client_that_reads_on_in_time_is_served_on() -> None:
    held = Held()
    with conversation(held) as client:
        client.sends(request())
        for _ in range(5):
            client.stops_reading()
            client.waits(25)
            client.reads_on()
        held.lets_through(client)
        assert client.answer().status == 200


def test_a_client_that_takes_nothing_of_a_finished_answer_is_cut_off_in_the_same_time() -> None:
    async def large(message: Exchange) -> None:
        message.reply(200, [], b"x" * 100_000)
        client.stops_reading()

    with conversation(large) as client:
        client.sends(request())
        client.waits(29.5)
        assert not client.is_closed
        client.waits(2)
        assert client.transport.aborted


def test_a_client_that_has_read_its_answer_in_the_end_is_idle_as_any_other() -> None:
    async def large(message: Exchange) -> None:
        message.reply(200, [], b"x" * 100_000)
        client.stops_reading()

    with conversation(large) as client:
        client.sends(request())
        client.waits(20)
        client.reads_on()
        client.waits(54)
        assert not client.is_closed
        client.waits(1.1)
        assert client.transport.closed


def test_a_slow_reader_holds_its_flow_and_nothing_else() -> None:
    async def large(message: Exchange) -> None:
        message.begin(200, [], 3)
        for part in (b"a", b"b", b"c"):
            message.write(part)
            await message.drained()
        message.end()

    with conversation(large) as client:
        client.stops_reading()
        client.sends(request())
        assert client.received.endswith(b"\r\n\r\na")

        client.reads_on()

        assert client.answer().body == b"abc"


# -- the end of a connection -------------------------------------------------------------------------------------------


def test_a_refused_client_that_still_sends_gets_to_read_its_answer() -> None:
    with conversation(at_once) as client:
        client.sends(BODY)
        assert client.transport.eof_written
        assert not client.transport.is_closing()

        client.sends(b"a" * 400)
        client.waits(0.9)
        assert not client.transport.is_closing()
        client.waits(0.2)

        assert client.transport.aborted
        assert client.answer().status == 200


def test_a_refused_client_cannot_go_on_sending_for_ever() -> None:
    with conversation(at_once) as client:
        client.sends(BODY)
        for _ in range(17):
            client.sends(b"a" * 65536)
        assert client.transport.aborted


def test_the_last_answer_is_not_cut_off_while_the_client_still_reads_it() -> None:
    with conversation(at_once) as client:
        client.transport.unsent = 50_000
        client.sends(BODY)
        client.waits(10)
        assert not client.transport.is_closing()

        client.transport.unsent = 0
        client.waits(1.1)
        assert client.transport.aborted


def test_a_last_answer_that_nobody_reads_is_given_up() -> None:
    with conversation(at_once) as client:
        client.transport.unsent = 50_000
        client.sends(BODY)
        client.waits(29)
        assert not client.transport.is_closing()
        client.waits(2.5)
        assert client.transport.aborted


def test_a_close_that_cannot_be_completed_is_cut_short() -> None:
    with conversation(at_once) as client, pytest.MonkeyPatch.context() as patch:
        patch.setattr(client.transport, "settle", lambda: None)
        client.sends(request("/", b"", "Connection: close"))
        assert client.transport.closed
        client.waits(29)
        assert not client.transport.aborted
        client.waits(1.1)
        assert client.transport.aborted


def test_a_transport_without_half_close_is_closed_whole() -> None:
    with conversation(at_once) as client:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client.transport, "can_write_eof", lambda: False)
            client.sends(BODY)
        assert client.transport.closed
        assert client.answer().status == 200


def test_reading_goes_on_to_the_end_where_it_was_paused() -> None:
    async def refuse_late(message: Exchange) -> None:
        while not told:
            await pause()
        message.reply(413, [], b"")

    told: list[bool] = []
    with conversation(refuse_late, limits=Limits(buffer_bytes=100)) as client:
        client.sends(BODY + b"a" * 200)
        assert not client.transport.reading

        told.append(True)
        flow = client.application.served[0].flow
        assert flow is not None
        flow.wake()

        assert client.transport.reading
        assert client.answer().status == 413


# -- the client is gone ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET / HT", request(), b"GET / HTTP/1.1\r\n\r\n"])
def test_a_client_may_go_where_nothing_runs(sent: bytes) -> None:
    with conversation(at_once) as client:
        client.sends(sent) if sent else None
        client.is_gone(ConnectionResetError())
        client.waits(100)
        assert client.transport.too_late == b""


@pytest.mark.parametrize("sent", [request(), BODY, BODY + b"half"])
def test_a_running_flow_hears_that_its_client_is_gone(sent: bytes) -> None:
    held = Held(within_s=3.0)
    with conversation(held) as client:
        client.sends(sent)
        client.is_gone()
        client.waits(100)

        assert held.ended == ["gone"]
        assert client.received == b""


def test_requests_behind_a_gone_clients_never_start() -> None:
    held = Held()
    with conversation(held) as client:
        client.sends(request("/a") + request("/b") + request("/c"))
        client.is_gone()
        assert (held.began, held.ended) == ([b"/a"], ["gone"])


def test_a_client_that_reads_slowly_may_go_too() -> None:
    with conversation(_endless) as client:
        client.stops_reading()
        client.sends(request())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client.application, "crashed", lambda message, error: None)
            client.is_gone()


@pytest.mark.parametrize("sent", [b"", request(), b"GET / HT", BODY + b"half"])
def test_a_client_that_ends_its_side_is_taken_for_gone(sent: bytes) -> None:
    held = Held()
    with conversation(held) as client:
        client.sends(sent) if sent else None
        client.ends_sending()

        assert client.transport.is_closing()
        assert held.ended == ["gone"] * len(held.began)


# -- stopping ----------------------------------------------------------------------------------------------------------


def test_an_idle_connection_is_closed_when_the_process_stops() -> None:
    with conversation(at_once) as client:
        client.sends(request())
        client.application.draining = True
        client.connection.shutdown()
        assert client.transport.closed


def test_a_running_request_is_finished_when_the_process_stops() -> None:
    held = Held()
    with conversation(held) as client:
        client.sends(request())
        client.application.draining = True
        client.connection.shutdown()
        assert not client.is_closed

        held.lets_through(client)

        assert client.answer().field("connection") == "close"
        assert client.is_closed


def test_a_request_that_is_just_coming_in_is_served_when_the_process_stops() -> None:
    with conversation(at_once) as client:
        client.sends(b"GET / HTT")
        client.application.draining = True
        client.connection.shutdown()
        assert not client.is_closed

        client.sends(b"P/1.1\r\n" + HOST + b"\r\n")

        assert client.answer().field("connection") == "close"
        assert client.is_closed


# -- defects of ours ---------------------------------------------------------------------------------------------------


def test_a_crash_before_the_answer_is_a_500() -> None:
    async def crash(message: Exchange) -> None:
        raise RuntimeError("a defect")

    with conversation(crash) as client:
        client.sends(request())
        (error,) = client.application.crashes
        client.application.crashes.clear()

        assert str(error) == "a defect"
        assert client.answer().status == 500
        assert client.is_closed


def test_a_crash_within_the_answer_cuts_it() -> None:
    async def crash(message: Exchange) -> None:
        message.begin(200, [], 10, b"half")
        raise RuntimeError("a defect")

    with conversation(crash) as client:
        client.sends(request() + request())
        client.application.crashes.clear()

        assert client.answer().complete is False
        assert client.transport.aborted


def test_a_flow_that_never_answers_has_its_connection_cut() -> None:
    async def forget(message: Exchange) -> None:
        return

    with conversation(forget) as client:
        client.sends(request())
        assert client.received == b""
        assert client.transport.aborted


def test_an_answer_that_is_cut_takes_its_connection_with_it() -> None:
    async def cut(message: Exchange) -> None:
        message.begin(200, [], None, b"half")
        message.abort()

    with conversation(cut) as client:
        client.sends(request() + request())
        assert client.answer().complete is False
        assert client.transport.aborted
        assert client.connection.gone
