"""Which requests share a run: dynamic micro-batching. Decisions only: `execution` runs, `runner`
says when.

Requests are batched row by row along the first dimension, only with requests of the same signature
(the same other dimensions, the same outputs wanted), up to `most_rows`, and wait for company at
most `wait_s` after the first of them came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.onnx_server.datatypes import Array
from gateway.onnx_server.session import Model, RunFailed

MAX_WAITING = 1_024
"""Requests that wait for a run; one more is refused as overload."""
MAX_WAITING_BYTES = 256 * 1024 * 1024
"""Body bytes of the requests that wait; one request alone may be larger."""

Signature = tuple[object, ...]


@dataclass(slots=True, eq=False)
class Job:
    """One request on its way through the model. `signature` is None for one that runs alone.

    Exactly one of `results` and `failure` is set when `done`; then `wake` is called once. Whoever
    gives up on a job sets `abandoned`, and it is not run if it has not begun.
    """

    inputs: Sequence[Array]
    outputs: tuple[str, ...]
    size_bytes: int
    wake: Callable[[], None]
    rows: int = 1
    signature: Signature | None = None
    results: Sequence[Array] | None = None
    failure: RunFailed | None = None
    done: bool = False
    abandoned: bool = False


def job_for(model: Model, inputs: Sequence[Array], outputs: tuple[str, ...], size_bytes: int) -> Job:
    """A job, with its signature if it may share a run: all its inputs have the same number of rows,
    at least one.
    """
    job = Job(inputs, outputs, size_bytes, _nobody)
    if model.batchable:
        rows = len(inputs[0])
        if rows > 0 and all(len(array) == rows for array in inputs):
            job.rows = rows
            job.signature = (outputs, *[array.shape[1:] for array in inputs])
    return job


def _nobody() -> None:
    """Nobody waits for the job yet."""


@dataclass(slots=True, eq=False)
class Group:
    """Jobs that will share a run. `since` is when the first one came."""

    since: float
    jobs: list[Job] = field(default_factory=list)
    rows: int = 0

    def add(self, job: Job) -> None:
        """Let one more job share the run."""
        self.jobs.append(job)
        self.rows += job.rows


class Queue:
    """Jobs that wait, gathered into groups as they come. The caller gives the time; nothing here
    waits.
    """

    def __init__(self, most_rows: int, wait_s: float):
        self._most_rows = most_rows
        self._wait_s = wait_s
        self._open: dict[Signature, Group] = {}
        self._full: deque[Group] = deque()
        self._waiting = 0
        self._waiting_bytes = 0

    def __len__(self) -> int:
        return self._waiting

    def has_room(self, size_bytes: int) -> bool:
        """Whether one more job of this size is within the bounds."""
        if self._waiting == 0:
            return True
        return self._waiting < MAX_WAITING and self._waiting_bytes + size_bytes <= MAX_WAITING_BYTES

    def stop_batching(self) -> None:
        """From now on every job runs alone, those that wait included."""
        self._most_rows = 1
        groups = [*self._full, *self._open.values()]
        self._open.clear()
        self._full.clear()
        for group in groups:
            self._full.extend(Group(group.since, [job], job.rows) for job in group.jobs)

    def add(self, job: Job, now: float) -> None:
        """Let a job wait for its run, with others of its signature if there are any."""
        self._waiting += 1
        self._waiting_bytes += job.size_bytes
        if job.signature is None or job.rows >= self._most_rows:
            self._full.append(Group(now, [job], job.rows))
            return
        group = self._open.get(job.signature)
        if group is not None and group.rows + job.rows > self._most_rows:
            self._close(job.signature)
            group = None
        if group is None:
            group = self._open[job.signature] = Group(now)
        group.add(job)
        if group.rows == self._most_rows:
            self._close(job.signature)

    def _close(self, signature: Signature) -> None:
        self._full.append(self._open.pop(signature))

    def take(self, now: float) -> Group | None:
        """The next group to run: full, or waited long enough. The one whose first job came first
        goes first.
        """
        oldest = next(iter(self._open.values()), None)
        if oldest is not None and now < oldest.since + self._wait_s:
            oldest = None
        if self._full and (oldest is None or self._full[0].since <= oldest.since):
            group = self._full.popleft()
        elif oldest is not None:
            group = self._open.pop(next(iter(self._open)))
        else:
            return None
        self._waiting -= len(group.jobs)
        self._waiting_bytes -= sum(job.size_bytes for job in group.jobs)
        group.jobs = [job for job in group.jobs if not job.abandoned]
        return group

    def due(self) -> float | None:
        """When the next group will have waited long enough; None when nothing waits."""
        if self._full:
            return self._full[0].since
        oldest = next(iter(self._open.values()), None)
        return None if oldest is None else oldest.since + self._wait_s
