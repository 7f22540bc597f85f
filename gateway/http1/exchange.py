"""One message of a client and the answer to it, as the code that serves it sees them.

The reading half fills as bytes arrive; `gather`, `more` and `read_body` wait for them. The writing half frames the
answer (RFC 9112 section 6): by length where it is known, in chunks for HTTP/1.1, by closing for HTTP/1.0. A HEAD
request, 204 and 304 get no body, whatever is written.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from gateway.core.flow import Flow, pause
from gateway.core.problems import Problem, Refusal
from gateway.http1.deadlines import NEVER
from gateway.http1.errors import BodyBroken, ClientGone, DeadlineExceeded
from gateway.http1.head import NOTHING_NOMINATED, Fields
from gateway.http1.repeated import Meaning

if TYPE_CHECKING:
    from gateway.http1.server import ServerConnection

_STATUS_LINES = {
    status: b"HTTP/1.1 %d %b\r\n"
    % (status, HTTPStatus(status).phrase.encode() if status in set(HTTPStatus) else b"Status")
    for status in range(100, 600)
}
_CLOSE = b"connection: close\r\n"
_KEEP_ALIVE = b"connection: keep-alive\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Exchange:
    """A request and its answer. `started` is monotonic seconds; `target` is path and query as sent."""

    __slots__ = (
        "_body", "_chunked", "_chunks", "_connection", "_continued", "_hollow", "announced", "answered", "broken",
        "buffered", "chunked", "complete", "deadline", "expects_continue", "fields", "finished", "flow", "host",
        "keep_alive", "length", "meaning", "method", "nominated", "received", "sent", "started", "target", "version",
    )  # fmt: skip

    def __init__(self, connection: ServerConnection):
        self._body = b""
        self._chunks: list[bytes] | None = None
        self._connection = connection
        self._chunked = self._continued = self._hollow = False
        self.answered = self.chunked = self.complete = self.expects_continue = False
        self.finished = self.keep_alive = False
        self.broken: Refusal | None = None
        self.announced = self.buffered = self.received = self.sent = 0
        self.deadline = NEVER
        self.fields: Fields = []
        self.flow: Flow | None = None
        self.host = self.target = b""
        self.length: int | None = None
        self.meaning: Meaning | None = None
        """What the head means, where it is one that may come again."""
        self.method = ""
        self.nominated = NOTHING_NOMINATED
        self.started = time.monotonic()
        self.version = "1.1"

    @property
    def peer(self) -> str:
        """The address of the connection's other end."""
        return self._connection.peer

    @property
    def body(self) -> bytes:
        """The body as far as it has arrived; it stays to be taken."""
        if self._chunks is not None:
            self._body, self._chunks = b"".join(self._chunks), None
        return self._body

    def field(self, name: bytes) -> bytes | None:
        """The first value of a field, by its lower-case name."""
        for known, value in self.fields:
            if known == name:
                return value
        return None

    def expect_by(self, deadline: float) -> None:
        """Give the exchange until `deadline` (monotonic seconds); then DeadlineExceeded is raised in its flow."""
        self.deadline = deadline
        connection = self._connection
        if connection.deadline > deadline or self.complete:
            connection.deadline = deadline

    # -- reading ---------------------------------------------------------------------------------------------------

    async def gather(self, limit: int, buffer: int) -> bool:
        """Wait until the whole body is here (True), or more of it than `buffer` bytes or than is read ahead.

        Raises BodyBroken when the body is larger than `limit` bytes or breaks its framing.
        """
        self.check_size(limit)
        while not self.complete:
            # A connection keeps the limits it was made with, and may read ahead less than `buffer`.
            if self.buffered > buffer or (self.length or 0) > buffer or self._connection.reading_paused:
                return False
            await self.more()
            self.check_size(limit)
        return True

    def take(self) -> bytes:
        """What has arrived of the body and was not taken yet."""
        data = self._body if self._chunks is None else b"".join(self._chunks)
        self._body, self._chunks = b"", None
        self.buffered = 0
        if self._connection.reading_paused:
            self._connection.regulate()
        return data

    async def read_body(self, limit: int) -> bytes:
        """The whole body. Raises BodyBroken like `gather`."""
        parts: list[bytes] = []
        while not await self.gather(limit, limit):
            parts.append(self.take())
        return b"".join((*parts, self.take())) if parts else self.take()

    def check_size(self, limit: int) -> None:
        """Raise BodyBroken if the body is, or by its length will be, larger than `limit` bytes."""
        if self.received > limit or self.announced > limit or (self.length or 0) > limit:
            raise BodyBroken(Refusal(Problem.BODY_TOO_LARGE, f"the body is larger than {limit} bytes"))

    async def more(self) -> None:
        """Wait for news, asking the client for the body first if it waits to be asked. Raises BodyBroken."""
        self._raise_broken()
        if self.expects_continue and not self._continued and not self.received:
            self._continued = True
            self._connection.transport.write(_CONTINUE)
        await pause()
        self._raise_broken()

    def _raise_broken(self) -> None:
        # A function of its own: type checkers, and with them compiled code, hold what they know of an attribute to be
        # true across an await.
        if self.broken is not None:
            raise BodyBroken(self.broken)

    # -- answering -------------------------------------------------------------------------------------------------

    def reply(self, status: int, lines: list[bytes], body: bytes) -> None:
        """The whole answer at once. `lines` are field lines in wire form, without any that frame the message."""
        self.begin(status, [*lines], len(body), body)
        self.finished = True

    def begin(self, status: int, parts: list[bytes], length: int | None, first: bytes = b"") -> None:
        """Head of an answer whose body is `length` bytes, or of unknown length; `first` is the body's beginning.

        `parts` joined are field lines, without any that frame the message; the list is used up.
        """
        parts.insert(0, _STATUS_LINES[status])
        bodiless = status == 204 or status == 304
        if length is not None and status != 204:
            parts.append(b"content-length: %d\r\n" % length)
        elif length is None and not bodiless:
            if self.version == "1.1":
                parts.append(_CHUNKED)
                self._chunked = True
            else:
                self.keep_alive = False
        if not self.complete:
            # What is left of the request would have to be read before the next one.
            self.keep_alive = False
        if not self.keep_alive:
            parts.append(_CLOSE)
        elif self.version == "1.0":
            parts.append(_KEEP_ALIVE)
        parts.append(b"\r\n")
        if bodiless or self.method == "HEAD":
            self._hollow = True
        elif first:
            self.sent = len(first)
            parts.append(_chunk(first) if self._chunked else first)
        self.answered = True
        self._connection.transport.write(b"".join(parts))

    def write(self, data: bytes) -> None:
        """More of the body."""
        if data and not self._hollow:
            self.sent += len(data)
            self._connection.transport.write(_chunk(data) if self._chunked else data)

    def end(self) -> None:
        """The body is whole."""
        if self._chunked and not self._hollow:
            self._connection.transport.write(b"0\r\n\r\n")
        self.finished = True

    async def drained(self) -> None:
        """Wait until the client has taken enough of what was written."""
        while self._connection.congested:
            await pause()

    def abort(self) -> None:
        """Cut the connection: the client must see that the answer is not whole."""
        self.keep_alive = False
        self._connection.cut()

    # -- what the connection tells ------------------------------------------------------------------------------------

    def received_body(self, chunk: bytes) -> None:
        """Some of the body arrived."""
        size = len(chunk)
        self.received += size
        self.buffered += size
        if self._chunks is not None:
            self._chunks.append(chunk)
        elif self._body:
            self._chunks = [self._body, chunk]
        else:
            self._body = chunk

    def lost(self) -> None:
        """The client is gone."""
        self.keep_alive = False
        if self.flow is not None:
            self.flow.throw(ClientGone("the client closed its connection"))

    def expired(self) -> None:
        """The exchange's own deadline has passed."""
        self.deadline = NEVER
        if self.flow is not None:
            self.flow.throw(DeadlineExceeded("the request's time is over"))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
