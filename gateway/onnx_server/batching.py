"""Which requests share a run: dynamic micro-batching. Decisions and array work only; `runner` says
when.

Requests are batched row by row along the first dimension, only with requests of the same signature
(the same other dimensions, the same outputs wanted), up to `most_rows`, and wait for company at
most `wait_s` after the first of them came. An answer must not depend on who shared the run, so
three things hold:

- when a shared run fails, every member is run alone, and only the one that fails alone gets the
  error;
- when outputs do not have the rows that went in, the members are run alone and batching ends;
- the first `PROOFS` shared runs are also run alone and compared. A model that mixes rows (a
  normalisation over the batch, random sampling) is found so, its answers are those of the single
  runs, and batching ends.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from gateway.core.logs import log
from gateway.onnx_server.datatypes import Array
from gateway.onnx_server.session import Model, RunFailed

MAX_WAITING = 1_024
"""Requests that wait for a run; one more is refused as overload."""
MAX_WAITING_BYTES = 256 * 1024 * 1024
"""Body bytes of the requests that wait; one request alone may be larger."""
PROOFS = 8
NOISE = 1e-3
"""Of an output's largest magnitude: matrix products of several rows add up in another order."""

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


class Executor:
    """Runs groups and sets the outcome of each job. `distrust` is why batching ended, or None while
    it goes on.
    """

    def __init__(self, model: Model, proofs: int = PROOFS):
        self._model = model
        self._proofs_left = proofs
        self.distrust: str | None = None

    def run(self, group: Group) -> float:
        """Run a group; the CPU seconds it took this thread. Called by one thread at a time; it
        wakes nobody.

        CPU seconds, because the time that a busy machine or another Python thread takes away says
        nothing of the run.
        """
        started = time.thread_time()
        try:
            if len(group.jobs) == 1 or self.distrust is not None:
                for job in group.jobs:
                    self._run_alone(job)
            else:
                self._run_together(group.jobs)
        # A defect of ours ends these requests, not the thread that all others need.
        except Exception:  # noqa: BLE001
            log("run-crashed", "error", trace=traceback.format_exc())
            for job in group.jobs:
                job.failure = RunFailed(500, "the model server failed")
        return time.thread_time() - started

    def _run_alone(self, job: Job) -> None:
        # In this order: whoever abandons the job after this look stops the run, not the look.
        self._model.go_on()
        if job.abandoned:
            return
        try:
            job.results = self._model.run(job.inputs, job.outputs)
        except RunFailed as failure:
            job.failure = failure
            if failure.status == 500:
                log("run-failed", "error", cause=failure.reason)

    def _run_together(self, jobs: list[Job]) -> None:
        columns = zip(*[job.inputs for job in jobs], strict=True)
        rows = sum(job.rows for job in jobs)
        self._model.go_on()
        if all(job.abandoned for job in jobs):
            return
        try:
            results = self._model.run([np.concatenate(arrays) for arrays in columns], jobs[0].outputs)
        except (RunFailed, MemoryError):
            results = []
        if any(array.ndim == 0 or len(array) != rows for array in results):
            self.distrust = f"outputs do not have one row for each of the {rows} rows that went in"
            results = []
        parts = _split(results, [job.rows for job in jobs]) if results else []
        if not parts or self._proofs_left > 0:
            self._prove(jobs, parts)
            return
        for job, part in zip(jobs, parts, strict=True):
            job.results = part

    def _prove(self, jobs: list[Job], parts: Sequence[Sequence[Array]]) -> None:
        for job in jobs:
            self._run_alone(job)
        if not parts:
            return
        self._proofs_left -= 1
        for job, part in zip(jobs, parts, strict=True):
            if job.results is not None and not all(map(_is_same, job.results, part)):
                self.distrust = "its answer to the same row depends on the other rows of a run"


def _split(results: Sequence[Array], rows: Sequence[int]) -> list[list[Array]]:
    """For each member of a shared run its rows of every output."""
    parts: list[list[Array]] = []
    start = 0
    for count in rows:
        end = start + count
        parts.append([array[start:end] for array in results])
        start = end
    return parts


def _is_same(alone: Array, together: Array) -> bool:
    """Equal; floating-point numbers up to noise."""
    if alone.shape != together.shape:
        return False
    if np.issubdtype(alone.dtype, np.floating):
        largest = np.abs(alone[np.isfinite(alone)]).max(initial=0)
        noise = max(NOISE, 8 * float(np.finfo(alone.dtype.name).eps)) * float(largest)
        return bool(np.allclose(alone, together, rtol=0, atol=noise, equal_nan=True))
    return bool(np.array_equal(alone, together))
