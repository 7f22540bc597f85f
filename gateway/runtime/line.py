"""The line between the supervisor and one child: typed messages over a socket pair.

One message = 4 bytes of length (big-endian), then MessagePack. Messages arrive in the order they
were sent. The end of the line is itself a message: to the supervisor it says that the child is
gone, to the child that it must drain.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Final, Generic, TypeVar

import msgspec

from gateway.control.status import GatewayStatus

MAX_MESSAGE_BYTES: Final = 256 * 1024 * 1024
"""A configuration of 10 000 models is about 10 MB."""

HEARTBEAT_S: Final = 1.0
_LENGTH = struct.Struct(">I")


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The role serves."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The role cannot start, and `reason` is for the operator to mend; the process ends next."""

    reason: str


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat"):
    """The child's event loop turns; `facts` is what its role says about itself."""

    facts: dict[str, object]


class Applied(msgspec.Struct, frozen=True, tag="applied"):
    """The answer to a current `Apply` after the first; `error` is None if the role runs on it
    now.
    """

    config_id: str
    error: str | None


class StatusRequest(msgspec.Struct, frozen=True, tag="status?"):
    """Control asks how every process does; answered by `StatusReply`."""

    number: int


class ReloadRequest(msgspec.Struct, frozen=True, tag="reload?"):
    """Control has read and validated a configuration; answered by `ReloadResult`."""

    number: int
    config_id: str
    document: bytes


class Apply(msgspec.Struct, frozen=True, tag="apply"):
    """A configuration, as canonical JSON. Not `current`: a former one, to be remembered and not
    served.
    """

    config_id: str
    document: bytes
    current: bool = True


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Take nothing new, finish, flush, end."""


class ReloadNow(msgspec.Struct, frozen=True, tag="reload!"):
    """An operator has asked (SIGHUP) to read the file again."""


class StatusReply(msgspec.Struct, frozen=True, tag="status"):
    """The answer to the `StatusRequest` of that number."""

    number: int
    status: GatewayStatus


class ReloadResult(msgspec.Struct, frozen=True, tag="reloaded"):
    """The answer to the `ReloadRequest` of that number; no errors means that every process runs
    on it.
    """

    number: int
    errors: tuple[str, ...]


FromChild = Ready | Failed | Heartbeat | Applied | StatusRequest | ReloadRequest
ToChild = Apply | Drain | ReloadNow | StatusReply | ReloadResult

Received = TypeVar("Received")
_encoder = msgspec.msgpack.Encoder()


class LineError(Exception):
    """The other end sent what is no message."""


def encode(message: FromChild | ToChild) -> bytes:
    """The message with its length before it."""
    payload = _encoder.encode(message)
    return _LENGTH.pack(len(payload)) + payload


class Line(Generic[Received]):
    """One end of a line. `send` never waits: messages are few, and the other end is trusted to
    read them.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        decoder: msgspec.msgpack.Decoder[Received],
    ):
        self._reader = reader
        self._writer = writer
        self._decoder = decoder

    def send(self, message: FromChild | ToChild) -> None:
        """Send a message; it is dropped if the other end is gone, which `receive` reports."""
        if not self._writer.is_closing():
            self._writer.write(encode(message))

    async def receive(self) -> Received | None:
        """The next message; None at the end of the line. Raises LineError on what is no message."""
        try:
            head = await self._reader.readexactly(_LENGTH.size)
            (length,) = _LENGTH.unpack(head)
            if length > MAX_MESSAGE_BYTES:
                raise LineError(f"a message of {length} bytes")
            payload = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            return None
        try:
            return self._decoder.decode(payload)
        except msgspec.MsgspecError as error:
            raise LineError(str(error)) from error

    async def flush(self) -> None:
        """Wait until what was sent is with the kernel."""
        try:
            await self._writer.drain()
        except OSError:
            return

    def close(self) -> None:
        """End the line."""
        self._writer.close()


async def supervisor_end(end: socket.socket) -> Line[FromChild]:
    """The supervisor's end of a socket pair."""
    reader, writer = await asyncio.open_unix_connection(sock=end)
    return Line(reader, writer, msgspec.msgpack.Decoder(FromChild))


async def child_end(end: socket.socket) -> Line[ToChild]:
    """The child's end of a socket pair."""
    reader, writer = await asyncio.open_unix_connection(sock=end)
    return Line(reader, writer, msgspec.msgpack.Decoder(ToChild))
