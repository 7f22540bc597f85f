"""The other end of a tap: takes offers on a Unix socket, or does not, as a test wants."""

import asyncio
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.core.offer import Decoder, Hello, Message, Offer, Route


class ListeningShadow:
    """Listens from construction to `close`. `heard` is one list of messages per connection, in order."""

    def __init__(self, path: Path, *, reads: bool = True):
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(16)
        self.heard: list[list[Message]] = []
        self._reads = reads
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []
        self._going = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def offers(self) -> list[Offer]:
        return [message for messages in self.heard for message in messages if isinstance(message, Offer)]

    @property
    def hellos(self) -> list[Hello]:
        return [message for messages in self.heard for message in messages if isinstance(message, Hello)]

    @property
    def routes(self) -> list[Route]:
        return [message for messages in self.heard for message in messages if isinstance(message, Route)]

    def reads_on(self) -> None:
        """Take what was not read so far."""
        self._loop.call_soon_threadsafe(self._going.set)

    def drops_connections(self) -> None:
        """End every connection, as a process that dies; new ones are taken."""

        def drop() -> None:
            for writer in self._writers:
                writer.transport.abort()
            self._writers.clear()

        self._loop.call_soon_threadsafe(drop)

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(30)
        self._path.unlink(missing_ok=True)

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
        if self._reads:
            self._going.set()
        running: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.append(writer)
            messages: list[Message] = []
            self.heard.append(messages)
            task = asyncio.ensure_future(self._listen(reader, writer, messages))
            running[task] = writer
            task.add_done_callback(running.pop)

        server = await asyncio.start_unix_server(connected, sock=self._listener)
        await self._stop.wait()
        server.close()
        for _ in range(10):
            await asyncio.sleep(0)
        ending = dict(running)
        for task, writer in ending.items():
            task.cancel()
            writer.close()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _listen(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, messages: list[Message]
    ) -> None:
        decoder = Decoder()
        try:
            await self._going.wait()
            while data := await reader.read(65536):
                messages += decoder.feed(data)
        except OSError:
            pass
        finally:
            writer.close()
