"""Challenger call, comparison and stored pair, all processes, per pair kept, beside mirrors that
throw answers away.

Tiltyard works at the highest steady rate at which it keeps its pairs (it drops, and counts, what
it cannot do, so a closed loop would measure dropping). The mirrors are measured twice: saturated,
which is their cheapest and what is judged, and at Tiltyard's rate, which is what they would cost
for the same work.

Tiltyard's turns are longer than the mirrors': the control process takes pairs over every five
seconds, so in a full run each turn has it at work beside the load. What is still to be rolled
after a turn is rolled before its CPU is read (`loadtests.bench.pairs`).
"""

from __future__ import annotations

from loadtests.bench import subjects
from loadtests.bench.drive import WARM_UP_S, Turn, interleave
from loadtests.bench.findings import Finding, Series, ratio
from loadtests.bench.load import Order
from loadtests.bench.pairs import (
    CONNECTIONS,
    KEPT_AT_LEAST,
    Rounds,
    Shadowed,
    at_a_held_rate,
    sustainable_rate,
    whole_turn,
)
from loadtests.bench.rate_search import FIRST_RATE
from loadtests.bench.rows import Bench, faults
from loadtests.bench.subjects import Subject

ROW = "call, compare, store"
NGINX_LIMIT = 1.0
LONGER = 2.5
"""Tiltyard's turn over a mirror's: 5 s in a full run."""


def measure(bench: Bench) -> list[Finding]:
    """Tiltyard per pair kept, against nginx and Envoy per request mirrored."""
    ports = {
        "champion": subjects.backend(bench.stage, "champion", "static")["static"],
        "challenger": subjects.backend(bench.stage, "challenger", "static")["static"],
    }
    ours = subjects.tiltyard(bench.stage, bench.tools, "tiltyard-pairs", ports)
    mirrors = [
        subjects.nginx(bench.stage, bench.tools, "nginx-mirror", ports),
        subjects.envoy(bench.stage, bench.tools, "envoy-mirror", ports),
    ]
    rivals = {rival.name: rival for rival in mirrors if rival}
    for rival in rivals.values():
        bench.generator.run(Order(rival.port, CONNECTIONS, WARM_UP_S))
    bench.generator.run(Order(ours.port, CONNECTIONS, WARM_UP_S, FIRST_RATE))
    wished = sustainable_rate(bench, ours)
    rounds = at_a_held_rate(lambda rate: measured(bench, ours, rivals, rate), wished)
    pair_cost = Series.of("tiltyard, all", [s.us_per_pair() for s in rounds.shadowed])
    costs = {name: [t.us_per_request() for t in turns] for name, turns in rounds.turns.items() if name != ours.name}
    return [
        *against(pair_cost, [Series.of(name, spent) for name, spent in costs.items()]),
        *shares(ours, rounds.shadowed, rounds.rate, wished),
        faults(ROW, rounds.turns[ours.name]),
    ]


def measured(bench: Bench, ours: Subject, rivals: dict[str, Subject], rate: float) -> Rounds:
    """Every round of every subject, Tiltyard and one half of the mirrors' turns at this rate."""
    orders: dict[str, tuple[Subject, float | None]] = {}
    for name, rival in rivals.items():
        orders |= {f"{name}, saturated": (rival, None), f"{name}, same rate": (rival, rate)}
    shadowed: list[Shadowed] = []

    def turn(name: str) -> Turn:
        if name == ours.name:
            shadowed.append(whole_turn(bench, ours, rate, LONGER * bench.effort.turn_s))
            return shadowed[-1].turn
        rival, pace = orders[name]
        return bench.generator.turn(rival, Order(rival.port, CONNECTIONS, bench.effort.turn_s, pace))

    return Rounds(rate, interleave([ours.name, *orders], bench.effort.rounds, turn), shadowed)


def against(pair_cost: Series, costs: list[Series]) -> list[Finding]:
    """The pair beside each mirror; judged against nginx at its cheapest."""
    judged = {"nginx mirror, saturated": NGINX_LIMIT}
    return [ratio(ROW, pair_cost, cost, judged.get(cost.name)) for cost in costs]


def shares(ours: Subject, shadowed: list[Shadowed], rate: float, wished: float) -> list[Finding]:
    """How many pairs were kept, and where the CPU went."""
    kept = Series.of(f"at {rate:,.0f}/s", [s.kept() for s in shadowed])
    note = f"too few were kept at {wished:,.0f}/s" if rate < wished else ""
    findings = [Finding(ROW, "of pairs kept", kept, limit=KEPT_AT_LEAST, at_least=True, note=note)]
    unbalanced = [float(not s.counted.adds_up()) for s in shadowed]
    identity = Series.of("tiltyard", unbalanced)
    findings.append(Finding(ROW, "rounds whose counts do not add up", identity, limit=0))
    for title in ("worker", "shadow", "control"):
        pids = ours.pids(f"tiltyard: {title}")
        spent = [s.turn.us_per_request(pids) for s in shadowed]
        findings.append(Finding(ROW, "µs CPU", Series.of(title, spent)))
    return findings
