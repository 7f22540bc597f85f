"""The backends behind everything measured: one that answers at once, and the broken challengers.

Run as a process of its own: `python -m loadtests.bench.backend KIND=PORT …`. It speaks only to
127.0.0.1 and ends when its parent does. Its CPU is never counted; it only has to be cheap and the
same for all. Kinds: `static` the answer at once · `hung` reads and never answers · `reset` resets
on the first byte · `error` a 503 · `garbage` bytes that are no HTTP · `flood` a 200 that goes on
for 1 GB, as fast as it is read.
"""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import struct
import sys
from dataclasses import dataclass, field

from loadtests.bench.wire import ANSWER, message_length

FLOOD_BYTES = 1_000_000_000
FLOOD_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % FLOOD_BYTES
FLOOD_CHUNK = b'{"outputs": [' + b" " * (64 * 1024 - 13)
ERROR = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
    b'content-length: 18\r\n\r\n{"error":"broken"}'
)
GARBAGE = b"\x00\xff this is not HTTP\r\n\r\n" * 4
FIXED_ANSWERS = {"static": ANSWER, "error": ERROR, "garbage": GARBAGE, "hung": b""}
KINDS = (*FIXED_ANSWERS, "reset", "flood")
RECEIVE_BYTES = 65536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Peer:
    """One accepted connection; `owed` is what is left of a flood."""

    sock: socket.socket
    kind: str
    pending: bytearray = field(default_factory=bytearray)
    owed: int = 0


class Backend:
    """All listeners and connections of this process, in one level-triggered epoll loop."""

    def __init__(self, ports: dict[str, int]) -> None:
        self._poll = select.epoll()
        self._peers: dict[int, Peer] = {}
        self._listeners: dict[int, tuple[socket.socket, str]] = {}
        for kind, port in ports.items():
            listener = socket.create_server(("127.0.0.1", port), backlog=4096)
            listener.setblocking(False)
            self._listeners[listener.fileno()] = (listener, kind)
            self._poll.register(listener.fileno(), select.EPOLLIN)

    def serve(self) -> None:
        """Answer until the process is ended."""
        while True:
            for number, event in self._poll.poll():
                if number in self._listeners:
                    self._accept(*self._listeners[number])
                elif (peer := self._peers.get(number)) is not None:
                    self._turn(peer, event)

    def _accept(self, listener: socket.socket, kind: str) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._peers[sock.fileno()] = Peer(sock, kind)
                self._poll.register(sock.fileno(), select.EPOLLIN)

    def _turn(self, peer: Peer, event: int) -> None:
        try:
            if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self._read(peer)
            if event & select.EPOLLOUT and peer.owed:
                self._flood(peer)
        except (ConnectionError, BlockingIOError, ValueError):
            self._drop(peer)

    def _read(self, peer: Peer) -> None:
        data = peer.sock.recv(RECEIVE_BYTES)
        if not data:
            self._drop(peer)
            return
        if peer.kind == "reset":
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self._drop(peer)
            return
        peer.pending += data
        whole = take_messages(peer.pending)
        if whole and peer.kind == "flood":
            peer.sock.send(FLOOD_HEAD)
            peer.owed = FLOOD_BYTES
            self._poll.modify(peer.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
        elif whole and (answer := FIXED_ANSWERS[peer.kind]):
            peer.sock.send(answer * whole)

    def _flood(self, peer: Peer) -> None:
        peer.owed -= peer.sock.send(FLOOD_CHUNK[: peer.owed])
        if not peer.owed:
            self._poll.modify(peer.sock.fileno(), select.EPOLLIN)

    def _drop(self, peer: Peer) -> None:
        number = peer.sock.fileno()
        if self._peers.pop(number, None) is not None:
            self._poll.unregister(number)
            peer.sock.close()


def take_messages(pending: bytearray) -> int:
    """How many whole requests stood at the start of `pending`; they are removed from it."""
    count = 0
    while pending:
        length = message_length(pending)
        if length is None or length > len(pending):
            break
        del pending[:length]
        count += 1
    return count


def main() -> None:
    """Serve the kinds and ports named on the command line."""
    ports: dict[str, int] = {}
    for argument in sys.argv[1:]:
        kind, _, port = argument.partition("=")
        if kind not in KINDS or not port.isdigit():
            sys.exit(f"usage: python -m loadtests.bench.backend KIND=PORT …  (kinds: {', '.join(KINDS)})")
        ports[kind] = int(port)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    Backend(ports).serve()


if __name__ == "__main__":
    main()
