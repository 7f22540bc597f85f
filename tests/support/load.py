"""Load from a thread of its own, over keep-alive connections, with every answer kept as it came.

load = Load(gateway.inference, lambda number: post("/models/m/score", b"..."), connections=8)
with load:                      # until the block ends, or `total` requests are answered
    ...
assert not load.failures
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

import httptools
import uvloop

PATIENCE_S = 60.0


@dataclass(slots=True)
class Answer:
    """One answer as it came; names of fields in lower case."""

    number: int
    status: int = 0
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    def field(self, name: bytes) -> str:
        """The first value of a field, or empty."""
        return next((value.decode("latin-1") for key, value in self.fields if key == name), "")


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was not answered whole. `unheard`: not one byte of an answer came."""

    number: int
    reason: str
    unheard: bool


def post(path: str, body: bytes, host: str = "gateway", fields: bytes = b"") -> bytes:
    """A POST as bytes; `fields` are whole lines."""
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + fields + b"\r\n" + body


class Load:
    """Asks for the bytes of request 0, 1, 2, … and sends each on whichever connection is free.

    `pause_s` is for how long a connection rests between two requests, so that a load leaves room for others.
    """

    def __init__(
        self,
        url: str,
        request: Callable[[int], bytes],
        connections: int = 8,
        total: int | None = None,
        pause_s: float = 0.0,
    ):
        parts = urlsplit(url)
        self.address = (parts.hostname or "", parts.port or 80)
        self.request = request
        self.total = total
        self.pause_s = pause_s
        self.sent = 0
        self.answers: dict[int, Answer] = {}
        self.failures: list[Failure] = []
        self._connections = connections
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._crash: BaseException | None = None

    def wants_more(self) -> bool:
        return not self._stopping and (self.total is None or self.sent < self.total)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> Self:
        """Send nothing new; wait until what was sent is answered."""
        self._stopping = True
        return self.join()

    def join(self) -> Self:
        """Wait until all is answered."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "requests are not answered"
        if self._crash is not None:
            raise self._crash
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._all())
        except BaseException as crash:  # noqa: BLE001 - told to the test
            self._crash = crash

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._connections):
                group.create_task(self._one())

    async def _one(self) -> None:
        """One connection, made again whenever it is closed."""
        loop = asyncio.get_running_loop()
        while self.wants_more():
            lost = asyncio.Event()
            try:
                await loop.create_connection(lambda lost=lost: _Client(self, lost), *self.address)  # type: ignore[misc]
            except OSError as error:
                if self.wants_more():
                    self.failures.append(Failure(-1, f"connecting: {error.strerror}", unheard=True))
                await asyncio.sleep(0.02)
                continue
            await lost.wait()


class _Client(asyncio.Protocol):
    def __init__(self, load: Load, lost: asyncio.Event):
        self._load = load
        self._lost = lost
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._parts: list[bytes] = []
        self._heard = False
        self._transport = cast(asyncio.Transport, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(str(error))
            self._transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self._answer is not None
        self._answer.fields.append((name.lower(), value))

    def on_body(self, chunk: bytes) -> None:
        self._parts.append(chunk)

    def on_message_complete(self) -> None:
        answer = self._answer
        assert answer is not None
        answer.status = self._parser.get_status_code()
        answer.body = b"".join(self._parts)
        self._load.answers[answer.number] = answer
        self._answer = None
        if self._parser.should_keep_alive():
            if self._load.pause_s:
                asyncio.get_running_loop().call_later(self._load.pause_s, self._next)
            else:
                self._next()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail("the connection was lost")
        self._lost.set()

    def _next(self) -> None:
        load = self._load
        if self._transport.is_closing():
            return
        if not load.wants_more():
            self._transport.close()
            return
        number, load.sent = load.sent, load.sent + 1
        self._answer = Answer(number)
        self._parts = []
        self._heard = False
        self._transport.write(load.request(number))

    def _fail(self, reason: str) -> None:
        if self._answer is not None:
            self._load.failures.append(Failure(self._answer.number, reason, unheard=not self._heard))
            self._answer = None
