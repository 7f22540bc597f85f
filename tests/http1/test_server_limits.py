"""Every size a client chooses is bounded, and by the same bound however its bytes are cut."""

from collections.abc import Callable

import pytest

from gateway.http1.exchange import Exchange
from gateway.http1.limits import Limits
from tests.http1.conversation import BODY_CAP, Held, at_once, conversation, echo, request
from tests.support.pieces import byte_by_byte, whole

Cut = Callable[[bytes], list[bytes]]
CUTS = pytest.mark.parametrize("cut", [whole, byte_by_byte])
LIMITS = Limits(request_line_bytes=100, field_bytes=200, section_bytes=500, fields=10, buffer_bytes=1000, pipelined=4)
HOST = b"Host: a\r\n"


def head(*fields: bytes, target: bytes = b"/") -> bytes:
    return b"GET %b HTTP/1.1\r\n" % target + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


@CUTS
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head(target=b"/" + b"a" * 99), 200),
        (head(target=b"/" + b"a" * 100), 414),
        (head(target=b"/" + b"a" * 5000), 414),
        (b"GET /%b HTTP/1.0\r\n\r\n" % (b"a" * 99), 200),
        (head(b"x: " + b"a" * 199), 200),
        (head(b"x: " + b"a" * 200), 431),
        (head(b"x" * 199 + b": a"), 200),
        (head(b"x" * 200 + b": a"), 431),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 5000 + b"\r\n" + HOST + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nx:" + b" " * 5000 + b"a\r\n" + HOST + b"\r\n", 431),
        (head(*[b"x: y"] * 9), 200),
        (head(*[b"x: y"] * 10), 431),
        (head(*[b"x: " + b"a" * 115] * 4), 200),
        (head(*[b"x: " + b"a" * 120] * 4), 431),
        (head(*[b"x: " + b"a" * 150] * 9), 431),
    ],
)
def test_line_field_section_and_number_of_fields(sent: bytes, status: int, cut: Cut) -> None:
    with conversation(at_once, limits=LIMITS) as client:
        client.sends(*cut(sent))

        assert client.answer().status == status
        assert client.is_closed is (status != 200 or b"HTTP/1.0" in sent)


@pytest.mark.parametrize("begun", [b"GET /" + b"a" * 5000, b"GET / HTTP/1.1\r\nx: " + b"a" * 5000])
def test_a_head_that_has_no_end_is_refused_before_it_ends(begun: bytes) -> None:
    with conversation(at_once, limits=LIMITS) as client:
        client.sends(*byte_by_byte(begun))
        assert client.answer().status == (414 if b"\r" not in begun else 431)


def test_the_limits_are_those_of_the_configuration() -> None:
    from gateway.core.config import Http

    assert Limits.of(Http()) == Limits()


def test_a_body_is_refused_by_its_length_before_it_comes() -> None:
    with conversation(echo) as client:
        client.sends(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % (BODY_CAP + 1))
        assert client.answer().status == 413


@CUTS
@pytest.mark.parametrize(("size", "status"), [(BODY_CAP, 200), (BODY_CAP + 1, 413)])
def test_exactly_the_cap_passes(size: int, status: int, cut: Cut) -> None:
    with conversation(echo) as client:
        client.sends(*cut(request("/", b"a" * size)))
        assert client.answer().status == status


def test_a_chunked_body_is_counted_as_it_comes() -> None:
    chunk = b"64\r\n" + b"a" * 100 + b"\r\n"
    with conversation(echo) as client:
        client.sends(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        client.sends(*[chunk] * 10)
        assert client.answers() == []

        client.sends(b"1\r\na")

        assert client.answer().status == 413


def test_a_chunk_is_refused_by_its_size_before_its_data() -> None:
    with conversation(echo) as client:
        client.sends(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\na")
        assert client.answer().status == 413


# -- what is held in memory --------------------------------------------------------------------------------------------


def test_a_body_that_nobody_takes_is_read_up_to_the_buffer() -> None:
    held = Held()
    with conversation(held, limits=LIMITS) as client:
        client.sends(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n")
        client.sends(*[b"a" * 100] * 1000)

        assert not client.transport.reading
        assert 1000 < client.application.served[0].buffered <= 1100


def test_taking_the_body_reads_on() -> None:
    held = Held()
    with conversation(held, limits=LIMITS) as client:
        client.sends(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n")
        client.sends(*[b"a" * 100] * 1000)
        (message,) = client.application.served

        taken = message.take()

        assert client.transport.reading
        assert (len(taken), message.buffered, message.take()) == (1100, 0, b"")
        client.sends(b"b" * 7)
        assert message.take() == b"b" * 7


def test_a_body_larger_than_the_buffer_is_read_whole_by_whoever_wants_it_whole() -> None:
    with conversation(echo, limits=Limits(buffer_bytes=100)) as client:
        client.sends(b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n")
        client.sends(*[b"%03d " % number for number in range(250)])
        assert client.answer().body == b"POST /a " + b"".join(b"%03d " % number for number in range(250))


def test_requests_read_ahead_are_bounded() -> None:
    held = Held()
    with conversation(held, limits=LIMITS) as client:
        client.sends(*[request(f"/{number}") for number in range(100)])

        assert not client.transport.reading
        assert held.began == [b"/0"]

        held.lets_through(client)
        assert client.transport.reading


@CUTS
def test_a_bound_on_what_is_read_ahead_holds_nothing_up_for_ever(cut: Cut) -> None:
    async def slow_first(message: Exchange) -> None:
        await (held(message) if message.target == b"/0" else echo(message))

    held = Held()
    with conversation(slow_first, limits=LIMITS) as client:
        gets = b"".join(request(f"/{number}") for number in range(20))
        client.sends(gets + request("/body", b"hello")[:-3])
        assert not client.transport.reading

        held.lets_through(client)
        assert client.transport.reading
        client.sends(*cut(b"llo"))

        assert [answer.body for answer in client.answers()][-1] == b"POST /body hello"
        assert len(client.answers()) == 21


def test_reading_stops_for_heads_read_ahead_even_within_a_head() -> None:
    held = Held()
    with conversation(held, limits=LIMITS) as client:
        client.sends(b"".join(request(f"/{number}") for number in range(20)) + b"GET /half HTTP/1.1\r\nHo")
        assert not client.transport.reading

        held.lets_through(client, 20)
        assert client.transport.reading
        client.sends(b"st: a\r\n\r\n")
        held.lets_through(client)

        assert len(client.answers()) == 21
