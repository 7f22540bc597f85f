"""Added latency at one connection over calling the backend directly, one request at a time.

Judged in a closed loop: the next request leaves when the answer is in. Requests at a fixed rate
are shown beside it: between them caches cool and cores fall asleep, so every hop costs a wake-up
more, whoever makes it. Direct calls and every subject take turns in each round, and the number is
the difference of their quantiles in that round.
"""

from __future__ import annotations

from loadtests.bench import subjects
from loadtests.bench.drive import WARM_UP_S, interleave
from loadtests.bench.findings import Finding, Measure, Series
from loadtests.bench.load import Order, Outcome
from loadtests.bench.rows import Bench

ROW = "added latency, 1 connection"
PACED, CLOSED = "1,000/s", "closed loop"
RATES = {PACED: 1000.0, CLOSED: None}
P50_LIMIT_US = 150.0
DIRECT = "direct"
Outcomes = dict[str, list[Outcome]]


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
    return [finding for pace in RATES for finding in at_pace(bench, ports, pace)]


def at_pace(bench: Bench, ports: dict[str, int], pace: str) -> list[Finding]:
    """All subjects at one pace; only the closed-loop median of Tiltyard is judged."""

    def turn(name: str) -> Outcome:
        return bench.generator.run(Order(ports[name], 1, bench.effort.turn_s / len(RATES), RATES[pace]))

    outcomes = interleave(list(ports), bench.effort.rounds, turn)
    findings: list[Finding] = []
    for name in ports:
        if name != DIRECT:
            judged = P50_LIMIT_US if (name, pace) == ("tiltyard", CLOSED) else None
            row = f"{ROW}, {pace}"
            findings.append(added(f"{row}, p50", [o.p50_us for o in outcomes[name]], outcomes, name, judged))
            findings.append(added(f"{row}, p99", [o.p99_us for o in outcomes[name]], outcomes, name, None))
    return findings


def added(row: str, values: list[float], outcomes: Outcomes, name: str, limit: float | None) -> Finding:
    """One quantile of a subject over that of the direct call, round by round."""
    direct = [outcome.p50_us if row.endswith("p50") else outcome.p99_us for outcome in outcomes[DIRECT]]
    return Finding(row, "µs", Series.of(name, values), Series.of(DIRECT, direct), Measure.DIFFERENCE, limit)
