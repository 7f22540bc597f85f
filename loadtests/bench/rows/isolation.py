"""Champion p99 with a broken challenger beside p99 with none, at a fixed rate, every byte
compared.

Each kind has a gateway of its own, all running at once and at rest outside their turn, so that
one kind's leftovers (an open breaker, a flood being read) are never in another kind's turn, nor
in the baseline's.
"""

from __future__ import annotations

from statistics import median

from loadtests.bench import subjects
from loadtests.bench.drive import interleave, rest
from loadtests.bench.findings import Finding, Measure, Series
from loadtests.bench.load import Order, Outcome
from loadtests.bench.rows import Bench

ROW = "champion p99"
KINDS = ("hung", "reset", "error", "flood")
NONE = "no challenger"
CONNECTIONS = 16
RATE = 1000.0
ALLOWED_SHARE = 0.05
ALLOWED_US = 1000.0


def measure(bench: Bench) -> list[Finding]:
    """One finding a kind of breakage, and the bytes of all of them."""
    champion = subjects.backend(bench.stage, "champion", "static")["static"]
    broken = subjects.backend(bench.stage, "broken", *KINDS)
    plain = subjects.tiltyard(bench.stage, bench.tools, "tiltyard-plain", {"champion": champion})
    gateways = {NONE: plain}
    for kind in KINDS:
        ports = {"champion": champion, "challenger": broken[kind]}
        gateways[kind] = subjects.tiltyard(bench.stage, bench.tools, "tiltyard-shadow", ports)

    def turn(name: str) -> Outcome:
        rest(gateways[name])
        order = Order(gateways[name].port, CONNECTIONS, bench.effort.turn_s, RATE)
        outcome = bench.generator.run(order)
        rest(gateways[name])
        return outcome

    outcomes = interleave(list(gateways), bench.effort.rounds, turn)
    baseline = Series.of(NONE, [outcome.p99_us for outcome in outcomes[NONE]])
    limit = max(ALLOWED_US, ALLOWED_SHARE * median(baseline.values))
    findings = [beside(kind, outcomes[kind], baseline, limit) for kind in KINDS]
    lost = [
        float(sum(outcomes[kind][number].failed + outcomes[kind][number].unequal for kind in KINDS))
        for number in range(bench.effort.rounds)
    ]
    return [
        *findings,
        Finding(ROW, "answers lost or unequal", Series.of("all kinds", lost), limit=0),
    ]


def beside(kind: str, outcomes: list[Outcome], baseline: Series, limit: float) -> Finding:
    """What a broken challenger adds to the champion's p99, round by round."""
    ours = Series.of(f"{kind} challenger", [outcome.p99_us for outcome in outcomes])
    return Finding(ROW, "µs", ours, baseline, Measure.DIFFERENCE, limit)
