"""Lets jobs run one after the other, inline or in one thread, without ever stopping the event loop
for long.

A hop to the thread and back costs 90 us of CPU and 65 us of delay (measured with the demo's model,
one connection, in turns: 145 us of CPU a request inline, 235 through the thread), several times a
small tabular model's whole run of 17 us. So a run that is known to be short is made inline; one
that is not, and the first ones of a model, in the thread. `INLINE_S` bounds how long an inline run
may be expected to last; the expectation follows the measured runs, upward at once and downward
slowly, and grows with a request's size.

One inline run per turn of the loop: between two of them, sockets are read and health is answered.
That turn is also what gathers a batch: requests that arrived together wait in the queue together,
at no added delay.
"""

from __future__ import annotations

import asyncio
import queue
import threading

from gateway.core.logs import log
from gateway.onnx_server.batching import Group, Job, Queue
from gateway.onnx_server.errors import Refused
from gateway.onnx_server.execution import Executor
from gateway.onnx_server.session import Model

INLINE_S = 0.000_5
CLOSE_S = 1.0
"""How long the thread may take to end; the process does not wait longer for a run."""
FIRST_RUNS = 3
"""Runs made in the thread before any is made inline: the first are slow, and say little."""
_FALL = 0.1


class Pace:
    """What a run may be expected to take, from those that were measured."""

    def __init__(self) -> None:
        self._runs = 0
        self._seconds = 0.0
        self._bytes = 0.0

    def is_short(self, size_bytes: int) -> bool:
        """Whether a run on requests of this size together may be made inline."""
        growth = max(1.0, size_bytes / self._bytes) if self._bytes else 1.0
        return self._runs >= FIRST_RUNS and self._seconds * growth <= INLINE_S

    def measured(self, size_bytes: int, seconds: float) -> None:
        """Learn from a run."""
        self._runs += 1
        if self._runs <= FIRST_RUNS or seconds > self._seconds:
            self._seconds, self._bytes = seconds, float(size_bytes)
        else:
            self._seconds += _FALL * (seconds - self._seconds)
            self._bytes += _FALL * (size_bytes - self._bytes)


class Runner:
    """The queue of one model and what empties it. Belongs to one event loop."""

    def __init__(self, model: Model, most_rows: int, wait_s: float):
        self._loop = asyncio.get_running_loop()
        self._queue = Queue(most_rows, wait_s)
        self._model = model
        self._executor = Executor(model)
        self._pace = Pace()
        self._end_told = False
        self._turn: asyncio.Handle | None = None
        self._turn_at = 0.0
        self._in_thread: Group | None = None
        self._handover: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve_thread, name="model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many requests wait for a run."""
        return len(self._queue)

    @property
    def busy(self) -> bool:
        """Whether a run goes on in the thread."""
        return self._in_thread is not None

    def submit(self, job: Job) -> None:
        """Let `job` run; its `wake` is called when it is done. Raises `Refused` when too much waits
        already.
        """
        if not self._queue.has_room(job.size_bytes):
            raise Refused(503, f"overloaded: {len(self._queue)} requests wait for this model")
        self._queue.add(job, self._loop.time())
        self._arrange_turn()

    def abandon(self, job: Job) -> None:
        """Nobody waits for `job` any more: it is not run, and a run that nobody waits for is
        stopped.

        Without that, one request that makes a model loop would occupy it long after its client's
        deadline.
        """
        job.abandoned = True
        if self._in_thread is not None and all(member.abandoned for member in self._in_thread.jobs):
            self._model.stop()

    async def close(self) -> None:
        """End the thread after the run that it is in; jobs that still wait are never done."""
        if self._turn is not None:
            self._turn.cancel()
        self._handover.put(None)
        await asyncio.to_thread(self._thread.join, CLOSE_S)

    def _arrange_turn(self) -> None:
        """See to it that the next turn is taken as soon as something is due."""
        due = self._queue.due()
        if due is None or self._in_thread is not None:
            return
        if self._turn is not None:
            if self._turn_at <= due:
                return
            self._turn.cancel()
        self._turn_at = due
        if due <= self._loop.time():
            self._turn = self._loop.call_soon(self._take_turn)
        else:
            self._turn = self._loop.call_at(due, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        group = self._queue.take(self._loop.time())
        if group is None or not group.jobs:
            self._arrange_turn()
        elif self._pace.is_short(_size(group)):
            self._finish(group, self._executor.run(group))
        else:
            self._in_thread = group
            self._handover.put(group)

    def _serve_thread(self) -> None:
        while (group := self._handover.get()) is not None:
            seconds = self._executor.run(group)
            try:
                self._loop.call_soon_threadsafe(self._thread_finished, group, seconds)
            except RuntimeError:
                return  # the loop was closed during the run: nobody waits for it

    def _thread_finished(self, group: Group, seconds: float) -> None:
        self._in_thread = None
        self._finish(group, seconds)

    def _finish(self, group: Group, seconds: float) -> None:
        self._pace.measured(_size(group), seconds)
        if self._executor.ended is not None and not self._end_told:
            self._end_told = True
            self._queue.stop_batching()
            log("batching-off", cause=self._executor.ended)
        # The next run goes to the thread before answers are written, so that both go on at once.
        self._arrange_turn()
        for job in group.jobs:
            job.done = True
            job.wake()


def _size(group: Group) -> int:
    return sum(job.size_bytes for job in group.jobs)
