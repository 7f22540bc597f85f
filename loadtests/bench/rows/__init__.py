"""The rows of the table, one module each: `measure(bench)` starts what it needs and measures."""

from __future__ import annotations

from dataclasses import dataclass

from loadtests.bench.drive import Effort, Generator, Turn
from loadtests.bench.findings import Finding, Series
from loadtests.bench.processes import Stage
from loadtests.bench.tools import Tools


@dataclass(frozen=True, slots=True)
class Bench:
    """What a row works with: its stage (ended with the row), the tools, the load, how long."""

    stage: Stage
    tools: Tools
    generator: Generator
    effort: Effort


def faults(row: str, turns: list[Turn]) -> Finding:
    """Answers that were lost or were not the expected bytes: none may be."""
    counts = [float(turn.outcome.failed + turn.outcome.unequal) for turn in turns]
    return Finding(row, "answers lost or unequal", Series.of("tiltyard", counts), limit=0)
