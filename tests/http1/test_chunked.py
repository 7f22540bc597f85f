"""A chunked body is read strictly, and the same however it is cut."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http1.chunked import MAX_LINE_BYTES, OVERHEAD_BYTES, ChunkDecoder, ChunkError
from tests.support.pieces import byte_by_byte, cut_at, cuts, every_cut_in_two, whole


def decoded(pieces: Sequence[bytes]) -> tuple[bytes, bytes, bool]:
    """The body, what was left over behind it, and whether it was whole."""
    decoder, body, rest = ChunkDecoder(), b"", b""
    for piece in pieces:
        if decoder.complete:
            rest += piece
            continue
        parts, used = decoder.feed(piece)
        body += b"".join(parts)
        rest += piece[used:]
    return body, rest, decoder.complete


def refused(pieces: Sequence[bytes]) -> bool:
    try:
        decoded(pieces)
    except ChunkError:
        return True
    return False


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"0000000000000005\r\nhello\r\n000\r\n\r\n", b"hello"),
        (b"5;name\r\nhello\r\n0;last\r\n\r\n", b"hello"),
        (b"5;name=value\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b'5;name="a \\" ;b"\r\nhello\r\n0\r\n\r\n', b"hello"),
        (b"5 ; name = value ; other\t\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5\r\nhello\r\n0\r\nDigest: abc\r\nX-Empty:\r\n\r\n", b"hello"),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
    ],
)
@pytest.mark.parametrize("cut", [whole, byte_by_byte])
def test_a_valid_body_is_read_without_its_framing(wire: bytes, body: bytes, cut: object) -> None:
    assert callable(cut)
    assert decoded(cut(wire)) == (body, b"", True)


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-1\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\n",
        b"g\r\n",
        b"00000000000000005\r\nhello\r\n0\r\n\r\n",
        b"8000000000000000\r\n",
        b"ffffffffffffffff\r\n",
        b"5\nhello\n0\n\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r0\r\n\r\n",
        b"5;\r\nhello\r\n0\r\n\r\n",
        b"5;a b\r\nhello\r\n0\r\n\r\n",
        b'5;a="b\r\nhello\r\n0\r\n\r\n',
        b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
        b"5;a\n\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nno colon\r\n\r\n",
        b"5\r\nhello\r\n0\r\nspace : x\r\n\r\n",
        b"5\r\nhello\r\n0\r\na: b\n\r\n",
        b"5\r\nhello\r\n0\r\n folded\r\n\r\n",
        b"5\r\nhello\r\n0\r\na: \x00\r\n\r\n",
        b"0\r\n\n",
    ],
)
@pytest.mark.parametrize("cut", [whole, byte_by_byte])
def test_anything_else_is_refused(wire: bytes, cut: object) -> None:
    assert callable(cut)
    assert refused(cut(wire))


def test_what_cannot_become_right_is_refused_before_its_line_ends() -> None:
    assert refused([b"g"])
    assert refused([b"12345678901234567"])
    assert refused([b"1\r\nab"])


def test_the_bytes_behind_a_body_are_not_taken() -> None:
    assert decoded([b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n"]) == (b"a", b"GET / HTTP/1.1\r\n", True)


def test_a_body_is_not_whole_before_its_last_empty_line() -> None:
    wire = b"1\r\na\r\n0\r\nx: y\r\n\r\n"
    for end in range(len(wire)):
        assert decoded(byte_by_byte(wire[:end]))[2] is False


def test_a_chunk_announces_its_size_before_its_data() -> None:
    decoder = ChunkDecoder()

    decoder.feed(b"fffff\r\nab")

    assert decoder.announced == 0xFFFFF


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
def test_a_line_that_has_no_end_is_refused(cut: object) -> None:
    assert callable(cut)
    assert refused(cut(b"1;" + b"a" * MAX_LINE_BYTES))
    assert refused(cut(b"0\r\nx: " + b"a" * MAX_LINE_BYTES))


def test_trailers_are_bounded_together() -> None:
    line = b"x: " + b"a" * 1000 + b"\r\n"
    assert refused([b"0\r\n", *([line] * (OVERHEAD_BYTES // len(line) + 1))])


def test_one_byte_chunks_are_bounded_by_their_extensions() -> None:
    plain, padded = b"1\r\na\r\n", b"1;" + b"e" * 100 + b"\r\na\r\n"
    assert not refused([plain] * 10_000 + [b"0\r\n\r\n"])
    assert refused([padded] * 10_000)


def test_a_cut_anywhere_changes_nothing() -> None:
    wire = b'5;a="b"\r\nhello\r\n1\r\n!\r\n0\r\nDigest: x\r\n\r\n'
    for pieces in every_cut_in_two(wire):
        assert decoded(pieces) == (b"hello!", b"", True)


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=60), max_size=6),
    places=cuts(),
    behind=st.binary(max_size=20),
)
def test_every_body_comes_back_as_it_was_sent(chunks: list[bytes], places: Sequence[int], behind: bytes) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"

    assert decoded(cut_at(wire + behind, places)) == (b"".join(chunks), behind, True)


@given(data=st.text('0123abf \t\r\n;="x:\\', max_size=60).map(str.encode), places=cuts())
def test_the_verdict_does_not_depend_on_the_cuts(data: bytes, places: Sequence[int]) -> None:
    assert refused(byte_by_byte(data)) == refused(cut_at(data, places)) == refused(whole(data))
