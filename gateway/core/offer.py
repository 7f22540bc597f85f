"""What a worker tells the shadow process, and how it is framed on their Unix socket.

One message = 4 bytes of length (big-endian), then MessagePack. A worker opens with `Hello`, names each route once,
then sends offers that refer to the route by number, so that an offer carries no name twice.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
_LENGTH = struct.Struct(">I")


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="h"):
    """First message on a connection: who speaks, and how many requests it has handed over so far.

    `handed_over` lists (model, challenger, count) over all former connections of this worker and its predecessors of
    the same name. What the shadow process has not taken of it is lost, and is counted as `shadow_lost`. `connected_us`
    is the monotonic clock at the time, so that an older connection is known as such when it is heard late.
    """

    worker: str
    connected_us: int
    handed_over: tuple[tuple[str, str, int], ...]


class Route(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """A number for one model under one snapshot. `challengers` are those the worker counted as eligible."""

    number: int
    snapshot_id: str
    model: str
    champion: str
    challengers: tuple[str, ...]


class Lost(msgspec.Struct, frozen=True, array_like=True, tag="l"):
    """Sequences of a route's model that have lost a request since the last offer; None: it may have been any."""

    route: int
    sequences: tuple[str, ...] | None


class Offer(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """One request the champion has answered with 2xx, with its answer.

    `fields` is the header section as it was forwarded, in wire form without the empty line. Times in microseconds:
    `started_us` by the wall clock; `offered_us` by the monotonic clock, which all processes of a machine share and
    nobody sets; `champion_us` is what the champion took.
    """

    route: int
    request_id: str
    started_us: int
    offered_us: int
    champion_us: int
    tenant: str
    client: str
    method: str
    path: str
    fields: bytes
    body: bytes
    status: int
    content_type: str
    content_encoding: str
    head_length: str
    """`Inference-Header-Content-Length` of the answer, or empty."""
    answer: bytes


Message = Hello | Route | Lost | Offer

_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """The message with its length before it."""
    payload = _encoder.encode(message)
    return _LENGTH.pack(len(payload)) + payload


class FrameError(Exception):
    """The bytes are not a sequence of messages."""


class Decoder:
    """Gathers bytes and gives whole messages; holds at most one unfinished message."""

    __slots__ = ("_buffer", "_decoder")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._decoder = msgspec.msgpack.Decoder(Message)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that end within `data`. Raises FrameError on a length or content that cannot be."""
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        at = 0
        while len(buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, at)
            if length > MAX_MESSAGE_BYTES:
                raise FrameError(f"a message of {length} bytes; at most {MAX_MESSAGE_BYTES} are taken")
            end = at + _LENGTH.size + length
            if len(buffer) < end:
                break
            with memoryview(buffer) as view:
                try:
                    messages.append(self._decoder.decode(view[at + _LENGTH.size : end]))
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    raise FrameError(str(error)) from error
            at = end
        if at:
            del buffer[:at]
        return messages
