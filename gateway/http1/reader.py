"""Reads a client's bytes as messages: no sockets, no time, no serving; fed with bytes, it opens and queues exchanges.

    IDLE --first byte--> HEAD --empty line--> BODY --last byte--> IDLE      (DEAF: nothing more is read)

- How bytes are cut into segments changes nothing.
- llhttp reads heads only. Bodies are read here, so that an `Upgrade` which nobody grants cannot make a body vanish,
  trailers cannot pass for fields (RFC 9110 section 6.5.1), and no byte of a following message is looked at too early.
- A message that breaks HTTP in its head is never queued: its refusal is kept as `rejection`. One that breaks in its
  body is told so (`Exchange.broken`). Either way nothing more is read.
"""

from __future__ import annotations

from enum import Enum
from typing import NoReturn, Protocol

import httptools

from gateway.core.problems import Problem, Refusal
from gateway.http1.chunked import ChunkDecoder, ChunkError
from gateway.http1.exchange import Exchange
from gateway.http1.head import bad_request, inspect, origin_form
from gateway.http1.limits import Limits
from gateway.http1.repeated import Meaning, Repeated

_ALLOWED = ((b"allow", b"GET, HEAD, POST"),)
_METHODS = {method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")}


class Phase(Enum):
    """What the next byte from the client belongs to."""

    IDLE = "between messages"
    HEAD = "a head"
    BODY = "a body"
    DEAF = "nothing: no more is read"


# Looking a member up on its enum costs 45 ns in Python 3.11, a dozen times a request.
IDLE, HEAD, BODY, DEAF = Phase


class Receiver(Protocol):
    """Who gets the messages."""

    def open(self) -> Exchange:
        """A message begins: the exchange that will hold it."""

    def queue(self, exchange: Exchange) -> None:
        """The head of a message is whole and good; its body may still be coming."""


class _HeadRefused(Exception):
    """Leaves the parser from within a callback; the refusal is kept on the reader."""


class RequestReader:
    """The reading half of one connection. `incoming` is the message being read, or a placeholder between messages."""

    __slots__ = (
        "_chunks", "_fields", "_known_host", "_left", "_limits", "_none", "_parser", "_receiver", "_repeated", "_tail",
        "fed", "incoming", "phase", "rejected_method", "rejection",
    )  # fmt: skip

    def __init__(self, limits: Limits, receiver: Receiver, placeholder: Exchange):
        self._limits = limits
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        self._none = placeholder
        self._fields = placeholder.fields
        self._chunks: ChunkDecoder | None = None
        self._known_host: bytes | None = None
        self._left = 0
        self._repeated: Repeated[Meaning] = Repeated()
        self._tail = b""
        self.fed = 0
        """Bytes of the head being read so far."""
        self.incoming = placeholder
        self.phase = IDLE
        self.rejected_method = ""
        self.rejection: Refusal | None = None

    # -- what the connection asks ------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Read all of `data`."""
        if self.phase is IDLE and self._repeats(data):
            return
        while data and self.phase is not DEAF:
            data = self._read_body(data) if self.phase is BODY else self._read_head(data)
        if self.phase is HEAD and self.fed > self._limits.head_bytes:
            self.reject(Refusal(Problem.HEADER_TOO_LARGE, "the head is larger than allowed"))

    def reject(self, refusal: Refusal) -> None:
        """The message being read cannot be served; no later one will be read."""
        if self.phase is BODY:
            self.break_body(refusal)
        else:
            self.rejection = refusal
            self.rejected_method = self._parser.get_method().decode("ascii")
        self.incoming = self._none
        self.phase = DEAF

    def break_body(self, refusal: Refusal) -> None:
        exchange = self.incoming
        exchange.broken = refusal
        exchange.keep_alive = False
        self.phase = DEAF
        if exchange.flow is not None:
            exchange.flow.wake()

    def close(self) -> None:
        """Read no more."""
        self.phase = DEAF

    # -- parser events -----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """First byte of a message."""
        self.phase = HEAD
        exchange = self.incoming = self._receiver.open()
        self._fields = exchange.fields

    def on_url(self, url: bytes) -> None:
        """The request target, perhaps in parts."""
        exchange = self.incoming
        exchange.target = exchange.target + url if exchange.target else url
        if len(exchange.target) > self._limits.request_line_bytes:
            self._refuse_head(Refusal(Problem.URI_TOO_LONG, "the request target is too long"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field line; its sizes are looked at when the head is whole, or grows too large before that."""
        self._fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is whole: check it, and queue the exchange."""
        exchange = self.incoming
        parser = self._parser
        if len(exchange.fields) > self._limits.fields or self.fed > self._limits.field_bytes:
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
        self.phase = BODY
        self._receiver.queue(exchange)

    def _check_sizes(self, exchange: Exchange) -> None:
        limits = self._limits
        sizes = [len(name) + len(value) for name, value in exchange.fields]
        section = sum(sizes) + 4 * len(sizes)
        too_large = max(sizes, default=0) > limits.field_bytes or section > limits.section_bytes
        if too_large or len(sizes) > limits.fields or self.fed > limits.head_bytes:
            self._refuse_head(Refusal(Problem.HEADER_TOO_LARGE, "the header has too many or too large fields"))

    # -- reading -----------------------------------------------------------------------------------------------------

    def _repeats(self, data: bytes) -> bool:
        """Take a whole message whose head is the one before; False where it has to be read as any other."""
        found = self._repeated.find(data)
        if found is None or self._tail:
            return False
        meaning, length, start = found
        exchange = self._receiver.open()
        exchange.meaning = meaning
        exchange.method, exchange.target, exchange.host = meaning.method, meaning.target, meaning.host
        exchange.fields, exchange.nominated = meaning.fields, meaning.nominated
        exchange.keep_alive = True
        exchange.length = length
        exchange.received_body(data[start:])
        exchange.complete = True
        self._receiver.queue(exchange)
        return True

    def _keep_head(self, head: bytes) -> None:
        """Keep a head in case it comes again, if it is of the plain kind."""
        exchange = self.incoming
        plain = exchange.keep_alive and not exchange.expects_continue and exchange.version == "1.1"
        if not (plain and exchange.length):
            return
        meaning = exchange.meaning = Meaning(exchange.fields, exchange.nominated)
        meaning.method, meaning.target, meaning.host = exchange.method, exchange.target, exchange.host
        self._repeated.keep(head, meaning)

    def _read_head(self, data: bytes) -> bytes:
        """Feed the parser up to the end of the head at most; what follows is returned."""
        tail = self._tail
        continued = self.phase is HEAD
        seen = tail + data if tail else data
        end = seen.find(b"\r\n\r\n")
        cut = end + 4 - len(tail) if end >= 0 else len(data)
        self._tail = b"" if end >= 0 else seen[-3:]
        self.fed = self.fed + cut if continued else cut
        try:
            self._parser.feed_data(data[:cut])
            if end >= 0 and not continued and self._repeated.wanted and self.phase is BODY:
                self._keep_head(data[:cut])
        except httptools.HttpParserUpgrade:
            # The upgrade is not granted: the message goes on as any other (RFC 9110 section 7.8).
            pass
        except httptools.HttpParserError as error:
            self.reject(self.rejection or bad_request(str(error) or "the message is not valid HTTP/1.1"))
            return b""
        if self.phase is BODY:
            self._begin_body()
        elif end < 0 and self._is_http_09(data if continued else data.lstrip(b"\r\n")):
            self.reject(_version_refused("0.9"))
        return data[cut:]

    def _is_http_09(self, line: bytes) -> bool:
        """Whether the first line has ended without naming a version; nothing would follow such a line.

        Line ends before the first line are allowed (RFC 9112 section 2.2) and are not its end.
        """
        version = self._parser.get_http_version()
        if version == "0.9":
            # Said by the line, or by llhttp of a line without a version once the byte behind it is there.
            return True
        begun = self.incoming.target and not self._fields
        return bool(begun) and b"\n" in line and version == "0.0"

    def _begin_body(self) -> None:
        """The head is whole; a fresh parser reads the next one."""
        self._parser = httptools.HttpRequestParser(self)
        exchange = self.incoming
        if exchange.chunked:
            self._chunks = ChunkDecoder()
        elif exchange.length:
            self._chunks = None
            self._left = exchange.length
        else:
            self._message_complete()

    def _read_body(self, data: bytes) -> bytes:
        """Take what belongs to the body; what follows is returned."""
        exchange = self.incoming
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
            self.reject(bad_request(str(error)))
            return b""
        for piece in pieces:
            exchange.received_body(piece)
        exchange.announced = chunks.announced
        if chunks.complete:
            self._message_complete()
        return data[used:]

    def _message_complete(self) -> None:
        self.incoming.complete = True
        self.incoming = self._none
        self.phase = IDLE

    def _refuse_head(self, refusal: Refusal) -> NoReturn:
        self.rejection = refusal
        raise _HeadRefused


def _version_refused(version: str) -> Refusal:
    return Refusal(Problem.HTTP_VERSION, f"HTTP/{version} is not served")
