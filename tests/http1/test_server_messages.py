"""Reading one message after another: framing, order, and what is refused on the wire."""

from collections.abc import Callable

import pytest

from gateway.http1.exchange import Exchange
from tests.http1.conversation import BODY_CAP, Held, at_once, conversation, echo, request
from tests.support.pieces import byte_by_byte, every_cut_in_two, whole

Cut = Callable[[bytes], list[bytes]]
CUTS = pytest.mark.parametrize("cut", [whole, byte_by_byte])
HOST = b"Host: example.org\r\n"


# -- one request -------------------------------------------------------------------------------------------------------


@CUTS
@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (request("/a?b=c"), b"GET /a?b=c "),
        (request("/a", b"hello"), b"POST /a hello"),
        (request("/a", b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"), b"POST /a \r\n\r\nGET / HTTP/1.1\r\n\r\n"),
        (request("/a", b"hello", method="PATCH"), b"PATCH /a hello"),
        (request("/a", method="LOCK"), b"LOCK /a "),
        (b"\r\n\r\n" + request("/a"), b"GET /a "),
        (b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"POST /a hi"),
        (b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"POST /a "),
        (b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n", b"POST /a "),
        (b"GET http://example.org/a HTTP/1.1\r\n" + HOST + b"\r\n", b"GET /a "),
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", b"OPTIONS * "),
        (b"GET /a HTTP/1.1\r\nhOsT:example.org\r\nX: \t y \t\r\n\r\n", b"GET /a "),
    ],
)
def test_a_request_is_read_whole_and_answered(sent: bytes, seen: bytes, cut: Cut) -> None:
    with conversation(echo) as client:
        client.sends(*cut(sent))

        assert client.answer().status == 200
        assert client.answer().body == seen
        assert not client.is_closed


def test_a_cut_anywhere_changes_nothing() -> None:
    sent = b"\r\n" + request("/a", b"first") + request("/b", b"second")
    for pieces in every_cut_in_two(sent):
        with conversation(echo) as client:
            client.sends(*pieces)
            assert [answer.body for answer in client.answers()] == [b"POST /a first", b"POST /b second"]


def test_fields_are_seen_in_lower_case_and_without_outer_whitespace() -> None:
    with conversation(at_once) as client:
        client.sends(request("/", b"", "X-One:  a b ", "x-TWO:", "X-One: c"))

        (message,) = client.application.served
        assert message.fields == [(b"host", b"example.org"), (b"x-one", b"a b"), (b"x-two", b""), (b"x-one", b"c")]
        assert message.field(b"x-one") == b"a b"
        assert message.field(b"x-three") is None


@CUTS
@pytest.mark.parametrize("protocol", ["h2c", "websocket", "x, y"])
def test_an_upgrade_is_not_granted_and_the_body_stays(protocol: str, cut: Cut) -> None:
    with conversation(echo) as client:
        client.sends(*cut(request("/a", b"hello", "Connection: Upgrade", f"Upgrade: {protocol}") + request("/b")))

        assert [answer.body for answer in client.answers()] == [b"POST /a hello", b"GET /b "]


@CUTS
def test_trailers_do_not_pass_for_fields(cut: Cut) -> None:
    with conversation(echo) as client:
        head = b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        client.sends(*cut(head + b"1\r\na\r\n0\r\nX-Api-Key: secret\r\nContent-Length: 9\r\n\r\n"))

        assert client.answer().body == b"POST /a a"
        assert client.application.served[0].field(b"x-api-key") is None


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.0.2.7", 50000), "192.0.2.7"),
        (("2001:db8::1", 50000, 0, 0), "2001:db8::1"),
        (("fe80::1%eth0", 50000, 0, 2), "fe80::1"),
        (("::ffff:192.0.2.7", 50000, 0, 0), "192.0.2.7"),
        ("", ""),
        (None, ""),
    ],
)
def test_the_peer_is_known_by_its_address(peer: object, address: str) -> None:
    with conversation(at_once, peer=peer) as client:
        client.sends(request())
        assert client.application.served[0].peer == address


# -- order -------------------------------------------------------------------------------------------------------------


@CUTS
def test_pipelined_requests_are_answered_in_order(cut: Cut) -> None:
    with conversation(echo) as client:
        client.sends(*cut(request("/a") + request("/b", b"body") + request("/c")))

        assert [answer.body for answer in client.answers()] == [b"GET /a ", b"POST /b body", b"GET /c "]


def test_a_request_behind_a_slow_one_waits_unserved() -> None:
    held = Held()
    with conversation(held) as client:
        client.sends(request("/slow") + request("/next"))
        assert held.began == [b"/slow"]
        assert client.answers() == []

        held.lets_through(client)
        assert held.began == [b"/slow", b"/next"]
        assert [answer.body for answer in client.answers()] == [b"/slow"]

        held.lets_through(client)
        assert [answer.body for answer in client.answers()] == [b"/slow", b"/next"]


def test_more_requests_may_come_while_one_is_served() -> None:
    held = Held()
    with conversation(held) as client:
        client.sends(request("/a"))
        client.sends(request("/b"))
        client.sends(*byte_by_byte(request("/c")))

        held.lets_through(client, 3)

        assert [answer.body for answer in client.answers()] == [b"/a", b"/b", b"/c"]


@CUTS
def test_a_bad_request_behind_a_running_one_takes_nothing_from_its_answer(cut: Cut) -> None:
    held = Held()
    with conversation(held) as client:
        client.sends(request("/good"))
        client.sends(*cut(b"GET / HTTP/1.1\r\nHost: bad/host\r\n\r\n"))
        assert client.answers() == []
        assert not client.is_closed

        held.lets_through(client)

        assert client.statuses == [200, 400]
        assert client.is_closed


def test_nothing_behind_a_bad_request_is_read() -> None:
    with conversation(at_once) as client:
        client.sends(b"GET / HTTP/1.1\r\n\r\n" + request("/smuggled"))
        client.sends(request("/again"))

        assert client.application.served == []
        assert client.statuses == [400]


def test_a_slow_answer_in_parts_is_not_mixed_with_the_next() -> None:
    async def in_parts(message: Exchange) -> None:
        message.begin(200, [], None, message.target)
        message.write(b"!")
        message.end()

    with conversation(in_parts) as client:
        client.sends(request("/a") + request("/b"))
        assert [answer.body for answer in client.answers()] == [b"/a!", b"/b!"]


# -- staying connected -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "stays"),
    [
        (request(), True),
        (request("/", b"", "Connection: close"), False),
        (request("/", b"", "Connection: keep-alive"), True),
        (request(version="1.0"), False),
        (request("/", b"", "Connection: keep-alive", version="1.0"), True),
        (b"GET / HTTP/1.0\r\n\r\n", False),
    ],
)
def test_the_connection_stays_where_both_sides_want_it(sent: bytes, stays: bool) -> None:
    with conversation(at_once) as client:
        client.sends(sent)

        answer = client.answer()
        assert answer.status == 200
        assert client.is_closed is not stays
        assert (answer.field("connection") == "close") is not stays


def test_an_http_1_0_client_is_told_that_it_may_stay() -> None:
    with conversation(at_once) as client:
        client.sends(request("/", b"", "Connection: keep-alive", version="1.0"))
        assert client.answer().field("connection") == "keep-alive"


def test_nothing_behind_a_closing_request_is_served() -> None:
    with conversation(at_once) as client:
        client.sends(request("/last", b"", "Connection: close") + request("/more"))

        assert [answer.body for answer in client.answers()] == [b"/last"]
        assert len(client.application.served) == 1


# -- what is refused -----------------------------------------------------------------------------------------------


@CUTS
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 200-ok\r\n\r\n", 417),
        (b"CONNECT example.org:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        (b"GET /\r\n", 505),
        (b"GET /\r\nHo", 505),
        (b"\r\nGET /\r\n", 505),
    ],
)
def test_a_head_that_cannot_be_served_is_refused_and_the_connection_ends(sent: bytes, status: int, cut: Cut) -> None:
    with conversation(at_once) as client:
        client.sends(*cut(sent))

        answer = client.answer()
        assert answer.status == status
        assert answer.field("connection") == "close"
        assert client.is_closed
        assert client.application.served == []


@CUTS
def test_a_refused_head_request_gets_no_body(cut: Cut) -> None:
    with conversation(at_once) as client:
        client.sends(*cut(b"HEAD / HTTP/1.1\r\nHost: a/b\r\n\r\n"))

        answer = client.answer(heads={0})
        assert answer.status == 400
        assert answer.body == b""
        assert client.received.endswith(b"\r\n\r\n")


def test_connect_is_told_which_methods_are_served() -> None:
    with conversation(at_once) as client:
        client.sends(b"CONNECT example.org:443 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [refusal.fields for refusal in client.application.refused] == [((b"allow", b"GET, HEAD, POST"),)]


@CUTS
def test_a_body_that_breaks_its_framing_is_told_to_its_flow(cut: Cut) -> None:
    with conversation(echo) as client:
        client.sends(*cut(b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n"))

        assert client.answer().status == 400
        assert client.is_closed


def test_a_body_that_breaks_behind_a_slow_request_is_told_when_its_turn_comes() -> None:
    held = Held()

    async def first_slow(message: Exchange) -> None:
        await (held(message) if message.target == b"/slow" else echo(message))

    with conversation(first_slow) as client:
        client.sends(request("/slow"))
        client.sends(b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
        assert client.answers() == []

        held.lets_through(client)

        assert client.statuses == [200, 400]
        assert client.is_closed


# -- expectations ------------------------------------------------------------------------------------------------------


def test_a_client_that_waits_is_asked_when_its_body_is_wanted() -> None:
    with conversation(echo) as client:
        head, _, body = request("/a", b"hello", "Expect: 100-continue").partition(b"\r\n\r\n")
        client.sends(head + b"\r\n\r\n")
        assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"

        client.sends(body)

        assert client.statuses == [100, 200]


def test_a_client_that_waits_is_not_asked_for_a_body_that_nobody_reads() -> None:
    with conversation(at_once) as client:
        client.sends(b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")

        assert client.statuses == [200]
        assert client.is_closed


def test_a_client_that_waits_is_not_asked_for_a_body_that_is_too_large() -> None:
    with conversation(echo) as client:
        length = b"Content-Length: %d\r\n" % (BODY_CAP + 1)
        client.sends(b"POST /a HTTP/1.1\r\n" + HOST + length + b"Expect: 100-continue\r\n\r\n")

        assert client.statuses == [413]


def test_a_client_that_does_not_wait_is_not_asked() -> None:
    with conversation(echo) as client:
        client.sends(request("/a", b"hello", "Expect: 100-continue"))
        assert client.statuses == [200]


def test_an_http_1_0_client_is_not_asked() -> None:
    with conversation(echo) as client:
        head, _, body = request("/a", b"hello", "Expect: 100-continue", version="1.0").partition(b"\r\n\r\n")
        client.sends(head + b"\r\n\r\n")
        assert client.received == b""
        client.sends(body)
        assert client.statuses == [200]
