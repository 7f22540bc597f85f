"""Backends in a process of their own, fast enough to be no bottleneck: `python -m tests.support.fast_backend KIND...`.

It prints one port per kind, in order, and ends with its standard input. Kinds: `answers:NAME` computes an answer from
the request, always the same for the same body; `hangs`, `resets`, `garbage` and `endless` are the faults of challengers
that must not matter to anybody.

    with FastBackends("answers:1", "hangs") as backends:
        backends.url("answers:1")
"""

import asyncio
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from types import TracebackType
from typing import Self, cast

import httptools

CHUNK = b"10000\r\n" + b"x" * 65536 + b"\r\n"


def answer_to(name: str, body: bytes) -> bytes:
    """Whole wire answer: the status is what the request wishes for, one in eight is chunked."""
    digest = sha256(body).hexdigest()
    text = json.dumps({"by": name, "digest": digest, "size": len(body)}).encode()
    status = int(body[10:13]) if body.startswith(b'{"status":') else 200
    head = b'HTTP/1.1 %d As Wished\r\ncontent-type: application/json; a=b\r\netag: "%b"\r\nx-kind: Fast\r\n' % (
        status,
        digest[:8].encode(),
    )
    if int(digest[0], 16) < 2:
        return head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(text), text)
    return head + b"content-length: %d\r\n\r\n%b" % (len(text), text)


class Served(asyncio.Protocol):
    """One connection; what happens at the end of a request is the kind's."""

    def __init__(self, kind: str):
        self.kind, _, self.name = kind.partition(":")
        self.parser = httptools.HttpRequestParser(self)
        self.parts: list[bytes] = []
        self.flooding = False
        self.transport = cast(asyncio.Transport, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, chunk: bytes) -> None:
        self.parts.append(chunk)

    def on_message_complete(self) -> None:
        body, self.parts = b"".join(self.parts), []
        match self.kind:
            case "answers":
                self.transport.write(answer_to(self.name, body))
            case "resets":
                raw = self.transport.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.transport.abort()
            case "garbage":
                self.transport.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
                self.transport.close()
            case "endless":
                self.transport.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                self.flooding = True
                self.flood()

    def flood(self) -> None:
        while self.flooding and not self.transport.is_closing():
            self.transport.write(CHUNK)

    def pause_writing(self) -> None:
        self.flooding = False

    def resume_writing(self) -> None:
        self.flooding = self.kind == "endless"
        self.flood()

    def connection_lost(self, error: Exception | None) -> None:
        self.flooding = False


async def serve(kinds: list[str]) -> None:
    import uvloop

    assert isinstance(asyncio.get_running_loop(), uvloop.Loop)
    loop = asyncio.get_running_loop()

    def protocol(kind: str) -> Callable[[], Served]:
        return lambda: Served(kind)

    servers = [await loop.create_server(protocol(kind), "127.0.0.1", 0, backlog=1024) for kind in kinds]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    gone = asyncio.Event()
    loop.add_reader(0, lambda: None if sys.stdin.buffer.raw.read(1) else gone.set())  # type: ignore[attr-defined]
    await gone.wait()


class FastBackends:
    """The process, as a test holds it."""

    def __init__(self, *kinds: str):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fast_backend", *kinds],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        ports = self._process.stdout.readline().split()
        self._ports = dict(zip(kinds, map(int, ports), strict=True))

    def url(self, kind: str) -> str:
        return f"http://127.0.0.1:{self._ports[kind]}"

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1:]))
