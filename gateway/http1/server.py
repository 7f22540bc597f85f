"""The client's side: one connection, whose messages are answered strictly in order.

A reader makes messages of the bytes (`http1.reader`); the connection holds them in a queue of which only the first is
being served, and keeps the deadlines.

- Serving starts when a head is complete and all that arrived with it has been read.
- A message that breaks HTTP in its head is never served: earlier ones are answered, then it gets its refusal, then
  the connection closes. One that breaks in its body is told to its flow, which answers if it can.
- A client that ends its sending side is taken for gone (RFC 9112 section 9.6 leaves the choice): it cannot be told
  from one that closed, and a gone client's call must not go on at the backend.
- An answer is written once; whatever fails after its first byte cuts the connection without a clean end.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol, cast

from gateway.core.flow import Flow
from gateway.core.problems import Problem, Refusal
from gateway.http1.deadlines import NEVER, Deadlines
from gateway.http1.exchange import Exchange
from gateway.http1.limits import Limits
from gateway.http1.reader import BODY, DEAF, HEAD, IDLE, RequestReader

_RECHECK_S = 1.0
_LINGER_BYTES = 1024 * 1024
_RESET = struct.pack("ii", 1, 0)
"""Linger for no time: closing sends RST instead of FIN."""


class Application(Protocol):
    """What a server does with messages. `connections` is the set that a shutdown walks through."""

    limits: Limits
    deadlines: Deadlines
    connections: set[Any]
    draining: bool

    def open(self, connection: ServerConnection) -> Exchange:
        """A new exchange, of the application's own kind."""

    def serve(self, exchange: Any) -> Coroutine[Any, Any, None]:
        """The life of one request; must answer on the exchange before it returns."""

    def refuse(self, refusal: Refusal) -> tuple[int, list[bytes], bytes]:
        """Status, field lines and body for a message refused on the wire; counts and logs it."""

    def crashed(self, exchange: Any, error: Exception) -> None:
        """`serve` raised; the client gets a 500 or a cut connection. Must log it."""


class ServerConnection(asyncio.Protocol):
    """One connection from a client."""

    __slots__ = (
        "_advancing", "_application", "_body_since", "_discarded", "_last_read", "_limits", "_queue", "_reader",
        "_resting_since", "_write_stalled_since", "_writing_paused", "deadline", "peer", "reading_paused", "transport",
    )  # fmt: skip

    def __init__(self, application: Application):
        self._application = application
        self._limits = application.limits
        self._reader = RequestReader(application.limits, self, Exchange(self))
        self._queue: deque[Exchange] = deque()
        self._resting_since = 0.0
        self._body_since = 0.0
        self._last_read = 0.0
        self._discarded = 0
        self._advancing = False
        self.reading_paused = False
        self._writing_paused = False
        self._write_stalled_since = NEVER
        self.deadline = NEVER
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.peer: str = ""

    # -- transport events ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected; its first byte is due within the header deadline."""
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.peer = _plain(peer[0]) if isinstance(peer, tuple) else ""
        self._resting_since = time.monotonic()
        self.deadline = self._resting_since + self._limits.header_s
        self._application.connections.add(self)
        self._application.deadlines.watch(self)

    def data_received(self, data: bytes) -> None:
        """Read what there is, then serve whatever has become servable."""
        reader = self._reader
        if reader.phase is DEAF:
            self._discard(len(data))
            return
        reader.feed(data)
        if reader.phase is not IDLE:
            self._message_unfinished()
        self._advance()
        if len(self._queue) > 1:
            self.regulate()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone: the running flow hears of it, the waiting ones never start."""
        self._reader.close()
        self.deadline = NEVER
        self._application.connections.discard(self)
        self._application.deadlines.unwatch(self)
        running = self._queue[0] if self._queue else None
        while len(self._queue) > 1:
            self._queue.pop()
        if running is not None:
            running.lost()

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self._writing_paused = True
        self._write_stalled_since = time.monotonic()
        self.deadline = min(self.deadline, self._write_stalled_since + self._limits.write_stall_s)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._writing_paused = False
        self._write_stalled_since = NEVER
        if self._queue and self._queue[0].flow is not None:
            self._queue[0].flow.wake()
        elif self._reader.phase is IDLE:
            self.deadline = self._resting_since + self._limits.keep_alive_s

    def shutdown(self) -> None:
        """The process drains: close when idle, else after the exchange that runs."""
        if not self._queue and self._reader.phase is not HEAD:
            self.transport.close()
        for exchange in self._queue:
            exchange.keep_alive = False

    # -- reading ---------------------------------------------------------------------------------------------------

    def open(self) -> Exchange:
        """A message begins."""
        return self._application.open(self)

    def queue(self, exchange: Exchange) -> None:
        """A message may be served as soon as those before it are."""
        if self._application.draining:
            exchange.keep_alive = False
        self._queue.append(exchange)

    def _message_unfinished(self) -> None:
        """All that arrived has been read and a message is not whole: bound its time."""
        now = self._last_read = time.monotonic()
        reader = self._reader
        if reader.phase is HEAD:
            self.deadline = min(self.deadline, reader.incoming.started + self._limits.header_s)
        elif reader.phase is BODY:
            if self._body_since < reader.incoming.started:
                self._body_since = now
            self.deadline = min(self.deadline, now + _RECHECK_S)
            self.regulate()

    def regulate(self) -> None:
        """Read on, or stop reading while too much is waiting to be used."""
        too_much = len(self._queue) > self._limits.pipelined or (
            self._reader.incoming.buffered > self._limits.buffer_bytes
        )
        if too_much is not self.reading_paused and self._reader.phase is not DEAF:
            self.reading_paused = too_much
            if too_much:
                self.transport.pause_reading()
            else:
                self._last_read = time.monotonic()
                self.transport.resume_reading()

    # -- serving ---------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Serve the exchange at the head of the queue, and those behind it as each is done."""
        if self._advancing:
            return
        self._advancing = True
        while self._queue:
            exchange = self._queue[0]
            flow = exchange.flow
            if flow is None:
                flow = exchange.flow = Flow(self._application.serve(exchange), self._served)
            flow.wake()
            if not flow.done:
                break
        else:
            self._rest()
        self._advancing = False

    def _served(self, error: Exception | None) -> None:
        """The flow of the first exchange has ended."""
        exchange = self._queue.popleft()
        if self.reading_paused:
            self.regulate()
        if error is not None:
            self._application.crashed(exchange, error)
            if not exchange.answered:
                status, lines, body = self._application.refuse(Refusal(Problem.INTERNAL, "the gateway failed"))
                exchange.keep_alive = False
                exchange.reply(status, lines, body)
        if not exchange.finished:
            self._queue.clear()
            self.cut()
        elif not exchange.keep_alive:
            self._queue.clear()
            self._reader.rejection = None
            self._close(unread=not exchange.complete)
        if not self._advancing:
            self._advance()

    def _rest(self) -> None:
        """Nothing is being served: refuse what could not be, or wait for the next message."""
        if self._reader.rejection is not None and not self.transport.is_closing():
            refusal, self._reader.rejection = self._reader.rejection, None
            status, lines, body = self._application.refuse(refusal)
            last = Exchange(self)
            last.method = self._reader.rejected_method
            last.reply(status, lines, body)
            self._close(unread=True)
        elif self._reader.phase is IDLE:
            self._resting_since = now = time.monotonic()
            self.deadline = now + self._limits.keep_alive_s
            if self._writing_paused:
                self.deadline = min(self.deadline, self._write_stalled_since + self._limits.write_stall_s)
        elif self._reader.phase is HEAD:
            self.deadline = self._reader.incoming.started + self._limits.header_s

    def _close(self, unread: bool) -> None:
        """Close after the last answer; a client that is still sending gets to read it first (RFC 9112 section 9.6)."""
        self._reader.close()
        self._discarded = 0
        if unread and self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
            self._resting_since = time.monotonic()
            self.deadline = self._resting_since + self._limits.linger_s
            if self.reading_paused:
                self.reading_paused = False
                self.transport.resume_reading()
        else:
            self.deadline = time.monotonic() + self._limits.write_stall_s
            self.transport.close()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > _LINGER_BYTES and not self._queue:
            self.abort()

    def cut(self) -> None:
        """End the connection so that the client sees that its answer is not whole: by a reset, because a body may
        have nothing but the end of its connection to say where it ends.
        """
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.transport.is_closing():
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.abort()

    def abort(self) -> None:
        """End the connection at once."""
        self._reader.close()
        self.transport.abort()

    # -- deadlines -------------------------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Some deadline may have passed: act on it, and look again at the next."""
        limits = self._limits
        self.deadline = now + _RECHECK_S
        exchange = self._queue[0] if self._queue else None
        if now - self._write_stalled_since >= limits.write_stall_s:
            self.transport.abort()
        elif exchange is not None and exchange.flow is not None and exchange.deadline <= now:
            exchange.expired()
        elif self._reader.phase is HEAD:
            if now - self._reader.incoming.started >= limits.header_s:
                self._reader.reject(Refusal(Problem.REQUEST_TIMEOUT, "the head arrived too slowly"))
                self._advance()
        elif self._reader.phase is BODY:
            self._check_body_pace(now)
        elif exchange is None and self._reader.phase is IDLE:
            self.transport.close()
        elif exchange is None and (
            not self.transport.get_write_buffer_size() or now - self._resting_since >= limits.write_stall_s
        ):
            # Lingering is over, but not before the last answer is out.
            self.transport.abort()
        if exchange is not None and exchange.deadline < self.deadline:
            self.deadline = exchange.deadline
        elif self._reader.phase is HEAD:
            self.deadline = min(self.deadline, self._reader.incoming.started + limits.header_s)

    def _check_body_pace(self, now: float) -> None:
        """A body must keep coming, and not at a crawl; time in which we do not read is not held against it."""
        if self.reading_paused:
            self._last_read = now
            self._body_since = now
            return
        exchange = self._reader.incoming
        took = now - self._body_since
        slow = took >= self._limits.body_idle_s and exchange.received < took * self._limits.body_bytes_per_s
        if slow or now - self._last_read >= self._limits.body_idle_s:
            self._reader.break_body(Refusal(Problem.REQUEST_TIMEOUT, "the body arrived too slowly"))

    # -- what exchanges ask of their connection ----------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """Whether the client reads slower than we write."""
        return self._writing_paused

    @property
    def gone(self) -> bool:
        """Whether writing is pointless."""
        return self.transport.is_closing()


def _plain(address: str) -> str:
    """An address as the socket gives it, without zone, and an IPv4 one as itself (`::ffff:192.0.2.1`)."""
    return address.partition("%")[0].removeprefix("::ffff:") if ":" in address else address
