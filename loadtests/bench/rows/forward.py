"""Plain forward: what one proxied request costs, saturated over 32 keep-alive connections."""

from __future__ import annotations

from loadtests.bench import subjects
from loadtests.bench.drive import WARM_UP_S, Turn, interleave
from loadtests.bench.findings import Finding, Series, ratio
from loadtests.bench.load import Order
from loadtests.bench.rows import Bench, faults

ROW = "plain forward"
CONNECTIONS = 32
NGINX_LIMIT = 1.6
ENVOY_LIMIT = 0.6


def measure(bench: Bench) -> list[Finding]:
    """Worker and whole tree against nginx and Envoy."""
    port = {"champion": subjects.backend(bench.stage, "backend", "static")["static"]}
    ours = subjects.tiltyard(bench.stage, bench.tools, "tiltyard-plain", port)
    rivals = {
        "nginx": subjects.nginx(bench.stage, bench.tools, "nginx-plain", port),
        "envoy": subjects.envoy(bench.stage, bench.tools, "envoy-plain", port),
    }
    all_subjects = {"tiltyard": ours} | {name: rival for name, rival in rivals.items() if rival}
    for subject in all_subjects.values():
        bench.generator.run(Order(subject.port, CONNECTIONS, WARM_UP_S))

    def turn(name: str) -> Turn:
        subject = all_subjects[name]
        return bench.generator.turn(subject, Order(subject.port, CONNECTIONS, bench.effort.turn_s))

    turns = interleave(list(all_subjects), bench.effort.rounds, turn)
    workers = ours.pids("tiltyard: worker")
    worker = Series.of("tiltyard worker", [turn.us_per_request(workers) for turn in turns["tiltyard"]])
    tree = Series.of("tiltyard, all", [turn.us_per_request() for turn in turns["tiltyard"]])
    costs = {
        name: Series.of(all_subjects[name].name, [t.us_per_request() for t in turns[name]]) for name in all_subjects
    }
    limits = {"nginx": NGINX_LIMIT, "envoy": ENVOY_LIMIT}
    findings = [
        ratio(ROW, ours, costs[name], limit)
        for ours in (worker, tree)
        for name, limit in limits.items()
        if name in costs
    ]
    rates = Series.of("tiltyard", [turn.outcome.answered / turn.outcome.seconds for turn in turns["tiltyard"]])
    return [*findings, Finding(ROW, "requests/s", rates), faults(ROW, turns["tiltyard"])]
