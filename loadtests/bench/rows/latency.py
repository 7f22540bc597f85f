"""Added latency at one connection over calling the backend directly: paced requests, one at a
time.

Paced, because that is how one client calls; a closed loop keeps caches warmer than any client
does. Direct calls and every subject take turns in each round, and what is judged is the
difference of their medians in that round.
"""

from __future__ import annotations

from loadtests.bench import subjects
from loadtests.bench.drive import WARM_UP_S, interleave
from loadtests.bench.findings import Finding, Measure, Series
from loadtests.bench.load import Order, Outcome
from loadtests.bench.rows import Bench

ROW = "added latency, 1 connection"
RATE = 1000.0
P50_LIMIT_US = 150.0
DIRECT = "direct"


def measure(bench: Bench) -> list[Finding]:
    """p50 and p99 over the direct call, for Tiltyard and, as context, for its rivals."""
    backend = subjects.backend(bench.stage, "backend", "static")["static"]
    port = {"champion": backend}
    measured = [
        subjects.tiltyard(bench.stage, bench.tools, "tiltyard-plain", port),
        subjects.nginx(bench.stage, bench.tools, "nginx-plain", port),
        subjects.envoy(bench.stage, bench.tools, "envoy-plain", port),
    ]
    ports = {DIRECT: backend} | {subject.name: subject.port for subject in measured if subject}
    for listening in ports.values():
        bench.generator.run(Order(listening, 1, WARM_UP_S))

    def turn(name: str) -> Outcome:
        return bench.generator.run(Order(ports[name], 1, bench.effort.turn_s, RATE))

    outcomes = interleave(list(ports), bench.effort.rounds, turn)
    findings: list[Finding] = []
    for name in ports:
        if name == DIRECT:
            continue
        limit = P50_LIMIT_US if name == "tiltyard" else None
        findings.append(added("p50", outcomes[name], outcomes[DIRECT], name, limit))
        findings.append(added("p99", outcomes[name], outcomes[DIRECT], name, None))
    return findings


def added(which: str, through: list[Outcome], direct: list[Outcome], name: str, limit: float | None) -> Finding:
    """One quantile of a subject over that of the direct call, round by round."""
    return Finding(
        f"{ROW}, {which}",
        "µs",
        Series.of(name, [_quantile(outcome, which) for outcome in through]),
        Series.of(DIRECT, [_quantile(outcome, which) for outcome in direct]),
        Measure.DIFFERENCE,
        limit,
    )


def _quantile(outcome: Outcome, which: str) -> float:
    return outcome.p50_us if which == "p50" else outcome.p99_us
