"""The bench's side of the load generator, and the two ways of measuring with it: CPU per request,
and latency.

A turn is one order against one subject. CPU is read before and after it, and counts only when the
subject is at rest again, so that work done after the answer (a mirrored request, a stored pair)
is in the same turn's bill.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import IO, TypeVar, cast

from loadtests.bench import cpu
from loadtests.bench.load import Order, Outcome
from loadtests.bench.processes import ENDS_CORE, REPOSITORY, BenchError, Stage, bound_to
from loadtests.bench.subjects import Subject

WARM_UP_S = 0.5
REST_WINDOW_S = 0.1
REST_SHARE = 0.05
REST_WITHIN_S = 8.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: rounds, and seconds a turn."""

    rounds: int
    turn_s: float


@dataclass(frozen=True, slots=True)
class Turn:
    """What one order cost: CPU nanoseconds by process id, and what came back."""

    outcome: Outcome
    cpu_ns: dict[int, int]

    def us_per_request(self, pids: Sequence[int] | None = None) -> float:
        """CPU microseconds an answered request took, in these processes or in all."""
        spent = sum(ns for pid, ns in self.cpu_ns.items() if pids is None or pid in pids)
        return spent / 1000 / max(1, self.outcome.answered)

    def and_later(self, cpu_ns: dict[int, int]) -> Turn:
        """The same turn with what it made processes do after it."""
        return replace(self, cpu_ns={pid: ns + cpu_ns.get(pid, 0) for pid, ns in self.cpu_ns.items()})


class Generator:
    """The load generator's process on the second core."""

    def __init__(self, stage: Stage) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loadtests.bench.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            text=True,
            start_new_session=True,
            preexec_fn=bound_to(ENDS_CORE),  # noqa: PLW1509 - this process has one thread
        )
        self._orders = cast("IO[str]", self._process.stdin)
        self._results = cast("IO[str]", self._process.stdout)
        stage.also_close(self._close)

    def run(self, order: Order) -> Outcome:
        """Carry one order out."""
        self._orders.write(json.dumps(asdict(order)) + "\n")
        self._orders.flush()
        answer = json.loads(self._results.readline() or '{"problem": "the load generator ended"}')
        if "problem" in answer:
            raise BenchError(f"load on port {order.port}: {answer['problem']}")
        return Outcome(**answer)

    def turn(self, subject: Subject, order: Order) -> Turn:
        """Carry one order out against a resting subject; meter it until it rests again."""
        rest(subject)
        before = cpu.read(subject.started.pid)
        outcome = self.run(order)
        rest(subject)
        return Turn(outcome, cpu.read(subject.started.pid).since(before))

    def _close(self) -> None:
        self._orders.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._results.close()


def rest(subject: Subject) -> None:
    """Wait until the subject has next to nothing left to do."""
    deadline = time.monotonic() + REST_WITHIN_S
    while time.monotonic() < deadline:
        before, since = cpu.read(subject.started.pid), time.monotonic()
        time.sleep(REST_WINDOW_S)
        spent = sum(cpu.read(subject.started.pid).since(before).values())
        if spent / 1e9 < REST_SHARE * (time.monotonic() - since):
            return


def interleave(names: Sequence[str], rounds: int, turn: Callable[[str], T]) -> dict[str, list[T]]:
    """Every subject once a round, in another order each round: drift of the machine hits all."""
    results: dict[str, list[T]] = {name: [] for name in names}
    for number in range(rounds):
        start = number % len(names)
        for name in (*names[start:], *names[:start]):
            results[name].append(turn(name))
    return results
