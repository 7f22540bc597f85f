"""The client's side: one connection, read as a sequence of messages, answered strictly in order.

Each connection reads in explicit phases, and holds a queue of exchanges of which only the first is being served:

    IDLE --first byte--> HEAD --empty line--> BODY --last byte--> IDLE      (DEAF: nothing more is read)

- A message that breaks HTTP in its head is never served: earlier ones are answered, then it gets its refusal, then
  the connection closes. One that breaks in its body is told to its flow, which answers if it can.
- How bytes are cut into segments changes nothing: serving starts when a head is complete and all that arrived with
  it has been read.
- llhttp reads heads only. Bodies are read here, so that an `Upgrade` which nobody grants cannot make a body vanish,
  trailers cannot pass for fields (RFC 9110 section 6.5.1), and no byte of a following message is looked at too early.
- A client that ends its sending side is taken for gone (RFC 9112 section 9.6 leaves the choice): it cannot be told
  from one that closed, and a gone client's call must not go on at the backend.
- An answer is written once; whatever fails after its first byte cuts the connection without a clean end.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from enum import Enum
from typing import Any, NoReturn, Protocol, cast

import httptools

from gateway.core.flow import Flow
from gateway.core.problems import Problem, Refusal
from gateway.http1.chunked import ChunkDecoder, ChunkError
from gateway.http1.deadlines import NEVER, Deadlines
from gateway.http1.exchange import Exchange
from gateway.http1.head import bad_request, inspect, origin_form
from gateway.http1.limits import Limits
from gateway.http1.repeated import Meaning, Repeated

_RECHECK_S = 1.0
_LINGER_BYTES = 1024 * 1024


_ALLOWED = ((b"allow", b"GET, HEAD, POST"),)
_METHODS = {method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")}


class Phase(Enum):
    """What the next byte from the client belongs to."""

    IDLE = "between messages"
    HEAD = "a head"
    BODY = "a body"
    DEAF = "nothing: no more is read"


# Looking a member up on its enum costs 45 ns in Python 3.11, a dozen times a request.
_IDLE, _HEAD, _BODY, _DEAF = Phase


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


class _HeadRefused(Exception):
    """Leaves the parser from within a callback; the refusal is kept on the connection."""


class ServerConnection(asyncio.Protocol):
    """One connection from a client."""

    __slots__ = (
        "_advancing",
        "_application",
        "_body_since",
        "_chunks",
        "_fed",
        "_fields",
        "_incoming",
        "_known_host",
        "_last_read",
        "_left",
        "_limits",
        "_none",
        "_parser",
        "_phase",
        "_phase_since",
        "_queue",
        "_rejected_method",
        "_rejection",
        "_repeated",
        "_tail",
        "_write_stalled_since",
        "_writing_paused",
        "deadline",
        "peer",
        "reading_paused",
        "transport",
    )  # fmt: skip

    def __init__(self, application: Application):
        self._application = application
        self._limits = application.limits
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Exchange] = deque()
        self._incoming = self._none = Exchange(self)
        self._fields = self._incoming.fields
        self._rejection: Refusal | None = None
        self._phase = _IDLE
        self._phase_since = 0.0
        self._body_since = 0.0
        self._last_read = 0.0
        self._fed = 0
        self._chunks: ChunkDecoder | None = None
        self._known_host: bytes | None = None
        self._left = 0
        self._rejected_method = ""
        self._repeated: Repeated[Meaning] = Repeated()
        self._tail = b""
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
        self._phase_since = time.monotonic()
        self.deadline = self._phase_since + self._limits.header_s
        self._application.connections.add(self)
        self._application.deadlines.watch(self)

    def data_received(self, data: bytes) -> None:
        """Read what there is, then serve whatever has become servable."""
        if self._phase is _IDLE and self._repeats(data):
            self._advance()
            if len(self._queue) > 1:
                self.regulate()
            return
        while data:
            if self._phase is _BODY:
                data = self._read_body(data)
            elif self._phase is _DEAF:
                self._discard(len(data))
                break
            else:
                data = self._read_head(data)
        if self._phase is not _IDLE:
            self._message_unfinished()
        self._advance()
        if len(self._queue) > 1:
            self.regulate()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone: the running flow hears of it, the waiting ones never start."""
        self._phase = _DEAF
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
        elif self._phase is _IDLE:
            self.deadline = self._phase_since + self._limits.keep_alive_s

    def shutdown(self) -> None:
        """The process drains: close when idle, else after the exchange that runs."""
        if not self._queue and self._phase is not _HEAD:
            self.transport.close()
        for exchange in self._queue:
            exchange.keep_alive = False

    # -- parser events ---------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """First byte of a message."""
        self._phase = _HEAD
        exchange = self._incoming = self._application.open(self)
        self._fields = exchange.fields
        self._phase_since = exchange.started

    def on_url(self, url: bytes) -> None:
        """The request target, perhaps in parts."""
        exchange = self._incoming
        exchange.target = exchange.target + url if exchange.target else url
        if len(exchange.target) > self._limits.request_line_bytes:
            self._refuse_head(Refusal(Problem.URI_TOO_LONG, "the request target is too long"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field line; its sizes are looked at when the head is whole, or grows too large before that."""
        self._fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is whole: check it, and queue the exchange."""
        exchange = self._incoming
        parser = self._parser
        if len(exchange.fields) > self._limits.fields or self._fed > self._limits.field_bytes:
            self._check_sizes(exchange)
        method = parser.get_method()
        exchange.method = _METHODS.get(method) or method.decode("ascii")
        version = parser.get_http_version()
        if version != "1.1":
            exchange.version = version
            if version != "1.0":
                self._refuse_head(_version_refused(version))
        if exchange.method == "CONNECT":
            self._refuse_head(Refusal(Problem.METHOD_NOT_ALLOWED, "CONNECT is not served", _ALLOWED))
        target = origin_form(exchange.method, exchange.target)
        if isinstance(target, Refusal):
            self._refuse_head(target)
        refusal = inspect(exchange, self._known_host)
        if refusal is not None:
            self._refuse_head(refusal)
        self._known_host = exchange.host or None
        exchange.target = target
        if self._application.draining:
            exchange.keep_alive = False
        self._phase = _BODY
        self._queue.append(exchange)

    def _check_sizes(self, exchange: Exchange) -> None:
        limits = self._limits
        sizes = [len(name) + len(value) for name, value in exchange.fields]
        section = sum(sizes) + 4 * len(sizes)
        too_large = max(sizes, default=0) > limits.field_bytes or section > limits.section_bytes
        if too_large or len(sizes) > limits.fields or self._fed > limits.head_bytes:
            self._refuse_head(Refusal(Problem.HEADER_TOO_LARGE, "the header has too many or too large fields"))

    # -- reading ---------------------------------------------------------------------------------------------------

    def _repeats(self, data: bytes) -> bool:
        """Take a whole message whose head is the one before; False where it has to be read as any other."""
        found = self._repeated.find(data)
        if found is None or self._tail:
            return False
        meaning, length, start = found
        exchange = self._application.open(self)
        exchange.meaning = meaning
        exchange.method, exchange.target, exchange.host = meaning.method, meaning.target, meaning.host
        exchange.fields, exchange.nominated = meaning.fields, meaning.nominated
        exchange.keep_alive = not self._application.draining
        exchange.length = length
        exchange.received_body(data[start:])
        exchange.complete = True
        self._queue.append(exchange)
        return True

    def _keep_head(self, head: bytes) -> None:
        """Keep a head in case it comes again, if it is of the plain kind."""
        exchange = self._incoming
        plain = exchange.keep_alive and not exchange.expects_continue and exchange.version == "1.1"
        if not (plain and exchange.length):
            return
        meaning = exchange.meaning = Meaning(exchange.fields, exchange.nominated)
        meaning.method, meaning.target, meaning.host = exchange.method, exchange.target, exchange.host
        self._repeated.keep(head, meaning)

    def _read_head(self, data: bytes) -> bytes:
        """Feed the parser up to the end of the head at most; what follows is returned."""
        tail = self._tail
        continued = self._phase is _HEAD
        seen = tail + data if tail else data
        end = seen.find(b"\r\n\r\n")
        cut = end + 4 - len(tail) if end >= 0 else len(data)
        self._tail = b"" if end >= 0 else seen[-3:]
        self._fed = self._fed + cut if continued else cut
        try:
            self._parser.feed_data(data[:cut])
            if end >= 0 and not continued and self._repeated.wanted and self._phase is _BODY:
                self._keep_head(data[:cut])
        except httptools.HttpParserUpgrade:
            # The upgrade is not granted: the message goes on as any other (RFC 9110 section 7.8).
            pass
        except httptools.HttpParserError as error:
            self._reject(self._rejection or bad_request(str(error) or "the message is not valid HTTP/1.1"))
            return b""
        if self._phase is _BODY:
            self._begin_body()
        elif end < 0 and self._is_http_09(data if continued else data.lstrip(b"\r\n")):
            self._reject(_version_refused("0.9"))
        return data[cut:]

    def _is_http_09(self, line: bytes) -> bool:
        """Whether the first line has ended without naming a version; nothing would follow such a line.

        Line ends before the first line are allowed (RFC 9112 section 2.2) and are not its end.
        """
        begun = self._incoming.target and not self._fields
        return bool(begun) and b"\n" in line and self._parser.get_http_version() == "0.0"

    def _begin_body(self) -> None:
        """The head is whole; a fresh parser reads the next one."""
        self._parser = httptools.HttpRequestParser(self)
        exchange = self._incoming
        if exchange.chunked:
            self._chunks = ChunkDecoder()
        elif exchange.length:
            self._chunks = None
            self._left = exchange.length
        else:
            self._message_complete()

    def _read_body(self, data: bytes) -> bytes:
        """Take what belongs to the body; what follows is returned."""
        exchange = self._incoming
        chunks = self._chunks
        if chunks is None:
            left = self._left
            if len(data) < left:
                self._left = left - len(data)
                exchange.received_body(data)
                return b""
            exchange.received_body(data[:left])
            self._message_complete()
            return data[left:]
        try:
            pieces, used = chunks.feed(data)
        except ChunkError as error:
            self._reject(bad_request(str(error)))
            return b""
        for piece in pieces:
            exchange.received_body(piece)
        exchange.announced = chunks.announced
        if chunks.complete:
            self._message_complete()
        return data[used:]

    def _message_complete(self) -> None:
        self._incoming.complete = True
        self._incoming = self._none
        self._phase = _IDLE

    def _refuse_head(self, refusal: Refusal) -> NoReturn:
        self._rejection = refusal
        raise _HeadRefused

    def _message_unfinished(self) -> None:
        """All that arrived has been read and a message is not whole: bound its size and its time."""
        now = self._last_read = time.monotonic()
        if self._phase is _HEAD:
            if self._fed > self._limits.head_bytes:
                self._reject(Refusal(Problem.HEADER_TOO_LARGE, "the head is larger than allowed"))
            self.deadline = min(self.deadline, self._phase_since + self._limits.header_s)
        elif self._phase is _BODY:
            if self._body_since < self._incoming.started:
                self._body_since = now
            self.deadline = min(self.deadline, now + _RECHECK_S)
            self.regulate()

    def _reject(self, refusal: Refusal) -> None:
        """The message being read cannot be served; no later one will be read."""
        if self._phase is _BODY:
            self._break_body(refusal)
        else:
            self._rejection = refusal
            self._rejected_method = self._parser.get_method().decode("ascii")
        self._incoming = self._none
        self._phase = _DEAF

    def _break_body(self, refusal: Refusal) -> None:
        exchange = self._incoming
        exchange.broken = refusal
        exchange.keep_alive = False
        self._phase = _DEAF
        if exchange.flow is not None:
            exchange.flow.wake()

    def regulate(self) -> None:
        """Read on, or stop reading while too much is waiting to be used."""
        too_much = len(self._queue) > self._limits.pipelined or (self._incoming.buffered > self._limits.buffer_bytes)
        if too_much is not self.reading_paused and self._phase is not _DEAF:
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
            self.abort()
        elif not exchange.keep_alive:
            self._queue.clear()
            self._rejection = None
            self._close(unread=not exchange.complete)
        if not self._advancing:
            self._advance()

    def _rest(self) -> None:
        """Nothing is being served: refuse what could not be, or wait for the next message."""
        if self._rejection is not None and not self.transport.is_closing():
            refusal, self._rejection = self._rejection, None
            status, lines, body = self._application.refuse(refusal)
            last = Exchange(self)
            last.method = self._rejected_method
            last.reply(status, lines, body)
            self._close(unread=True)
        elif self._phase is _IDLE:
            self._phase_since = now = time.monotonic()
            self.deadline = now + self._limits.keep_alive_s
            if self._writing_paused:
                self.deadline = min(self.deadline, self._write_stalled_since + self._limits.write_stall_s)
        elif self._phase is _HEAD:
            self.deadline = self._phase_since + self._limits.header_s

    def _close(self, unread: bool) -> None:
        """Close after the last answer; a client that is still sending gets to read it first (RFC 9112 section 9.6)."""
        self._phase = _DEAF
        self._fed = 0
        if unread and self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
            self._phase_since = time.monotonic()
            self.deadline = self._phase_since + self._limits.linger_s
            if self.reading_paused:
                self.reading_paused = False
                self.transport.resume_reading()
        else:
            self.deadline = time.monotonic() + self._limits.write_stall_s
            self.transport.close()

    def _discard(self, size: int) -> None:
        self._fed += size
        if self._fed > _LINGER_BYTES and not self._queue:
            self.abort()

    def abort(self) -> None:
        """Cut the connection without a clean end."""
        self._phase = _DEAF
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
        elif self._phase is _HEAD:
            if now - self._phase_since >= limits.header_s:
                self._reject(Refusal(Problem.REQUEST_TIMEOUT, "the head arrived too slowly"))
                self._advance()
        elif self._phase is _BODY:
            self._check_body_pace(now)
        elif exchange is None and self._phase is _IDLE:
            self.transport.close()
        elif exchange is None and (
            not self.transport.get_write_buffer_size() or now - self._phase_since >= limits.write_stall_s
        ):
            # Lingering is over, but not before the last answer is out.
            self.transport.abort()
        if exchange is not None and exchange.deadline < self.deadline:
            self.deadline = exchange.deadline
        elif self._phase is _HEAD:
            self.deadline = min(self.deadline, self._phase_since + limits.header_s)

    def _check_body_pace(self, now: float) -> None:
        """A body must keep coming, and not at a crawl; time in which we do not read is not held against it."""
        if self.reading_paused:
            self._last_read = now
            self._body_since = now
            return
        exchange = self._incoming
        took = now - self._body_since
        slow = took >= self._limits.body_idle_s and exchange.received < took * self._limits.body_bytes_per_s
        if slow or now - self._last_read >= self._limits.body_idle_s:
            self._break_body(Refusal(Problem.REQUEST_TIMEOUT, "the body arrived too slowly"))

    # -- what exchanges ask of their connection ----------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """Whether the client reads slower than we write."""
        return self._writing_paused

    @property
    def gone(self) -> bool:
        """Whether writing is pointless."""
        return self.transport.is_closing()


def _version_refused(version: str) -> Refusal:
    return Refusal(Problem.HTTP_VERSION, f"HTTP/{version} is not served")


def _plain(address: str) -> str:
    """An address as the socket gives it, without zone, and an IPv4 one as itself (`::ffff:192.0.2.1`)."""
    return address.partition("%")[0].removeprefix("::ffff:") if ":" in address else address
