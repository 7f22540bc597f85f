"""A client that sends exactly the bytes a test wants, over a real socket, and reads what comes back strictly."""

import socket
import struct
from types import TracebackType
from typing import Self

from tests.support.answers import Answer, read_answers

PATIENCE_S = 30.0


class WireClient:
    """One connection."""

    def __init__(self, host: str, port: int):
        self.socket = socket.create_connection((host, port), timeout=PATIENCE_S)
        self._received = b""
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    @property
    def address(self) -> str:
        host: str = self.socket.getsockname()[0]
        return host

    def sends(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, *, to_head: bool = False) -> Answer:
        """The next answer, interim or final; incomplete where the connection ends before it."""
        while True:
            if b"\r\n\r\n" in self._received:
                found = read_answers(self._first(), {0} if to_head else (), self._ended)
                if found and (found[0].complete or self._ended):
                    return self._taken(found[0], to_head)
            assert not self._ended, f"no answer before the end of the connection: {self._received!r}"
            self._read()

    def asks(self, data: bytes) -> Answer:
        """Send a request and read its answer."""
        self.sends(data)
        return self.answer(to_head=data.startswith(b"HEAD "))

    def until_closed(self) -> bytes:
        """Everything that still comes."""
        while not self._ended:
            self._read()
        rest, self._received = self._received, b""
        return rest

    def resets(self) -> None:
        """Close with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _read(self) -> None:
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        self._received += data
        self._ended = not data

    def _first(self) -> bytes:
        """What is received, up to the end of its first answer where that can be told from its head."""
        head, end, rest = self._received.partition(b"\r\n\r\n")
        fields = head.lower()
        if b"\r\ntransfer-encoding:" in fields:
            body, last, _ = rest.partition(b"0\r\n\r\n")
            return head + end + body + last if last and (not body or body.endswith(b"\r\n")) else self._received
        if b"\r\ncontent-length: " in fields:
            size = int(fields.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
            return head + end + rest[:size]
        return head + end + rest

    def _taken(self, answer: Answer, to_head: bool) -> Answer:
        rest = self._received.partition(b"\r\n\r\n")[2]
        if to_head or answer.status < 200 or answer.status in (204, 304):
            self._received = rest
        else:
            self._received = self._received[len(self._first()) :]
        return answer


def post(path: str, body: bytes = b"{}", *fields: str, host: str = "gateway.example") -> bytes:
    """A POST with a body of known length."""
    return _request("POST", path, host, [*fields, f"Content-Length: {len(body)}"]) + body


def get(path: str, *fields: str, method: str = "GET", host: str = "gateway.example") -> bytes:
    """A request without a body."""
    return _request(method, path, host, list(fields))


def chunked(path: str, *chunks: bytes, fields: tuple[str, ...] = ()) -> bytes:
    """A POST with a chunked body."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return _request("POST", path, "gateway.example", [*fields, "Transfer-Encoding: chunked"]) + body + b"0\r\n\r\n"


def _request(method: str, path: str, host: str, fields: list[str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
