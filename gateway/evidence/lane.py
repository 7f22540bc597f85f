"""One challenger's lane: its queue, its bounds, its breaker, and the calls in flight.

A lane is all that one challenger can use up: a challenger that hangs fills its own lane, and no one else's. Every job
that enters leaves by exactly one way out, and that way is counted.

A job whose sequence is at the challenger just now steps aside (it is held) and lets others pass; held jobs count as
waiting, and come back to the front of the queue as soon as the one before them is over or skipped.
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
from gateway.evidence.sequences import Run, Sequences
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

    __slots__ = (
        "connection",
        "deadline",
        "facts",
        "flow",
        "offer",
        "outcome",
        "plan",
        "pool",
        "run",
        "size",
        "started",
    )

    def __init__(self, offer: Offer, plan: Plan, facts: Facts):
        self.offer = offer
        self.plan = plan
        self.facts = facts
        self.outcome = ""
        """What the call was counted as, once it is."""
        self.run: Run | None = None
        """The sequence it is part of."""
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

    __slots__ = ("_budget", "_clock", "_held", "_launch", "_pumping", "_queue", "_waiting", "_waiting_bytes", "account",
                 "breaker", "running", "sequences")  # fmt: skip

    def __init__(
        self,
        account: Account,
        launch: Callable[[Job], None],
        budget: Budget,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.account = account
        self.breaker = Breaker()
        self.sequences = Sequences()
        self.running: set[Job] = set()
        self._launch = launch
        self._budget = budget
        self._clock = clock
        self._queue: deque[Job] = deque()
        self._held: dict[str, deque[Job]] = {}
        self._waiting = 0
        self._waiting_bytes = 0
        self._pumping = False

    @property
    def idle(self) -> bool:
        """Whether nothing is queued, held or in flight."""
        return not (self.running or self._waiting)

    def enter(self, job: Job) -> None:
        """Send the job, queue it, or skip it."""
        settings = job.plan.challenger.settings
        facts = job.facts
        run = job.run = self.sequences.run(facts.sequence, facts.starts, job.offer.offered_us)
        if run is not None and run.broken:
            self.skip(job, run.broken)
        elif self._overdue(job):
            self.skip(job, "expired")
        elif not self._queue and len(self.running) < settings.concurrency and not self.sequences.busy(facts.sequence):
            self._send(job)
        elif self._waiting >= settings.queue_items:
            self.skip(job, "queue_full" if settings.queue_items else "concurrency")
        elif self._waiting_bytes + job.size > settings.queue_bytes or self._budget.used + job.size > self._budget.limit:
            self.skip(job, "queue_bytes")
        else:
            self._queue.append(job)
            self._wait(1, job.size)
            self._pump()

    def ended(self, job: Job) -> None:
        """A call is over: the next may start."""
        self.running.discard(job)
        self.sequences.end(job.facts.sequence)
        self._let_through(job.facts.sequence)
        self._pump()

    def skip(self, job: Job, reason: str) -> None:
        """The challenger does not see this request."""
        self.account.add(f"skipped_{reason}")
        if job.run is not None:
            job.run.break_off(reason)

    def empty(self, reason: str) -> None:
        """Skip everything that waits."""
        waiting = [*self._queue, *(job for held in self._held.values() for job in held)]
        self._queue.clear()
        self._held.clear()
        for job in waiting:
            self._wait(-1, -job.size)
            self.skip(job, reason)

    def _pump(self) -> None:
        """Send from the queue what can be sent. A call that is over at once must not lead in here once more."""
        if self._pumping:
            return
        self._pumping = True
        queue = self._queue
        while queue and len(self.running) < queue[0].plan.challenger.settings.concurrency:
            job = queue.popleft()
            sequence = job.facts.sequence
            if self.sequences.busy(sequence):
                self._held.setdefault(sequence, deque()).append(job)
                continue
            self._wait(-1, -job.size)
            if job.run is not None and job.run.broken:
                self.skip(job, job.run.broken)
            elif self._overdue(job):
                self.skip(job, "expired")
            else:
                self._send(job)
            if not self.sequences.busy(sequence):
                self._let_through(sequence)
        self._pumping = False

    def _let_through(self, sequence: str) -> None:
        """The next job held of a sequence comes before all that wait."""
        held = self._held.get(sequence)
        if held:
            self._queue.appendleft(held.popleft())
            if not held:
                del self._held[sequence]

    def _send(self, job: Job) -> None:
        if not self.breaker.allows(self._clock()):
            self.skip(job, "breaker_open")
            return
        self.running.add(job)
        self.sequences.begin(job.facts.sequence)
        self._launch(job)

    def _wait(self, jobs: int, size: int) -> None:
        self._waiting += jobs
        self._waiting_bytes += size
        self._budget.used += size

    def _overdue(self, job: Job) -> bool:
        """Whether the offer is so old that the challenger would be asked about another time."""
        return self._clock() - job.offer.offered_us / 1e6 > job.plan.max_age_s
