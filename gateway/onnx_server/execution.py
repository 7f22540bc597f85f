"""Runs groups of requests: one run for all members, and each member its rows of the outputs.

An answer must not depend on who shared the run, and sharing must be of use, so:

- when a shared run fails, every member is run alone, and only the one that fails alone gets the
  error;
- when outputs do not have the rows that went in, the members are run alone and batching ends;
- the first `PROOFS` shared runs are also run alone, and it is the answers of those runs that are
  sent. A model that mixes rows (a normalisation over the batch, random sampling) is found so, and
  batching ends. So it does for a model whose runs are long and that saves nothing by sharing
  them: its requests would only wait for each other.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence

import numpy as np

from gateway.core.logs import log
from gateway.onnx_server.batching import Group, Job
from gateway.onnx_server.datatypes import Array
from gateway.onnx_server.session import Model, RunFailed

PROOFS = 8
NOISE = 1e-3
"""Of an output's largest magnitude: matrix products of several rows add up in another order."""
LONG_S = 0.001
"""Shorter runs are shared whatever it saves: hardly anybody waits."""
LEAST_SAVING = 0.1
"""Of a member's run alone, for each member after the first."""


class Trial:
    """Whether sharing runs is of use, by runs that were made both ways."""

    def __init__(self) -> None:
        self._members = 0
        self._alone_s = 0.0
        self._saved_s = 0.0
        self._possible_s = 0.0

    def made(self, members: int, alone_s: float, together_s: float) -> None:
        """`members` took `alone_s` one after the other, and `together_s` in one run."""
        self._members += members
        self._alone_s += alone_s
        self._saved_s += alone_s - together_s
        # At best a shared run costs as much as that of one member.
        self._possible_s += alone_s * (members - 1) / members

    @property
    def is_useful(self) -> bool:
        """Runs are short, or sharing them saves a fair part of what could be saved."""
        is_long = self._members > 0 and self._alone_s / self._members >= LONG_S
        return not is_long or self._saved_s >= LEAST_SAVING * self._possible_s


class Executor:
    """Runs groups and sets the outcome of each job. `ended` is why batching ended, or None while it
    goes on. `cpu_s` is the clock: CPU seconds of the calling thread, because the time that a busy
    machine or another Python thread takes away says nothing of a run.
    """

    def __init__(self, model: Model, proofs: int = PROOFS, cpu_s: Callable[[], float] = time.thread_time):
        self._model = model
        self._proofs_left = proofs
        self._trial = Trial()
        self._cpu_s = cpu_s
        self.ended: str | None = None

    def run(self, group: Group) -> float:
        """Run a group; the seconds it took. Called by one thread at a time; it wakes nobody."""
        started = self._cpu_s()
        try:
            if len(group.jobs) == 1 or self.ended is not None:
                self._run_each_alone(group.jobs)
            else:
                self._run_together(group.jobs)
        # A defect of ours ends these requests, not the thread that all others need.
        except Exception:  # noqa: BLE001
            log("run-crashed", "error", trace=traceback.format_exc())
            for job in group.jobs:
                job.failure = RunFailed(500, "the model server failed")
        return self._cpu_s() - started

    def _run_each_alone(self, jobs: list[Job]) -> None:
        for job in jobs:
            # In this order: whoever abandons the job after this look stops the run, not the look.
            self._model.go_on()
            if job.abandoned:
                continue
            try:
                job.results = self._model.run(job.inputs, job.outputs)
            except RunFailed as failure:
                job.failure = failure
                if failure.status == 500:
                    log("run-failed", "error", cause=failure.reason)

    def _run_together(self, jobs: list[Job]) -> None:
        started = self._cpu_s()
        parts = self._parts_of_shared_run(jobs)
        if parts is None:
            self._run_each_alone(jobs)
        elif self._proofs_left > 0:
            self._prove(jobs, parts, self._cpu_s() - started)
        else:
            for job, part in zip(jobs, parts, strict=True):
                job.results = part

    def _parts_of_shared_run(self, jobs: list[Job]) -> list[list[Array]] | None:
        """Each member's outputs; None when the run did not succeed or its outputs are not by row."""
        columns = zip(*[job.inputs for job in jobs], strict=True)
        self._model.go_on()
        if all(job.abandoned for job in jobs):
            return None
        try:
            together = [np.concatenate(arrays) for arrays in columns]
            results = self._model.run(together, jobs[0].outputs)
        except (RunFailed, MemoryError):
            return None
        rows = sum(job.rows for job in jobs)
        if any(array.ndim == 0 or len(array) != rows for array in results):
            self.ended = f"outputs do not have one row for each of the {rows} rows that went in"
            return None
        return _split(results, [job.rows for job in jobs])

    def _prove(self, jobs: list[Job], parts: list[list[Array]], together_s: float) -> None:
        started = self._cpu_s()
        self._run_each_alone(jobs)
        self._trial.made(len(jobs), self._cpu_s() - started, together_s)
        self._proofs_left -= 1
        for job, part in zip(jobs, parts, strict=True):
            if job.results is not None and not all(map(_is_same, job.results, part)):
                self.ended = "its answer to the same row depends on the other rows of a run"
                return
        if self._proofs_left == 0 and not self._trial.is_useful:
            self.ended = "its runs are long, and sharing one saves nothing"


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
