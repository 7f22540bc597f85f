"""A real HTTP/1.1 backend on a real socket that behaves as a test says, well or badly.

    with Backend(answers(b'{"ok": true}')) as backend:
        ... call backend.url ...
        assert backend.requests[0].path == "/v2/models/m/infer"
        backend.behave(hangs())

It runs an event loop in a thread of its own. A behaviour is a coroutine function over the request and
the connection; the ones below are the faults that backends really have.
"""

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

Field = tuple[str, str]


@dataclass(frozen=True)
class Seen:
    """One request as it arrived: `head` is the raw header section, request line included."""

    method: str
    path: str
    head: bytes
    body: bytes
    fields: tuple[Field, ...]

    def field(self, name: str) -> str | None:
        """The first field of that name, or None."""
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)


@dataclass
class Connection:
    """What a behaviour can do to the connection; `keep` is whether it takes another request."""

    writer: asyncio.StreamWriter
    keep: bool = True

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reset(self) -> None:
        """End it with RST instead of FIN."""
        self.keep = False
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Behaviour = Callable[[Seen, Connection], Awaitable[None]]


def answers(
    body: bytes = b"{}",
    status: int = 200,
    content_type: str = "application/json",
    fields: Sequence[Field] = (),
) -> Behaviour:
    """One whole answer, always the same."""

    async def behave(request: Seen, connection: Connection) -> None:
        await connection.send(response(body, status, [("content-type", content_type), *fields]))

    return behave


def computes(answer: Callable[[Seen], object]) -> Behaviour:
    """The JSON of what `answer` makes of the request."""

    async def behave(request: Seen, connection: Connection) -> None:
        body = json.dumps(answer(request)).encode()
        await connection.send(response(body, 200, [("content-type", "application/json")]))

    return behave


def echoes() -> Behaviour:
    """The request's own body and content type."""

    async def behave(request: Seen, connection: Connection) -> None:
        kind = request.field("content-type") or "application/json"
        await connection.send(response(request.body, 200, [("content-type", kind)]))

    return behave


def hangs() -> Behaviour:
    """Takes the request and never answers."""

    async def behave(request: Seen, connection: Connection) -> None:
        await asyncio.Event().wait()

    return behave


def resets() -> Behaviour:
    """Takes the request and resets the connection."""

    async def behave(request: Seen, connection: Connection) -> None:
        await connection.reset()

    return behave


def resets_within_body(sent: bytes = b'{"half":', of: int = 1000) -> Behaviour:
    """Promises `of` bytes, sends fewer, and resets the connection."""

    async def behave(request: Seen, connection: Connection) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {of}\r\n\r\n"
        await connection.send(head.encode() + sent)
        await connection.reset()

    return behave


def says_garbage(data: bytes = b"\x16\x03\x01\x00 this is not HTTP\r\n\r\n") -> Behaviour:
    """Answers with bytes that are no HTTP."""

    async def behave(request: Seen, connection: Connection) -> None:
        connection.keep = False
        await connection.send(data)

    return behave


def never_ends(chunk: bytes = b"x" * 65536) -> Behaviour:
    """Answers with a body that has no end, for as long as somebody reads it."""

    async def behave(request: Seen, connection: Connection) -> None:
        connection.keep = False
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        await connection.send(head + b"transfer-encoding: chunked\r\n\r\n")
        while True:
            await connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))

    return behave


def delays(seconds: float, then: Behaviour) -> Behaviour:
    """Waits before it does something else."""

    async def behave(request: Seen, connection: Connection) -> None:
        await asyncio.sleep(seconds)
        await then(request, connection)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One behaviour per request; the last for all that follow."""
    left = list(behaviours)

    async def behave(request: Seen, connection: Connection) -> None:
        chosen = left.pop(0) if len(left) > 1 else left[0]
        await chosen(request, connection)

    return behave


def response(body: bytes, status: int = 200, fields: Sequence[Field] = ()) -> bytes:
    """A response with a Content-Length, as bytes."""
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in fields)]
    lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@dataclass
class Backend:
    """Listens from construction to `close`; use it in a `with` statement or as a fixture."""

    behaviour: Behaviour = field(default_factory=answers)
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(1024)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def count(self) -> int:
        """Requests that arrived whole."""
        return len(self.requests)

    def behave(self, behaviour: Behaviour) -> None:
        """Behave differently from the next request on."""
        self.behaviour = behaviour

    def close(self) -> None:
        """Drop every connection and stop listening."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        running: set[asyncio.Task[None]] = set()
        writers: list[asyncio.StreamWriter] = []

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            task = asyncio.ensure_future(self._converse(reader, writer))
            writers.append(writer)
            running.add(task)
            task.add_done_callback(running.discard)

        server = await asyncio.start_server(connected, sock=self._listener)
        await self._stop.wait()
        # What was accepted just now becomes a connection within a few turns of the loop; one that is not by the time
        # its server closes would be left open by asyncio itself.
        for _ in range(10):
            await asyncio.sleep(0)
        server.close()
        # A task that is cancelled before its first step closes nothing, and a connection that was closed stays open
        # while nobody reads what was written to it: so all are cut here.
        for _ in range(10):
            await asyncio.sleep(0)
        ending = list(running)
        for task in ending:
            task.cancel()
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer)
        try:
            while connection.keep:
                request = await read_request(reader)
                self.requests.append(request)
                await self.behaviour(request, connection)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass
        finally:
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> Seen:
    """One request with its whole body."""
    head = await reader.readuntil(b"\r\n\r\n")
    line, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, path, _ = line.split(" ", 2)
    fields = tuple((name, value.strip()) for name, _, value in (row.partition(":") for row in lines))
    known = {name.lower(): value for name, value in fields}
    if "chunked" in known.get("transfer-encoding", ""):
        body = await _read_chunked(reader)
    else:
        body = await reader.readexactly(int(known.get("content-length", "0")))
    return Seen(method, path, head, body, fields)


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        continue
    return b"".join(parts)
