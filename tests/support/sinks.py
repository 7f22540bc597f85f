"""A backend for bodies that are too large to be held: it reads and writes them in pieces, and counts.

| path        | answer                                                            |
|-------------|-------------------------------------------------------------------|
| `/count`    | the number of bytes of the body                                   |
| `/bytes/N`  | N times `x`                                                       |
| `/early`    | 422 at the request's head; the body is never read                 |
| `/stall`    | like `/count`, but the body is read only after `goes_on`          |
"""

import asyncio
import socket
import threading
from types import TracebackType
from typing import Self

_PIECE = b"x" * 65536


class Sink:
    """Listens from construction to `close`; in a thread of its own."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.written = 0
        self._loop = asyncio.new_event_loop()
        self._going = asyncio.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def goes_on(self) -> None:
        self._loop.call_soon_threadsafe(self._going.set)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        running: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._converse(reader, writer))
            running[task] = writer
            task.add_done_callback(running.pop)

        server = await asyncio.start_server(connected, sock=self._listener)
        await self._stop.wait()
        server.close()
        # As in `tests.support.backends`: what was accepted just now is a connection in a few turns.
        for _ in range(10):
            await asyncio.sleep(0)
        ending = dict(running)
        for task, writer in ending.items():
            task.cancel()
            writer.close()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer(reader, writer):
                continue
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        path = line.split(" ")[1]
        length = next((int(field[16:]) for field in fields if field.lower().startswith("content-length: ")), 0)
        if path == "/early":
            await self._write(writer, 422, b"early")
            await self._stop.wait()
            return False
        if path == "/stall":
            await self._going.wait()
        left = length
        while left:
            left -= len(await reader.readexactly(min(left, 65536)))
        size = path.removeprefix("/bytes/")
        if size.isdigit():
            await self._write_many(writer, int(size))
        else:
            await self._write(writer, 200, b"%d" % length)
        return True

    async def _write(self, writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        writer.write(b"HTTP/1.1 %d Sunk\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()

    async def _write_many(self, writer: asyncio.StreamWriter, size: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while size:
            piece = _PIECE[:size]
            writer.write(piece)
            await writer.drain()
            size -= len(piece)
            self.written += len(piece)
