"""A transport without a socket: what a protocol writes is kept, and the test is the other end.

It behaves as an event loop's does in what protocols can tell: `close` writes what is left and is followed by
`connection_lost`, which the test delivers with `settle`; nothing is written after it.
"""

import asyncio
from typing import Any


class FakeTransport(asyncio.Transport):
    """The other end of a connection, in the hands of a test."""

    def __init__(self, protocol: asyncio.Protocol, peer: object = ("192.0.2.7", 50000)):
        super().__init__({"peername": peer})
        self._protocol = protocol
        self._lost = False
        self.written = bytearray()
        self.too_late = bytearray()
        """Written after the end, which a real transport drops."""
        self.unsent = 0
        """What `get_write_buffer_size` says."""
        self.reading = True
        self.eof_written = False
        self.closed = False
        self.aborted = False

    # -- what the protocol does --

    def write(self, data: Any) -> None:
        place = self.too_late if self.is_closing() or self.eof_written else self.written
        place += data

    def write_eof(self) -> None:
        self.eof_written = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        assert self.reading, "reading is paused already"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading, "reading is not paused"
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = (high, low)

    # -- what the test does --

    @property
    def ended(self) -> bool:
        """Whether this side has ended the connection, or its own half of it."""
        return self.is_closing() or self.eof_written

    def settle(self) -> None:
        """What the event loop does after a close: tell the protocol that the connection is lost, once."""
        if self.is_closing():
            self.lose()

    def lose(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        self.closed = True
        if not self._lost:
            self._lost = True
            self._protocol.connection_lost(error)

    def taken(self) -> bytes:
        """What was written since this was last asked."""
        data = bytes(self.written)
        self.written.clear()
        return data
