"""Whatever a client sends: no exception escapes, every answer is valid HTTP, and no cut changes the verdict."""

import re
from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.http1.errors import BodyBroken, ClientGone
from gateway.http1.exchange import Exchange
from gateway.http1.limits import Limits
from tests.http1.conversation import conversation, request
from tests.support.pieces import byte_by_byte, cut_at, cuts

LIMITS = Limits(request_line_bytes=60, field_bytes=80, section_bytes=160, fields=6, buffer_bytes=50, pipelined=3)

# Words that requests are made of, right ones and wrong ones: shuffled, they reach deeper than random bytes.
WORDS = [
    b"GET ", b"POST ", b"HEAD ", b"OPTIONS ", b"CONNECT ", b"PRI ", b"/", b"*", b"/a?b", b"http://a/", b" ", b"\t",
    b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2.0", b" HTTP/0.9", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n\r\n",
    b"Host: a", b"Host: b", b"Host: a/b", b"Host:", b"Content-Length: 3", b"Content-Length: 0", b"Content-Length: 3x",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"Connection: close", b"Connection: Upgrade",
    b"Upgrade: h2c", b"Expect: 100-continue", b"X: y", b"X : y", b" folded", b": ", b"\x00", b"\xff", b"abc",
    b"0\r\n\r\n", b"3\r\nabc\r\n", b"3;a=b\r\nabc\r\n", b"x" * 70,
]  # fmt: skip
PLAIN = request("/a", b"abc")
CHUNKED = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


async def serve(message: Exchange) -> None:
    """Read the whole body and say what it was."""
    try:
        body = await message.read_body(100)
    except BodyBroken as broken:
        message.reply(broken.refusal.problem.status, [], b"")
    except ClientGone:
        return
    else:
        message.reply(200, [], message.target + b"|" + body)


Verdict = tuple[list[tuple[int, bytes]], bool]


def verdict(pieces: Sequence[bytes]) -> Verdict:
    """The final answers by status and body, and whether the connection has ended.

    What is wrong in two ways may be refused for either: of refusals only their being is compared.
    """
    with conversation(serve, limits=LIMITS) as client:
        client.sends(*pieces)
        if b"HEAD" in b"".join(pieces):
            # Which answers have a body depends on what was taken for a HEAD request: their statuses are certain.
            found = re.findall(rb"^HTTP/1.1 (\d{3}) ", client.received, re.MULTILINE)
            statuses = [int(status) for status in found if status >= b"200"]
            return [(min(status, 400), b"") for status in statuses], client.is_closed
        answers = [answer for answer in client.answers() if answer.status >= 200]
        assert all(answer.complete for answer in answers)
        return [
            (answer.status, answer.body) if answer.status < 400 else (400, b"") for answer in answers
        ], client.is_closed


def streams() -> st.SearchStrategy[bytes]:
    words = st.lists(st.sampled_from(WORDS), max_size=14).map(b"".join)
    good = st.sampled_from([PLAIN, CHUNKED, request("/g"), request("/h", method="HEAD"), request("/k", version="1.0")])
    return st.lists(st.one_of(words, good, st.binary(max_size=12)), max_size=5).map(b"".join)


@given(sent=streams(), places=cuts())
@example(sent=PLAIN + CHUNKED + PLAIN, places=[40])
@example(sent=b"GET /" + b"a" * 58 + b" HTTP/1.0\r\n\r\n", places=[3])
@example(sent=b"GET / HTTP/1.1\r\nHost:" + b" " * 300 + b"a\r\n\r\n", places=[3])
@example(sent=b"GET /\r\n", places=[5])
@example(sent=b"GET /3\r\nabc\r\n", places=[])
def test_no_cut_changes_the_verdict(sent: bytes, places: list[int]) -> None:
    whole = verdict([sent] if sent else [])
    assert verdict(cut_at(sent, places)) == whole
    assert verdict(byte_by_byte(sent)) == whole


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_no_bytes_are_too_strange(pieces: list[bytes]) -> None:
    verdict([piece for piece in pieces if piece])


@given(sent=streams(), end=st.integers(0, 200), reset=st.booleans())
def test_a_client_may_go_within_any_bytes(sent: bytes, end: int, reset: bool) -> None:
    with conversation(serve, limits=LIMITS) as client:
        client.sends(*cut_at(sent, [end])[:1])
        if reset:
            client.is_gone(ConnectionResetError())
        else:
            client.ends_sending()
        client.waits(100)
        assert client.connection.gone


@given(sent=streams(), seconds=st.lists(st.floats(0, 40), max_size=3), places=cuts())
def test_no_pause_is_too_strange(sent: bytes, seconds: list[float], places: list[int]) -> None:
    with conversation(serve, limits=LIMITS) as client:
        for piece, pause_s in zip(cut_at(sent, places), [*seconds, *[0.0] * 20], strict=False):
            client.sends(piece)
            client.waits(pause_s)
        client.waits(200)
        assert client.connection.gone
