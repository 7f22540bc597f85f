"""What workers and the shadow process say to each other arrives as it was said, however it is cut."""

import struct
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.offer import MAX_MESSAGE_BYTES, Decoder, FrameError, Hello, Lost, Message, Offer, Route, encode
from tests.support.pieces import byte_by_byte, cut_at, cuts

text = st.text(max_size=20)
count = st.integers(0, 2**62)
hellos = st.builds(Hello, text, count, st.lists(st.tuples(text, text, count), max_size=3).map(tuple))
routes = st.builds(Route, count, text, text, text, st.lists(text, max_size=3).map(tuple))
losses = st.builds(Lost, count, st.none() | st.lists(text, max_size=3).map(tuple))
by_type = {int: count, str: text, bytes: st.binary(max_size=50)}
offers = st.builds(Offer, **{field.name: by_type[field.type] for field in msgspec.structs.fields(Offer)})
messages = st.one_of(hellos, routes, losses, offers)


def decoded(pieces: Sequence[bytes]) -> list[Message]:
    decoder = Decoder()
    return [message for piece in pieces for message in decoder.feed(piece)]


@given(sent=st.lists(messages, max_size=6), places=cuts())
def test_messages_arrive_as_they_were_sent(sent: list[Message], places: list[int]) -> None:
    wire = b"".join(map(encode, sent))
    assert decoded(cut_at(wire, places)) == sent
    assert decoded(byte_by_byte(wire)) == sent


@given(message=messages, cut=st.integers(1, 1000))
def test_an_unfinished_message_is_waited_for(message: Message, cut: int) -> None:
    wire = encode(message)
    decoder = Decoder()
    end = len(wire) - 1 - cut % (len(wire) - 1)
    assert decoder.feed(wire[:end]) == []
    assert decoder.feed(wire[end:]) == [message]


def test_an_empty_read_says_nothing() -> None:
    assert Decoder().feed(b"") == []


def test_a_length_that_cannot_be_is_refused_before_it_is_held() -> None:
    with pytest.raises(FrameError, match=str(MAX_MESSAGE_BYTES)):
        Decoder().feed(struct.pack(">I", MAX_MESSAGE_BYTES + 1))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode(["?", 1]),
        msgspec.msgpack.encode(["h", 1, 1, []]),
        msgspec.msgpack.encode(["r", 1]),
        msgspec.msgpack.encode({"worker": "w"}),
        encode(Route(1, "s", "m", "1", ()))[4:-1],
    ],
)
def test_content_that_is_no_message_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        Decoder().feed(struct.pack(">I", len(payload)) + payload)


@given(st.binary(max_size=60), cuts())
def test_no_bytes_do_more_than_be_refused(data: bytes, places: list[int]) -> None:
    with suppress(FrameError):
        decoded(cut_at(data, places))


def test_a_large_message_is_not_searched_again_with_every_read() -> None:
    offer = Offer(1, "", 0, 0, 0, "", "", "POST", "/", b"", b"x" * 1_000_000, 200, "", "", "", b"y" * 1_000_000)
    wire = encode(offer)
    assert decoded(cut_at(wire, range(0, len(wire), 1000))) == [offer]


@given(message=messages, at=st.integers(4, 400), byte=st.integers(0, 255))
def test_a_changed_byte_is_another_message_or_refused(message: Message, at: int, byte: int) -> None:
    wire = bytearray(encode(message))
    wire[min(at, len(wire) - 1)] = byte
    with suppress(FrameError):
        decoded([bytes(wire)])


def test_text_that_is_not_utf8_is_refused() -> None:
    payload = b"\x93\xa1l\x00\x91\xa2\x00\x80"
    with pytest.raises(FrameError):
        Decoder().feed(struct.pack(">I", len(payload)) + payload)
