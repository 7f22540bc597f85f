"""Tiltyard at work on pairs: one metered turn with its whole bill, and the highest steady rate at which it keeps them.

Stored pairs are rolled into Parquet by the control process, later and a segment at a time: left to chance, a turn would
bear several segments or none. So the journal is empty before a measured turn, and whatever the control process uses
until it is empty again is in that turn's bill. That other processes idle meanwhile is not. The bench's configuration
closes a segment after a second instead of a minute, or each turn would wait that long; rolling small segments costs as
much as rolling full ones (6 to 8 µs a pair from 2,750 to 22,000 pairs a segment).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from loadtests.bench import cpu, report
from loadtests.bench.drive import Turn, rest
from loadtests.bench.load import Order
from loadtests.bench.processes import BenchError, wait_until
from loadtests.bench.rate_search import RateSearch
from loadtests.bench.report import Accounting
from loadtests.bench.rows import Bench
from loadtests.bench.subjects import Subject

CONNECTIONS = 32
CHALLENGER = "2"
KEPT_AT_LEAST = 0.99
PACE_AT_LEAST = 0.97
"""Of the asked rate: what is answered more slowly than this was not a steady rate."""
SHORTEST_TRIAL_S = 0.7
LONGEST_TRIAL_S = 1.0
ROLLED_WITHIN_S = 30.0
LOWERING = 0.9
MOST_LOWERINGS = 2


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

    def pace(self, rate: float) -> float:
        """The rate at which answers came, as a share of the one asked for; 0 when not all could be sent."""
        outcome = self.turn.outcome
        return 0.0 if outcome.unsent else outcome.answered / outcome.seconds / rate


def is_held(kept: float, pace: float) -> bool:
    """Whether a rate is one at which pairs are kept and nothing piles up."""
    return kept >= KEPT_AT_LEAST and pace >= PACE_AT_LEAST


@dataclass(frozen=True, slots=True)
class Rounds:
    """All measured turns at one rate, by subject, and Tiltyard's own with their pairs."""

    rate: float
    turns: dict[str, list[Turn]]
    shadowed: list[Shadowed]

    def hold(self) -> bool:
        """Whether the median round held the rate."""
        return is_held(median(s.kept() for s in self.shadowed), median(s.pace(self.rate) for s in self.shadowed))


def at_a_held_rate(measure: Callable[[float], Rounds], rate: float) -> Rounds:
    """Rounds at this rate or, where trials promised more than rounds keep, at one a little lower."""
    rounds = measure(rate)
    for _ in range(MOST_LOWERINGS):
        if rounds.hold():
            break
        rounds = measure(rounds.rate * LOWERING)
    return rounds


def sustainable_rate(bench: Bench, ours: Subject) -> float:
    """The highest steady rate at which short trials kept their pairs, less a little."""
    seconds = min(max(bench.effort.turn_s, SHORTEST_TRIAL_S), LONGEST_TRIAL_S)
    search = RateSearch()
    while not search.is_over():
        trial = shadow_turn(bench, ours, search.rate, seconds)
        if not trial.counted.stored:
            raise BenchError(f"no pair was stored: {trial.counted}. The gateway's last words:\n{ours.started.said()}")
        search = search.after(is_held(trial.kept(), trial.pace(search.rate)))
    rate = search.result()
    if rate is None:
        raise BenchError(f"pairs were kept at no rate down to {search.rate:,.0f}/s")
    return rate


def shadow_turn(bench: Bench, ours: Subject, rate: float, seconds: float) -> Shadowed:
    """One metered turn, with the report read before and after it; what is rolled meanwhile is left to chance."""
    before = report.accounting(ours, CHALLENGER)
    turn = bench.generator.turn(ours, Order(ours.port, CONNECTIONS, seconds, rate))
    return Shadowed(turn, report.accounting(ours, CHALLENGER).since(before))


def whole_turn(bench: Bench, ours: Subject, rate: float, seconds: float) -> Shadowed:
    """One metered turn with the rolling of exactly its own pairs."""
    roll_out(bench, ours)
    shadowed = shadow_turn(bench, ours, rate, seconds)
    return Shadowed(shadowed.turn.and_later(roll_out(bench, ours)), shadowed.counted)


def roll_out(bench: Bench, ours: Subject) -> dict[int, int]:
    """Wait until every stored pair is in Parquet; the CPU nanoseconds of the control process until then."""
    journal = bench.stage.directory / f"state-{ours.port}" / "journal"
    before = cpu.read(ours.started.pid)
    wait_until(
        lambda: not any(journal.glob("pairs-*.open")) and not any(journal.glob("pairs-*.log")),
        ours.started,
        "its journal was not rolled",
        ROLLED_WITHIN_S,
    )
    rest(ours)
    spent = cpu.read(ours.started.pid).since(before)
    return {pid: spent[pid] for pid in ours.pids("tiltyard: control")}
