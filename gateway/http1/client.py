"""The backend's side: one connection that carries one call after another, and the answer of each.

A call writes its request and gets an `Answer`, which fills as bytes arrive; the flow that made the call waits on it.
The connection trusts nothing: an answer that is not strict HTTP/1.1, more bytes than the answer has, or a close in
the middle end the connection, and the answer says so. It is `reusable` only after a whole answer to a whole request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from gateway.core.flow import Flow, pause
from gateway.http1.errors import UpstreamClosed, UpstreamFault, UpstreamInvalid, UpstreamTruncated
from gateway.http1.head import NOTHING_NOMINATED, Fields, nominated_by
from gateway.http1.repeated import Meaning, Repeated

MAX_INTERIM = 8
"""Interim answers (1xx) that one call may bring."""
MAX_FIELDS = 200
MAX_HEAD_BYTES = 64 * 1024
BUFFER_BYTES = 256 * 1024
"""Unread bytes of an answer beyond which its connection is read no further."""


_DECIDES = frozenset({b"content-length", b"transfer-encoding", b"connection", b"date"})


class Answer:
    """One answer as it arrives. `length` is None where the body ends with its chunks or with the connection."""

    bodiless = False
    buffered = 0
    complete = False
    dated = False
    """Whether the answer has a Date."""
    fault: UpstreamFault | None = None
    """What went wrong, if something did."""
    length: int | None = None
    meaning: Meaning | None = None
    """What the head means, where it is one that may come again."""
    received = 0
    replayed = False
    """Whether the call is the second try of a request."""
    started = False
    status = 0

    def __init__(self, connection: ClientConnection):
        self._connection = connection
        self._chunks: list[bytes] = []
        self.fields: Fields = []
        self.nominated = NOTHING_NOMINATED
        """Fields that the answer's Connection field keeps to this hop."""

    async def head(self) -> None:
        """Wait until the head is there. Raises UpstreamFault."""
        while not self.started:
            self.raise_fault()
            await pause()

    def raise_fault(self) -> None:
        """Raise what went wrong, if something did."""
        if self.fault is not None:
            raise self.fault

    @property
    def settled(self) -> bool:
        """Whether the head is there, or will never be."""
        return self.started or self.fault is not None

    async def gathered(self) -> None:
        """Wait until the whole body is here. Raises UpstreamFault."""
        while not self.complete:
            self.raise_fault()
            await pause()

    def take(self) -> bytes:
        """The body as far as it has arrived and was not taken yet."""
        chunks = self._chunks
        if len(chunks) == 1:
            data = chunks[0]
        elif chunks:
            data = b"".join(chunks)
        else:
            return b""
        self._chunks = []
        self.buffered = 0
        if self._connection.reading_paused:
            self._connection.regulate()
        return data

    async def read(self) -> bytes:
        """The next part of the body, at least one byte; empty at its end. Raises UpstreamFault."""
        while not self._chunks and not self.complete:
            self.raise_fault()
            await pause()
        return self.take()

    async def read_all(self, limit: int) -> bytes:
        """The whole body. Raises UpstreamInvalid when it is larger than `limit` bytes."""
        if (self.length or 0) > limit:
            raise UpstreamInvalid(f"the answer is larger than {limit} bytes")
        parts: list[bytes] = []
        while part := await self.read():
            parts.append(part)
            if self.received > limit:
                raise UpstreamInvalid(f"the answer is larger than {limit} bytes")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def field(self, name: bytes) -> bytes | None:
        """The first value of a field, by its lower-case name."""
        for known, value in self.fields:
            if known == name:
                return value
        return None

    def _got(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self.buffered += len(chunk)
        self.received += len(chunk)

    def _failed(self, error: UpstreamFault) -> None:
        if not self.complete and self.fault is None:
            self.fault = error


class _Refused(Exception):
    """Leaves the parser from within a callback."""


class ClientConnection(asyncio.Protocol):
    """One connection to a backend. `on_lost` is called once when it is gone."""

    __slots__ = (
        "_answer",
        "_expects_no_body",
        "_fields",
        "_fields_bytes",
        "_flow",
        "_interim",
        "_on_lost",
        "_parser",
        "_repeated",
        "_sent_all",
        "_until_close",
        "calls",
        "congested",
        "idle_since",
        "reading_paused",
        "reusable",
        "transport",
        "unclean",
    )  # fmt: skip

    def __init__(self, on_lost: Callable[[ClientConnection], None]):
        self._on_lost = on_lost
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._flow: Flow | None = None
        self._expects_no_body = False
        self._fields: Fields = []
        self._fields_bytes = 0
        self._interim = 0
        self.reading_paused = False
        self._repeated: Repeated[Meaning] = Repeated()
        self._sent_all = False
        self._until_close = False
        self.calls = 0
        self.congested = False
        """Whether the backend reads slower than we write."""
        self.idle_since = 0.0
        self.reusable = True
        self.unclean = False
        """Whether the backend has sent what was no answer, or more than its answer."""
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)

    # -- calls -----------------------------------------------------------------------------------------------------

    def call(self, flow: Flow, data: bytes, *, whole: bool, head_only: bool = False) -> Answer:
        """Write a request (or its beginning, when not `whole`) and return its answer-to-be.

        `flow` is woken at every piece of news. `head_only` says that the answer has no body (HEAD).
        """
        answer = self._answer = Answer(self)
        self._flow = flow
        self._expects_no_body = head_only
        self._interim = 0
        self._fields_bytes = 0
        self._until_close = False
        self._sent_all = whole
        self.reusable = False
        self.calls += 1
        if self.transport.is_closing():
            # It was lost while it was being handed over, and says so only once.
            answer.fault = UpstreamClosed("the backend closed the connection without an answer")
        else:
            self.transport.write(data)
        return answer

    def send(self, data: bytes, *, last: bool) -> None:
        """More of the request."""
        self._sent_all = last
        if data:
            self.transport.write(data)

    async def drained(self, answer: Answer) -> None:
        """Wait until the backend has taken enough of what was written, or has answered, or is gone."""
        while self.congested and not answer.settled:
            await pause()

    def close(self) -> None:
        """Give the connection up; a running call is cancelled by that."""
        self._flow = None
        self._answer = None
        self.reusable = False
        self.transport.abort()

    def regulate(self) -> None:
        """Read on, or stop reading while too much of the answer is waiting to be used."""
        answer = self._answer
        too_much = answer is not None and answer.buffered > BUFFER_BYTES
        if too_much is not self.reading_paused and not self.transport.is_closing():
            self.reading_paused = too_much
            if too_much:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # -- transport events ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, then let the flow look."""
        answer = self._answer
        if answer is None:
            # Bytes nobody asked for could be taken for the answer to the next request.
            self._retire()
            return
        if not answer.started and not self._fields_bytes and self._repeats(answer, data):
            self._flow_wake()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as error:
            self._fail(UpstreamInvalid(f"the backend's answer is not valid HTTP/1.1: {error}"))
        else:
            if answer.complete and not self._fields_bytes and self.reusable and self._repeated.wanted:
                self._keep_head(answer, data)
            elif not answer.started:
                self._fields_bytes += len(data)
                if self._fields_bytes > MAX_HEAD_BYTES:
                    self._fail(UpstreamInvalid("the head of the backend's answer is too large"))
        if answer.buffered > BUFFER_BYTES and not answer.complete:
            self.regulate()
        if self._flow is not None:
            self._flow.wake()

    def _repeats(self, answer: Answer, data: bytes) -> bool:
        """Take a whole answer whose head is the one before; False where it has to be read as any other."""
        found = self._repeated.find(data)
        if found is None or self._expects_no_body:
            return False
        meaning, length, start = found
        answer.meaning = meaning
        answer.status, answer.fields = meaning.status, meaning.fields
        answer.nominated, answer.dated = meaning.nominated, meaning.dated
        answer.length = length
        if length:
            answer._got(data[start:])
        answer.started = answer.complete = True
        self.reusable = self._sent_all
        return True

    def _keep_head(self, answer: Answer, data: bytes) -> None:
        """Keep the head of a whole answer in case it comes again, if it is of the plain kind."""
        end = data.find(b"\r\n\r\n") + 4
        head = data[:end]
        if len(head) + answer.received != len(data) or answer.bodiless or not answer.length:
            return
        meaning = answer.meaning = Meaning(answer.fields, answer.nominated)
        meaning.status, meaning.dated = answer.status, answer.dated
        self._repeated.keep(head, meaning)

    def eof_received(self) -> None:
        """The backend closed its side in order: the end of an answer that ends so, else too early."""
        if self._answer is not None and self._until_close and self._answer.started:
            self._answer.complete = True
            self.reusable = False
            self._flow_wake()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        answer = self._answer
        self.reusable = False
        if answer is not None and not answer.complete:
            if answer.started:
                answer._failed(UpstreamTruncated("the backend's answer ended before its end"))
            elif self._fields_bytes:
                answer._failed(UpstreamInvalid("the backend's answer ended within its head"))
            else:
                answer._failed(UpstreamClosed("the backend closed the connection without an answer"))
        self._on_lost(self)
        self._flow_wake()

    def pause_writing(self) -> None:
        """The backend reads slower than we write."""
        self.congested = True

    def resume_writing(self) -> None:
        """The backend has caught up."""
        self.congested = False
        self._flow_wake()

    # -- parser events ---------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """First byte of an answer."""
        answer = self._answer
        if answer is None or answer.started:
            # A second answer to one request.
            self.reusable = False
            raise _Refused
        answer.fields = self._fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field line."""
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        answer = self._answer
        if answer is None:
            raise _Refused
        # What comes now are trailers, and they go no further (RFC 9110 section 6.5.1).
        self._fields = []
        parser = self._parser
        status = parser.get_status_code()
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > MAX_INTERIM:
                self._fail(UpstreamInvalid(f"the backend sent {status} where an answer was due"))
                raise _Refused
            return
        problem = self._check(answer, status)
        if problem:
            self._fail(UpstreamInvalid(problem))
            raise _Refused
        answer.status = status
        answer.started = True
        answer.bodiless = self._expects_no_body or status == 204 or status == 304
        if answer.bodiless:
            answer.complete = True
            self.reusable = self._sent_all and not self._expects_no_body and parser.should_keep_alive()

    def on_body(self, chunk: bytes) -> None:
        """Some of the body."""
        answer = self._answer
        if answer is not None and not answer.bodiless:
            answer._got(chunk)

    def on_message_complete(self) -> None:
        """The answer is whole; an interim one is not counted."""
        answer = self._answer
        if answer is None or not answer.started or answer.complete:
            return
        answer.complete = True
        self.reusable = self._sent_all and self._parser.should_keep_alive()

    # -- inner -----------------------------------------------------------------------------------------------------

    def _check(self, answer: Answer, status: int) -> str:
        """What is wrong with the head of an answer, or empty; notes how its body ends and which fields matter."""
        version = self._parser.get_http_version()
        if version != "1.1" and version != "1.0":
            return f"the backend answered in HTTP/{version}"
        if not 200 <= status <= 599:
            return f"the backend answered with status {status}"
        if len(answer.fields) > MAX_FIELDS:
            return "the backend's answer has too many fields"
        length = transfer = None
        for name, value in answer.fields:
            if name not in _DECIDES:
                continue
            if name == b"content-length":
                digits = value.rstrip(b" \t")
                if length is not None or not (digits.isdigit() and len(digits) <= 18):
                    return "the backend's Content-Length is not one number"
                length = digits
            elif name == b"transfer-encoding":
                if transfer is not None or value.rstrip(b" \t").lower() != b"chunked":
                    return "the backend used a transfer coding other than chunked"
                transfer = value
            elif name == b"connection":
                answer.nominated |= nominated_by(value)
            else:
                answer.dated = True
        if transfer is not None and (length is not None or version == "1.0"):
            return "the backend framed its answer in two ways"
        answer.length = int(length) if length is not None else None
        self._until_close = length is None and transfer is None
        return ""

    def _fail(self, error: UpstreamFault) -> None:
        if self._answer is not None:
            self._answer._failed(error)
        self._retire()

    def _retire(self) -> None:
        self.unclean = True
        self.reusable = False
        self.transport.abort()

    def release(self) -> None:
        """The call is over and the connection goes back to its pool."""
        self._answer = None
        self._flow = None

    def _flow_wake(self) -> None:
        if self._flow is not None:
            self._flow.wake()
