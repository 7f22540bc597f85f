"""Memory: a worker that holds many connections, and a shadow process with four broken
challengers.

RSS is judged, PSS is printed beside it. The largest value seen while the load runs counts, not
the last one.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack

from loadtests.bench import cpu, subjects
from loadtests.bench.findings import Finding, Series
from loadtests.bench.load import Order
from loadtests.bench.processes import BenchError
from loadtests.bench.rows import Bench
from loadtests.bench.subjects import Subject
from loadtests.bench.wire import ANSWER_BODY, infer_path, request

IDLE = 1000
BUSY = 64
WORKER_LIMIT_MIB = 120.0
SHADOW_LIMIT_MIB = 256.0
SHADOW_RATE = 500.0
SHADOW_CONNECTIONS = 32
TURNS = 3
SAMPLE_S = 0.05
MIB = 1024 * 1024


class Peak:
    """The largest memory of one process while the block runs, sampled from a thread."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.rss = 0.0
        self.pss = 0.0

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_S):
            now = cpu.memory(self._pid)
            self.rss = max(self.rss, now.rss / MIB)
            self.pss = max(self.pss, now.pss / MIB)


def measure(bench: Bench) -> list[Finding]:
    """Worker first, then shadow, each on its own gateway."""
    port = {"champion": subjects.backend(bench.stage, "backend", "static")["static"]}
    return [*worker(bench, port), *shadow(bench, port)]


def worker(bench: Bench, port: dict[str, int]) -> list[Finding]:
    """One worker with idle keep-alive connections, each used once, beside busy ones."""
    ours = subjects.tiltyard(bench.stage, bench.tools, "tiltyard-plain", port)
    pid = only(ours, "tiltyard: worker")
    with ExitStack() as idle, Peak(pid) as peak:
        for _ in range(IDLE):
            idle.enter_context(used_once(ours.port))
        for _ in range(TURNS):
            bench.generator.run(Order(ours.port, BUSY, bench.effort.turn_s))
    row = f"worker memory, {IDLE} idle + {BUSY} busy"
    return judged(row, peak, WORKER_LIMIT_MIB)


def shadow(bench: Bench, port: dict[str, int]) -> list[Finding]:
    """The shadow process while four challengers hang, reset, fail and flood."""
    broken = subjects.backend(bench.stage, "broken", "hung", "reset", "error", "flood")
    ours = subjects.tiltyard(bench.stage, bench.tools, "tiltyard-four-broken", port | broken)
    pid = only(ours, "tiltyard: shadow")
    with Peak(pid) as peak:
        for _ in range(TURNS):
            order = Order(ours.port, SHADOW_CONNECTIONS, bench.effort.turn_s, SHADOW_RATE)
            bench.generator.run(order)
    return judged("shadow memory, four broken challengers", peak, SHADOW_LIMIT_MIB)


def judged(row: str, peak: Peak, limit: float) -> list[Finding]:
    """RSS against the limit, PSS as context."""
    return [
        Finding(row, "MiB RSS", Series("peak", (peak.rss,)), limit=limit),
        Finding(row, "MiB PSS", Series("peak", (peak.pss,))),
    ]


def only(subject: Subject, titled: str) -> int:
    """The one process with this title."""
    pids = subject.pids(titled)
    if len(pids) != 1:
        raise BenchError(f"{subject.name}: {len(pids)} processes are titled {titled!r}, not one")
    return pids[0]


def used_once(port: int) -> socket.socket:
    """A keep-alive connection that has had one answer and rests now."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=5)
    sock.sendall(request(infer_path()))
    received, deadline = b"", time.monotonic() + 5
    while not received.endswith(ANSWER_BODY) and time.monotonic() < deadline:
        received += sock.recv(65536)
    return sock
