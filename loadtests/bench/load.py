"""The load generator: a process of its own that holds keep-alive connections and sends the one
request.

`python -m loadtests.bench.load` reads one order (a JSON object) a line from standard input and
writes one result a line. Two ways to drive: closed loop (each connection sends again when its
answer is whole: the subject is saturated), and at a fixed rate, where an answer's latency runs
from the moment its request was *due*, so that a stall is charged to every request it held up (no
coordinated omission). Every answer is compared byte for byte.

It is written on bare sockets because the generator shares a core with the backend: an asyncio
client costs as much as the subjects do and would leave the fast ones half idle.
"""

from __future__ import annotations

import ctypes
import json
import select
import socket
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Protocol

from loadtests.bench.wire import ANSWER_BODY, infer_path, is_expected, message_length, request

RECEIVE_BYTES = 65536
CATCH_UP_S = 1.0
DRAIN_S = 3.0
CONNECT_S = 5.0
PR_SET_TIMERSLACK = 29


@dataclass(frozen=True, slots=True)
class Order:
    """What to send: where, over how many connections, how long, how fast (None: closed loop)."""

    port: int
    connections: int
    seconds: float
    rate: float | None = None
    path: str = infer_path()
    request_body: str | None = None
    answer_body: str | None = None
    socket: str | None = None
    """Path of a Unix socket to send to instead of the port."""

    def target(self) -> int | str:
        """Where connections to it go."""
        return self.socket or self.port


@dataclass(slots=True)
class Outcome:
    """What came back: `failed` were lost with their connection, `unequal` had other bytes.

    `unsent` were due and could not be sent in time, because every connection waited: the subject was overloaded.
    """

    answered: int = 0
    failed: int = 0
    unequal: int = 0
    unsent: int = 0
    seconds: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0
    max_us: float = 0.0
    latencies_ns: list[int] = field(default_factory=list, repr=False)

    def summed_up(self) -> dict[str, float]:
        """The wire form: quantiles instead of the samples."""
        samples = sorted(self.latencies_ns)
        self.p50_us, self.p99_us, self.max_us = (quantile(samples, q) / 1000 for q in (0.5, 0.99, 1.0))
        return {name: value for name, value in asdict(self).items() if name != "latencies_ns"}


def quantile(ordered: list[int], q: float) -> float:
    """The q-quantile of an ascending list by the nearest rank; 0 for none."""
    return float(ordered[min(len(ordered) - 1, int(q * len(ordered)))]) if ordered else 0.0


class Schedule(Protocol):
    """When the next request is due; asked whenever a connection is free."""

    def due(self, now: int) -> int | None:
        """The due time of the next request, at most `now`; None when it is not its turn yet."""

    def wait_s(self, now: int) -> float | None:
        """How long until the next one; None when only an answer can bring it."""

    def unsent(self) -> list[int]:
        """Due times of what was not sent."""


@dataclass(slots=True)
class ClosedLoop:
    """A free connection sends at once, until the end."""

    end: int

    def due(self, now: int) -> int | None:
        return now if now < self.end else None

    def wait_s(self, now: int) -> float | None:
        return None

    def unsent(self) -> list[int]:
        return []


@dataclass(slots=True)
class FixedRate:
    """Request i is due at start + i/rate, whatever became of the ones before it."""

    start: int
    end: int
    interval_ns: float
    sent: int = 0

    def due(self, now: int) -> int | None:
        at = self._next()
        if at > now or at >= self.end:
            return None
        self.sent += 1
        return at

    def wait_s(self, now: int) -> float | None:
        # After the last request it waits for the end and no longer: how long a run took says whether it was late.
        return None if now >= self.end else max(0, min(self._next(), self.end) - now) / 1e9

    def unsent(self) -> list[int]:
        every = int((self.end - self.start) / self.interval_ns)
        return [self.start + int(number * self.interval_ns) for number in range(self.sent, every)]

    def _next(self) -> int:
        return self.start + int(self.sent * self.interval_ns)


class Run:
    """One order being carried out over its connections."""

    def __init__(self, order: Order, sockets: list[socket.socket]) -> None:
        self.order = order
        self.outcome = Outcome()
        body = order.request_body
        self._request = request(order.path, body.encode()) if body else request(order.path)
        self._expected = order.answer_body.encode() if order.answer_body else ANSWER_BODY
        self._free: deque[socket.socket] = deque(sockets)
        self._busy: dict[int, tuple[socket.socket, int]] = {}
        self._partial: dict[int, bytearray] = {}
        self._poll = select.epoll()
        for sock in sockets:
            self._poll.register(sock.fileno(), select.EPOLLIN)

    def carry_out(self) -> list[socket.socket]:
        """Send and read until time is up and every answer is in; returns the good connections."""
        start = time.monotonic_ns()
        end = start + int(self.order.seconds * 1e9)
        schedule: Schedule = FixedRate(start, end, 1e9 / self.order.rate) if self.order.rate else ClosedLoop(end)
        last_send = end + int(CATCH_UP_S * 1e9)
        latest = last_send + int(DRAIN_S * 1e9)
        while (now := time.monotonic_ns()) < latest:
            sending = now < last_send
            if sending:
                self._send(schedule, now)
            if not self._busy and now >= end:
                break
            wait = schedule.wait_s(now) if sending and self._free else None
            for number in self._ready(wait):
                self._receive(number)
        self.outcome.seconds = (time.monotonic_ns() - start) / 1e9
        self.outcome.failed += len(self._busy)
        # What never left has waited as long as this: leaving it out would hide the stall that held it up.
        unsent = schedule.unsent()
        self.outcome.unsent = len(unsent)
        self.outcome.latencies_ns += [time.monotonic_ns() - due for due in unsent]
        for sock, _ in self._busy.values():
            sock.close()
        self._poll.close()
        return list(self._free)

    def _ready(self, wait: float | None) -> list[int]:
        if wait is None:
            return [number for number, _ in self._poll.poll(0.1)]
        # epoll rounds a wait up to a millisecond; select waits for microseconds.
        return select.select(list(self._busy), (), (), min(wait, 0.1))[0]

    def _send(self, schedule: Schedule, now: int) -> None:
        while self._free and (due := schedule.due(now)) is not None:
            sock = self._free.popleft()
            try:
                sock.send(self._request)
            except OSError:
                self._lose(sock)
                continue
            self._busy[sock.fileno()] = (sock, due)

    def _receive(self, number: int) -> None:
        entry = self._busy.get(number)
        if entry is None:
            self._forget_closed(number)
            return
        sock, due = entry
        try:
            data = sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            del self._busy[number]
            self._lose(sock)
        elif number not in self._partial and is_expected(data, self._expected):
            self._finish(number, sock, due)
        else:
            self._gather(number, data)

    def _gather(self, number: int, data: bytes) -> None:
        """The slow way: an answer in several pieces, or not the expected one."""
        gathered = self._partial.setdefault(number, bytearray())
        gathered += data
        length = message_length(gathered)
        if length is None or len(gathered) < length:
            return
        del self._partial[number]
        sock, due = self._busy[number]
        if not is_expected(gathered, self._expected):
            self.outcome.unequal += 1
        self._finish(number, sock, due)

    def _finish(self, number: int, sock: socket.socket, due: int) -> None:
        del self._busy[number]
        self.outcome.answered += 1
        self.outcome.latencies_ns.append(time.monotonic_ns() - due)
        self._free.append(sock)

    def _lose(self, sock: socket.socket) -> None:
        self.outcome.failed += 1
        self._partial.pop(sock.fileno(), None)
        self._poll.unregister(sock.fileno())
        sock.close()
        replacement = connect(self.order)
        self._poll.register(replacement.fileno(), select.EPOLLIN)
        self._free.append(replacement)

    def _forget_closed(self, number: int) -> None:
        """A connection that spoke or closed while it was free: replace it, nothing was lost."""
        for sock in self._free:
            if sock.fileno() == number:
                self._free.remove(sock)
                self._poll.unregister(number)
                sock.close()
                replacement = connect(self.order)
                self._poll.register(replacement.fileno(), select.EPOLLIN)
                self._free.append(replacement)
                return


def connect(order: Order) -> socket.socket:
    """A non-blocking connection to this machine."""
    if order.socket is not None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(CONNECT_S)
        sock.connect(order.socket)
    else:
        sock = socket.create_connection(("127.0.0.1", order.port), timeout=CONNECT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    return sock


def is_open(sock: socket.socket) -> bool:
    """Whether a resting connection is still good; one the other side has ended is closed here."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        pass
    sock.close()
    return False


class Connections:
    """Keep-alive connections kept from order to order, by where they go."""

    def __init__(self) -> None:
        self._kept: dict[int | str, list[socket.socket]] = {}

    def run(self, order: Order) -> Outcome:
        """Carry one order out on kept connections, opening what is missing."""
        kept = [sock for sock in self._kept.pop(order.target(), []) if is_open(sock)]
        while len(kept) > order.connections:
            kept.pop().close()
        while len(kept) < order.connections:
            kept.append(connect(order))
        run = Run(order, kept)
        self._kept[order.target()] = run.carry_out()
        return run.outcome


def main() -> None:
    """Carry out orders from standard input, one a line, until it ends."""
    # Without this, the kernel may be 50 µs late for every paced request.
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    connections = Connections()
    for line in sys.stdin:
        try:
            answer = connections.run(Order(**json.loads(line))).summed_up()
        except OSError as problem:
            answer = {"problem": str(problem)}  # type: ignore[dict-item]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
