"""The built-in ONNX server on a real model, called directly on its socket: the demo's
gradient-boosted trees.

One real flight a request. Closed loop over 1 and 16 connections, batching on and off, one gateway
each; the CPU is that of the model process alone. Context, not judged: nothing beside it does the
same.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from loadtests.bench import subjects
from loadtests.bench.drive import WARM_UP_S, Turn, interleave
from loadtests.bench.findings import Finding, Series
from loadtests.bench.load import Order
from loadtests.bench.processes import BenchError, wait_until
from loadtests.bench.rows import Bench
from loadtests.bench.subjects import Subject
from loadtests.bench.wire import infer_path

ROW = "ONNX server"
BATCHES = {"batching off": 1, "batching on": 16}
CONNECTIONS = (1, 16)
WHOLE_PATH = "through the gateway"


@dataclass(frozen=True, slots=True)
class Served:
    """One gateway with its model, the socket of its model server, and the answer to expect."""

    gateway: Subject
    socket: str
    answer: str


def measure(bench: Bench) -> list[Finding]:
    """Requests per second, CPU and latency of each way to run it."""
    flight = a_flight()
    served = {name: serve(bench, batch, flight) for name, batch in BATCHES.items()}
    cases: dict[str, tuple[Served, int, str | None]] = {
        f"{name}, {count} conn.": (served[name], count, served[name].socket) for name in served for count in CONNECTIONS
    }
    with_batches = served["batching on"]
    cases[f"{WHOLE_PATH}, {CONNECTIONS[-1]} conn."] = (with_batches, CONNECTIONS[-1], None)

    def turn(name: str, seconds: float = bench.effort.turn_s / 2) -> Turn:
        model, count, socket = cases[name]
        order = Order(model.gateway.port, count, seconds, None, infer_path(), flight, model.answer, socket)
        return bench.generator.turn(model.gateway, order)

    for name in cases:
        turn(name, WARM_UP_S)
    turns = interleave(list(cases), bench.effort.rounds, turn)
    return [finding(name, cases[name][0].gateway, turns[name]) for name in cases]


def finding(name: str, gateway: Subject, turns: list[Turn]) -> Finding:
    """CPU per request, with the rate and the latencies beside it."""
    rate = median(turn.outcome.answered / turn.outcome.seconds for turn in turns)
    p50 = median(turn.outcome.p50_us for turn in turns)
    p99 = median(turn.outcome.p99_us for turn in turns)
    wrong = sum(turn.outcome.failed + turn.outcome.unequal for turn in turns)
    note = f"{rate:,.0f} requests/s, p50 {p50:,.0f} µs, p99 {p99:,.0f} µs, {wrong} wrong"
    pids = None if name.startswith(WHOLE_PATH) else gateway.pids("tiltyard: model")
    who = "all processes" if pids is None else "model process"
    spent = Series.of(who, [turn.us_per_request(pids) for turn in turns])
    return Finding(f"{ROW}, {name}", "µs CPU", spent, note=note)


def a_flight() -> str:
    """The first held-out flight of the demo as the request a client sends."""
    from gateway.demo.flights import read_flights

    return next(iter(read_flights())).request_body().decode()


def serve(bench: Bench, batch: int, flight: str) -> Served:
    """A gateway whose only model is the demo's second version."""
    gateway = subjects.tiltyard(bench.stage, bench.tools, "tiltyard-onnx", {"batch": batch}, request_body=flight)
    record_file = bench.stage.directory / f"state-{gateway.port}" / "gateway.json"
    wait_until(record_file.exists, gateway.started, f"no {record_file.name}")
    record = json.loads(record_file.read_text())
    sockets = list(Path(record["runtime_directory"]).glob("model-*.sock"))
    if len(sockets) != 1:
        raise BenchError(f"{len(sockets)} model sockets in {record['runtime_directory']}, not one")
    return Served(gateway, str(sockets[0]), answer_to(gateway.port, flight))


def answer_to(port: int, body: str) -> str:
    """What the model says, to compare every answer with."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", infer_path(), body, {"content-type": "application/json"})
        return connection.getresponse().read().decode()
    finally:
        connection.close()
