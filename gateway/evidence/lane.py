"""One challenger's lane: its queue, its bounds, its breaker, and the calls in flight.

A lane is all that one challenger can use up: a challenger that hangs fills its own lane, and no one else's. Every job
that enters leaves by exactly one way out, and that way is counted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.flow import Flow
from gateway.core.offer import Offer
from gateway.core.snapshot import Challenger, Model
from gateway.evidence.compare import Comparator
from gateway.evidence.facts import Facts
from gateway.evidence.ledger import Account
from gateway.evidence.sequences import Sequences
from gateway.http1.client import ClientConnection
from gateway.http1.deadlines import NEVER
from gateway.http1.errors import DeadlineExceeded
from gateway.upstream.breaker import Breaker
from gateway.upstream.pool import Pool
from gateway.upstream.replicas import Replicas


@dataclass(frozen=True, slots=True)
class Plan:
    """One challenger under one snapshot: what every offer on a route is done by."""

    snapshot_id: str
    model: Model
    challenger: Challenger
    comparator: Comparator
    replicas: Replicas
    lane: Lane
    max_age_s: float


class Job:
    """One request for one challenger. Holds the connection of its call (upstream.call.Caller)."""

    __slots__ = ("connection", "deadline", "facts", "flow", "offer", "plan", "pool", "size", "started")

    def __init__(self, offer: Offer, plan: Plan, facts: Facts):
        self.offer = offer
        self.plan = plan
        self.facts = facts
        self.size = len(offer.body) + len(offer.answer) + len(offer.fields)
        self.started = 0.0
        self.deadline = NEVER
        self.flow: Flow | None = None
        self.pool: Pool | None = None
        self.connection: ClientConnection | None = None

    def expire(self, now: float) -> None:
        """The challenger's time is over."""
        self.deadline = NEVER
        if self.flow is not None:
            self.flow.throw(DeadlineExceeded("the challenger did not answer in its time"))


class Budget:
    """Bytes that all lanes together may hold in their queues."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int):
        self.limit = limit
        self.used = 0


class Lane:
    """The lane of one challenger of one model."""

    __slots__ = ("_budget", "_held", "_launch", "_queue", "_queued_bytes", "account", "breaker", "running", "sequences")

    def __init__(self, account: Account, launch: Callable[[Job], None], budget: Budget):
        self.account = account
        self.breaker = Breaker()
        self.sequences = Sequences()
        self.running: set[Job] = set()
        self._launch = launch
        self._budget = budget
        self._queue: deque[Job] = deque()
        self._queued_bytes = 0
        self._held: dict[str, deque[Job]] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing is queued, held or in flight."""
        return not (self.running or self._queue or self._held)

    def enter(self, job: Job) -> None:
        """Send the job, queue it, or skip it."""
        settings = job.plan.challenger.settings
        broken = self.sequences.broken(job.facts.sequence, job.facts.starts)
        if broken:
            self.skip(job, broken)
        elif self._overdue(job):
            self.skip(job, "expired")
        elif not self._queue and len(self.running) < settings.concurrency and not self._waits_for_its_turn(job):
            self._send(job)
        elif not settings.queue_items:
            self.skip(job, "concurrency")
        elif len(self._queue) >= settings.queue_items:
            self.skip(job, "queue_full")
        elif self._queued_bytes + job.size > settings.queue_bytes or self._budget.used + job.size > self._budget.limit:
            self.skip(job, "queue_bytes")
        else:
            self._queue.append(job)
            self._hold(job.size)

    def ended(self, job: Job) -> None:
        """A call is over: the next may start."""
        sequence = job.facts.sequence
        self.running.discard(job)
        self.sequences.end(sequence)
        held = self._held.get(sequence)
        if held:
            self._queue.appendleft(held.popleft())
            if not held:
                del self._held[sequence]
        self._pump()

    def skip(self, job: Job, reason: str) -> None:
        """The challenger does not see this request."""
        self.account.add(f"skipped_{reason}")
        self.sequences.break_off(job.facts.sequence, reason)

    def empty(self, reason: str) -> None:
        """Skip everything that waits."""
        waiting = [*self._queue, *(job for held in self._held.values() for job in held)]
        self._queue.clear()
        self._held.clear()
        for job in waiting:
            self._hold(-job.size)
            self.skip(job, reason)

    def _pump(self) -> None:
        queue = self._queue
        while queue and len(self.running) < queue[0].plan.challenger.settings.concurrency:
            job = queue.popleft()
            sequence = job.facts.sequence
            if self._waits_for_its_turn(job):
                self._held.setdefault(sequence, deque()).append(job)
                continue
            self._hold(-job.size)
            broken = self.sequences.broken(sequence, False)
            if broken:
                self.skip(job, broken)
            elif self._overdue(job):
                self.skip(job, "expired")
            else:
                self._send(job)

    def _send(self, job: Job) -> None:
        if not self.breaker.allows(time.monotonic()):
            self.skip(job, "breaker_open")
            return
        self.running.add(job)
        self.sequences.begin(job.facts.sequence)
        self._launch(job)

    def _waits_for_its_turn(self, job: Job) -> bool:
        return self.sequences.busy(job.facts.sequence)

    def _hold(self, size: int) -> None:
        self._queued_bytes += size
        self._budget.used += size

    @staticmethod
    def _overdue(job: Job) -> bool:
        """Whether the offer is so old that the challenger would be asked about another time."""
        return time.time() - job.offer.started_us / 1e6 > job.plan.max_age_s
