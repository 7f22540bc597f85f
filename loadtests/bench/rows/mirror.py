"""Challenger call, comparison and stored pair, all processes, per pair kept, beside mirrors that
throw answers away.

Tiltyard works at the highest steady rate at which it keeps its pairs (it drops, and counts, what
it cannot do, so a closed loop would measure dropping). The mirrors are measured twice: saturated,
which is their cheapest and what is judged, and at Tiltyard's rate, which is what they would cost
for the same work.
"""

from __future__ import annotations

from dataclasses import dataclass

from loadtests.bench import report, subjects
from loadtests.bench.drive import WARM_UP_S, Turn, interleave
from loadtests.bench.findings import Finding, Series, ratio
from loadtests.bench.load import Order
from loadtests.bench.processes import BenchError
from loadtests.bench.report import Accounting
from loadtests.bench.rows import Bench, faults
from loadtests.bench.subjects import Subject

ROW = "call, compare, store"
CONNECTIONS = 32
CHALLENGER = "2"
NGINX_LIMIT = 1.0
KEPT_AT_LEAST = 0.99
FIRST_RATE = 2000.0
LOAD_FACTOR = 0.75
CALIBRATION_S = 0.7
CALIBRATION_STEPS = 4


@dataclass(frozen=True, slots=True)
class Shadowed:
    """One turn of Tiltyard and what became of its pairs."""

    turn: Turn
    counted: Accounting

    def us_per_pair(self) -> float:
        """CPU microseconds of all processes per stored pair."""
        return sum(self.turn.cpu_ns.values()) / 1000 / max(1, self.counted.stored)

    def kept(self) -> float:
        """The share of answered requests that became stored pairs."""
        return self.counted.stored / max(1, self.turn.outcome.answered)


def measure(bench: Bench) -> list[Finding]:
    """Tiltyard per pair kept, against nginx and Envoy per request mirrored."""
    ports = {
        "champion": subjects.backend(bench.stage, "champion", "static")["static"],
        "challenger": subjects.backend(bench.stage, "challenger", "static")["static"],
    }
    ours = subjects.tiltyard(bench.stage, bench.tools, "tiltyard-shadow", ports)
    mirrors = [
        subjects.nginx(bench.stage, bench.tools, "nginx-mirror", ports),
        subjects.envoy(bench.stage, bench.tools, "envoy-mirror", ports),
    ]
    rivals = {rival.name: rival for rival in mirrors if rival}
    for rival in rivals.values():
        bench.generator.run(Order(rival.port, CONNECTIONS, WARM_UP_S))
    rate = sustainable_rate(bench, ours)
    orders: dict[str, tuple[Subject, float | None]] = {}
    for name, rival in rivals.items():
        orders |= {f"{name}, saturated": (rival, None), f"{name}, same rate": (rival, rate)}
    shadowed: list[Shadowed] = []

    def turn(name: str) -> Turn:
        if name == ours.name:
            shadowed.append(shadow_turn(bench, ours, rate, bench.effort.turn_s))
            return shadowed[-1].turn
        rival, pace = orders[name]
        order = Order(rival.port, CONNECTIONS, bench.effort.turn_s, pace)
        return bench.generator.turn(rival, order)

    turns = interleave([ours.name, *orders], bench.effort.rounds, turn)
    costs = {name: Series.of(name, [t.us_per_request() for t in turns[name]]) for name in orders}
    return [
        *against(Series.of("tiltyard, all", [s.us_per_pair() for s in shadowed]), costs),
        *shares(ours, shadowed, rate),
        faults(ROW, turns[ours.name]),
    ]


def against(pair_cost: Series, costs: dict[str, Series]) -> list[Finding]:
    """The pair beside each mirror; judged against nginx at its cheapest."""
    judged = {"nginx mirror, saturated": NGINX_LIMIT}
    return [ratio(ROW, pair_cost, cost, judged.get(name)) for name, cost in costs.items()]


def shares(ours: Subject, shadowed: list[Shadowed], rate: float) -> list[Finding]:
    """How many pairs were kept, and where the CPU went."""
    kept = Series.of(f"at {rate:,.0f}/s", [s.kept() for s in shadowed])
    findings = [Finding(ROW, "of pairs kept", kept, limit=KEPT_AT_LEAST, at_least=True)]
    unbalanced = [float(not s.counted.adds_up()) for s in shadowed]
    identity = Series.of("tiltyard", unbalanced)
    findings.append(Finding(ROW, "rounds whose counts do not add up", identity, limit=0))
    for title in ("worker", "shadow"):
        pids = ours.pids(f"tiltyard: {title}")
        spent = [s.turn.us_per_request(pids) for s in shadowed]
        findings.append(Finding(ROW, "µs CPU", Series.of(title, spent)))
    return findings


def shadow_turn(bench: Bench, ours: Subject, rate: float, seconds: float) -> Shadowed:
    """One metered turn, with the report read before and after it."""
    before = report.accounting(ours, CHALLENGER)
    turn = bench.generator.turn(ours, Order(ours.port, CONNECTIONS, seconds, rate))
    return Shadowed(turn, report.accounting(ours, CHALLENGER).since(before))


def sustainable_rate(bench: Bench, ours: Subject) -> float:
    """A rate that keeps the core busy and every pair: from the cost at ever higher rates."""
    rate = FIRST_RATE
    for _ in range(CALIBRATION_STEPS):
        trial = shadow_turn(bench, ours, rate, CALIBRATION_S)
        if not trial.counted.stored:
            raise BenchError(f"no pair was stored: {trial.counted}. The gateway's last words:\n{ours.started.said()}")
        if trial.kept() < KEPT_AT_LEAST:
            return rate * LOAD_FACTOR
        rate = LOAD_FACTOR * 1e6 / trial.us_per_pair()
    return rate
