"""A call and its answer: what is passed on, what is refused, and when a connection may carry another call."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http1.client import BUFFER_BYTES, MAX_FIELDS, MAX_HEAD_BYTES, MAX_INTERIM
from gateway.http1.errors import UpstreamInvalid
from tests.http1.backend_side import LIMIT, REQUEST, BackendSide
from tests.support.pieces import byte_by_byte, cut_at, cuts, every_cut_in_two, whole

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"


def verdict_on(pieces: Sequence[bytes], *, closes: bool = False, head_only: bool = False) -> object:
    backend = BackendSide()
    call = backend.is_asked(head_only=head_only)
    backend.answers(*pieces)
    if closes:
        backend.closes()
    return call.verdict


# -- answers that are passed on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
@pytest.mark.parametrize(
    ("wire", "verdict", "reusable"),
    [
        (HELLO, (200, b"hello"), True),
        (OK + b"Content-Length: 0\r\n\r\n", (200, b""), True),
        (OK + b"content-length:5 \r\n\r\nhello", (200, b"hello"), True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", (200, b"hello"), True),
        (OK + b"transfer-encoding: Chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX: y\r\n\r\n", (200, b"hello"), True),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", (404, b"no"), True),
        (b"HTTP/1.1 500\r\nContent-Length: 2\r\n\r\nno", (500, b"no"), True),
        (b"HTTP/1.1 299 Whatever it is\r\nContent-Length: 0\r\n\r\n", (299, b""), True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b""), True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", (304, b""), True),
        (HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), (200, b"hello"), False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", (200, b"hello"), False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", (200, b"hello"), True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO, (200, b"hello"), True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * MAX_INTERIM + HELLO, (200, b"hello"), True),
    ],
)
def test_a_valid_answer_is_read(wire: bytes, verdict: tuple[int, bytes], reusable: bool, cut: object) -> None:
    assert callable(cut)
    backend = BackendSide()
    call = backend.is_asked()

    backend.answers(*cut(wire))

    assert call.verdict == verdict
    assert backend.connection.reusable is reusable
    assert backend.transport.written == REQUEST


def test_a_cut_anywhere_changes_nothing() -> None:
    wire = b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    for pieces in every_cut_in_two(wire):
        assert verdict_on(pieces) == (200, b"hello")


def test_an_answer_without_framing_ends_with_its_connection() -> None:
    backend = BackendSide()
    call = backend.is_asked()
    backend.answers(OK + b"\r\nhel", b"lo")
    assert call.verdict == "pending"

    backend.closes()

    assert call.verdict == (200, b"hello")
    assert not backend.connection.reusable


def test_the_answer_to_head_has_no_body_and_its_connection_ends() -> None:
    backend = BackendSide()
    call = backend.is_asked(head_only=True)

    backend.answers(OK + b"Content-Length: 5\r\n\r\n")

    assert call.verdict == (200, b"")
    assert call.answer is not None
    assert (call.answer.bodiless, call.answer.length) == (True, 5)
    assert not backend.connection.reusable


def test_a_body_that_follows_the_answer_to_head_goes_nowhere() -> None:
    backend = BackendSide()
    call = backend.is_asked(head_only=True)
    backend.answers(HELLO)
    assert call.verdict == (200, b"")
    assert not backend.connection.reusable


def test_fields_are_kept_in_order_and_trailers_are_not_among_them() -> None:
    backend = BackendSide()
    call = backend.is_asked()
    backend.answers(OK + b"X-B: 1\r\nx-a: \r\nX-B: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Late: 3\r\n\r\n")

    assert call.answer is not None
    assert call.answer.fields == [
        (b"x-b", b"1"),
        (b"x-a", b""),
        (b"x-b", b"2"),
        (b"transfer-encoding", b"chunked"),
    ]
    assert call.answer.field(b"x-b") == b"1"
    assert call.answer.field(b"x-late") is None


def test_fields_of_an_interim_answer_are_not_those_of_the_answer() -> None:
    backend = BackendSide()
    call = backend.is_asked()
    backend.answers(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", HELLO)
    assert call.answer is not None
    assert call.answer.field(b"link") is None


def test_what_the_answer_says_of_this_hop_and_of_its_date_is_noted() -> None:
    backend = BackendSide()
    call = backend.is_asked()
    backend.answers(OK + b"Connection: X-Inner\r\nConnection: x-too, close\r\nDate: now\r\nContent-Length: 0\r\n\r\n")
    assert call.answer is not None
    assert call.answer.nominated == {b"x-inner", b"x-too"}
    assert call.answer.dated


# -- answers that are not ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
@pytest.mark.parametrize(
    "wire",
    [
        b"\x16\x03\x01\x02\x00",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_INTERIM + 1) + HELLO,
        OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        OK + b"Content-Length: 5, 5\r\n\r\nhello",
        OK + b"Content-Length: +5\r\n\r\nhello",
        OK + b"Content-Length: -5\r\n\r\nhello",
        OK + b"Content-Length: \r\n\r\nhello",
        OK + b"Content-Length: 1234567890123456789\r\n\r\n",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
        OK + b"Transfer-Encoding: identity\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n",
        OK + b"X : y\r\nContent-Length: 0\r\n\r\n",
        OK + b"X: \x00\r\nContent-Length: 0\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"X: y\r\n folded\r\n\r\n",
        OK + b"x: y\r\n" * (MAX_FIELDS + 1) + b"Content-Length: 0\r\n\r\n",
    ],
)
def test_an_answer_that_is_not_strict_http_is_a_fault_of_the_backend(wire: bytes, cut: object) -> None:
    assert callable(cut)
    backend = BackendSide()
    call = backend.is_asked()

    backend.answers(*cut(wire))

    assert call.verdict == "UpstreamInvalid"
    assert backend.is_cut_off
    assert not backend.connection.reusable
    assert backend.losses == 1


def test_a_head_that_has_no_end_is_a_fault() -> None:
    backend = BackendSide()
    call = backend.is_asked()
    backend.answers(OK, *[b"x: " + b"y" * 1000 + b"\r\n"] * (MAX_HEAD_BYTES // 1000 + 1))
    assert call.verdict == "UpstreamInvalid"
    assert backend.is_cut_off


@pytest.mark.parametrize(
    ("wire", "fault"),
    [
        (b"", "UpstreamClosed"),
        (b"H", "UpstreamInvalid"),
        (HELLO[:-7], "UpstreamInvalid"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "UpstreamInvalid"),
        (HELLO[:-1], "UpstreamTruncated"),
        (OK + b"Content-Length: 5\r\n\r\n", "UpstreamTruncated"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", "UpstreamTruncated"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "UpstreamTruncated"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", "UpstreamTruncated"),
    ],
)
@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("cut", [whole, byte_by_byte])
def test_a_connection_that_ends_too_early(wire: bytes, fault: str, how: str, cut: object) -> None:
    assert callable(cut)
    backend = BackendSide()
    call = backend.is_asked()
    backend.answers(*cut(wire))

    getattr(backend, how)()

    assert call.verdict == fault
    assert call.fault is not None
    assert call.fault.untouched is (wire == b"")


def test_a_reset_is_no_end_of_an_answer_without_framing() -> None:
    backend = BackendSide()
    call = backend.is_asked()
    backend.answers(OK + b"\r\nhello")
    backend.resets()
    assert call.verdict == "UpstreamTruncated"


def test_an_answer_that_breaks_after_its_end_was_whole() -> None:
    for behind in (b"garbage", HELLO, b"\x00"):
        backend = BackendSide()
        call = backend.is_asked()
        backend.answers(HELLO + behind)
        assert call.verdict == (200, b"hello")
        assert backend.is_cut_off
        assert not backend.connection.reusable


def test_bytes_behind_an_answer_end_its_connection_whenever_they_come() -> None:
    for released in (False, True):
        backend = BackendSide()
        call = backend.is_asked()
        backend.answers(HELLO)
        if released:
            backend.connection.release()
        backend.answers(HELLO)
        assert call.verdict == (200, b"hello")
        assert backend.is_cut_off
        assert not backend.connection.reusable


def test_a_backend_that_speaks_first_is_cut_off() -> None:
    backend = BackendSide()
    backend.answers(HELLO)
    assert backend.is_cut_off


def test_an_answer_larger_than_wanted_is_given_up() -> None:
    for wire in (
        OK + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1),
        OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (LIMIT + 1) + b"a" * (LIMIT + 1),
    ):
        backend = BackendSide()
        call = backend.is_asked()
        backend.answers(*cut_at(wire, range(0, len(wire), BUFFER_BYTES // 2)))
        assert isinstance(call.fault, UpstreamInvalid)


def test_a_call_on_a_connection_that_has_just_been_lost_fails_at_once() -> None:
    backend = BackendSide()
    backend.resets()
    call = backend.is_asked()
    assert call.verdict == "UpstreamClosed"


# -- one call after another --------------------------------------------------------------------------------------------


def test_a_connection_carries_one_call_after_another() -> None:
    backend = BackendSide()
    for number in range(1, 4):
        call = backend.is_asked()
        backend.answers(HELLO)
        assert call.verdict == (200, b"hello")
        backend.connection.release()
        assert backend.connection.calls == number


def test_an_answer_to_half_a_request_is_the_last() -> None:
    backend = BackendSide()
    call = backend.is_asked(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n", whole=False)
    backend.answers(HELLO)
    assert call.verdict == (200, b"hello")
    assert not backend.connection.reusable


def test_a_request_may_be_sent_in_parts() -> None:
    backend = BackendSide()
    call = backend.is_asked(b"head", whole=False)
    backend.connection.send(b"body", last=False)
    backend.connection.send(b"", last=True)
    backend.answers(HELLO)

    assert call.verdict == (200, b"hello")
    assert backend.transport.written == b"headbody"
    assert backend.connection.reusable


def test_a_request_that_the_backend_has_not_read_is_not_whole() -> None:
    backend = BackendSide()
    call = backend.is_asked()
    backend.connection.pause_writing()
    backend.answers(HELLO)

    assert call.verdict == (200, b"hello")
    assert backend.connection.congested


def test_giving_up_a_call_ends_its_connection() -> None:
    backend = BackendSide()
    call = backend.is_asked()
    backend.connection.close()
    backend.transport.settle()
    assert backend.is_cut_off
    assert call.verdict == "pending"
    assert not backend.connection.reusable


def test_whoever_writes_waits_for_a_backend_that_reads_slowly() -> None:
    async def write() -> None:
        assert call.answer is not None
        await backend.connection.drained(call.answer)
        drained.append(True)

    from gateway.core.flow import Flow

    for ending in ("reads", "answers", "resets"):
        drained: list[bool] = []
        backend = BackendSide()
        call = backend.is_asked(whole=False)
        backend.connection.pause_writing()
        writer = Flow(write(), lambda error: None)
        writer.wake()
        assert drained == []

        if ending == "reads":
            backend.connection.resume_writing()
        elif ending == "answers":
            backend.answers(HELLO)
        else:
            backend.resets()
        writer.wake()

        assert drained == [True]


def test_an_answer_that_nobody_takes_is_read_up_to_a_bound() -> None:
    backend = BackendSide()
    answer = backend.connection.call(backend.is_asked().flow, REQUEST, whole=True)
    backend.answers(OK + b"Content-Length: 1000000\r\n\r\n")
    for _ in range(8):
        if backend.transport.reading:
            backend.answers(b"a" * 65536)
    assert not backend.transport.reading
    assert answer.buffered <= BUFFER_BYTES + 65536

    taken = answer.take()

    assert backend.transport.reading
    assert len(taken) == answer.received
    assert answer.take() == b""


# -- answers from memory -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "second",
    [
        HELLO,
        OK + b"Content-Length: 11\r\n\r\nhello again",
        OK + b"Content-Length: 0\r\n\r\n",
        HELLO + b"x",
        HELLO + HELLO,
        HELLO[:-1],
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello",
        HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        HELLO.replace(b"Content-Length", b"content-length"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO,
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"garbage",
    ],
)
@pytest.mark.parametrize("first", [HELLO, HELLO.replace(b"\r\n\r\n", b"\r\nConnection: X-In\r\nDate: now\r\n\r\n")])
@pytest.mark.parametrize("head_only", [False, True])
def test_an_answer_from_memory_is_the_answer_that_would_be_read(first: bytes, second: bytes, head_only: bool) -> None:
    seen = []
    for cut in (whole, byte_by_byte):
        backend = BackendSide()
        backend.is_asked()
        backend.answers(*cut(first))
        backend.connection.release()
        call = backend.is_asked(head_only=head_only)
        backend.answers(*cut(second))
        answer = call.answer
        assert answer is not None
        fields = [field for field in answer.fields if field[0] != b"content-length"] if answer.started else []
        facts = (answer.length, answer.dated, answer.nominated, answer.bodiless, fields) if answer.started else ()
        seen.append((call.verdict, backend.connection.reusable, facts))
    assert seen[0] == seen[1]


# -- any bytes ---------------------------------------------------------------------------------------------------------

WORDS = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No", b"HTTP/1.1 304 No", b"HTTP/1.1 100 C", b"HTTP/1.0 200 OK",
    b"HTTP/1.1 101 S", b"HTTP/2.0 200", b"\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"Content-Length: 3",
    b"Content-Length: 0", b"Content-Length: x", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip",
    b"Connection: close", b"Connection: upgrade", b"Upgrade: h2c", b"X: y", b"X : y", b" folded", b"abc",
    b"3\r\nabc\r\n", b"0\r\n\r\n", b"\x00",
]  # fmt: skip


def streams() -> st.SearchStrategy[bytes]:
    good = st.sampled_from([HELLO, OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", OK + b"\r\nabc"])
    words = st.lists(st.sampled_from(WORDS), max_size=10).map(b"".join)
    return st.lists(st.one_of(words, good, st.binary(max_size=10)), min_size=1, max_size=3).map(b"".join)


@given(wire=streams(), places=cuts(), closes=st.booleans(), head_only=st.booleans())
def test_no_cut_changes_the_verdict(wire: bytes, places: list[int], closes: bool, head_only: bool) -> None:
    at_once = verdict_on(whole(wire) if wire else [], closes=closes, head_only=head_only)
    assert verdict_on(cut_at(wire, places), closes=closes, head_only=head_only) == at_once
    assert verdict_on(byte_by_byte(wire), closes=closes, head_only=head_only) == at_once


@given(wires=st.lists(streams(), min_size=1, max_size=4), places=cuts())
def test_no_sequence_of_answers_escapes(wires: list[bytes], places: list[int]) -> None:
    backend = BackendSide()
    for wire in wires:
        call = backend.is_asked()
        backend.answers(*cut_at(wire, places))
        assert call.crash is None
        if not backend.connection.reusable or backend.is_cut_off:
            backend.closes()
            break
        backend.connection.release()
    assert backend.losses <= 1
