"""Runs and the event loop: nothing long is made on it, nothing waits without need, all is bounded."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop

from gateway.onnx_server import batching, runner
from gateway.onnx_server.batching import Group, Job, job_for
from gateway.onnx_server.errors import Refused
from gateway.onnx_server.execution import Executor
from gateway.onnx_server.runner import FIRST_RUNS, INLINE_S, Pace, Runner
from gateway.onnx_server.session import Model
from tests.onnx_server import graphs

Scenario = Callable[[Runner], Coroutine[Any, Any, None]]


def played(model: Model, scenario: Scenario, most_rows: int = 16, wait_s: float = 0.0) -> None:
    """Run a scenario on a fresh runner and event loop; both must end in time."""

    async def play() -> None:
        made = Runner(model, most_rows, wait_s)
        try:
            await asyncio.wait_for(scenario(made), timeout=60)
        finally:
            await made.close()

    uvloop.run(play())


def submitted(made: Runner, job: Job) -> Awaitable[None]:
    """Submit a job; the future is set by its wake-up."""
    done = asyncio.get_running_loop().create_future()
    job.wake = lambda: done.cancelled() or done.set_result(None)
    made.submit(job)
    return done


def identity_job(model: Model, value: float, size_bytes: int = 0) -> Job:
    return job_for(model, [np.array([[value]], np.float32)], ("y",), size_bytes)


def value_of(job: Job) -> float:
    assert job.done
    assert job.results is not None, job.failure
    return float(job.results[0][0, 0])


@pytest.fixture
def identity(tmp_path: Path) -> Model:
    return graphs.loaded(tmp_path, graphs.identity("FP32", ["N", 1]))


@pytest.fixture
def where_run(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Each run as it happens: the name of its thread and how many requests shared it. All count as short."""
    runs: list[tuple[str, int]] = []
    run = Executor.run

    def observed(executor: Executor, group: Group) -> float:
        runs.append((threading.current_thread().name, len(group.jobs)))
        run(executor, group)
        return 0.0

    monkeypatch.setattr(Executor, "run", observed)
    return runs


def test_the_first_runs_are_made_in_the_thread_and_short_ones_inline_after_them(
    identity: Model, where_run: list[tuple[str, int]]
) -> None:
    async def scenario(made: Runner) -> None:
        for value in range(FIRST_RUNS + 3):
            job = identity_job(identity, value)
            await submitted(made, job)
            assert value_of(job) == value

    played(identity, scenario)
    assert where_run[:FIRST_RUNS] == [("model", 1)] * FIRST_RUNS
    assert ("MainThread", 1) in where_run[FIRST_RUNS:]


def test_requests_that_come_together_share_a_run_without_waiting(
    identity: Model, where_run: list[tuple[str, int]]
) -> None:
    async def scenario(made: Runner) -> None:
        jobs = [identity_job(identity, value) for value in range(20)]
        await asyncio.gather(*[submitted(made, job) for job in jobs])
        assert [value_of(job) for job in jobs] == list(range(20))

    played(identity, scenario)
    assert [count for _, count in where_run] == [16, 4]


def test_requests_that_come_during_a_run_share_the_next(
    identity: Model, where_run: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    run = Executor.run

    def gated(executor: Executor, group: Group) -> float:
        assert gate.wait(timeout=30)
        return run(executor, group)

    monkeypatch.setattr(Executor, "run", gated)

    async def scenario(made: Runner) -> None:
        first = submitted(made, identity_job(identity, 0))
        await asyncio.sleep(0)
        others = [submitted(made, identity_job(identity, value)) for value in range(5)]
        gate.set()
        await asyncio.gather(first, *others)

    played(identity, scenario)
    assert [count for _, count in where_run] == [1, 5]


def test_a_group_that_may_wait_gathers_what_comes_one_by_one(identity: Model, where_run: list[tuple[str, int]]) -> None:
    async def scenario(made: Runner) -> None:
        jobs = [identity_job(identity, value) for value in range(3)]
        waits = []
        for job in jobs:
            waits.append(submitted(made, job))
            await asyncio.sleep(0)
            assert not job.done or job is jobs[-1]
        await asyncio.gather(*waits)

    played(identity, scenario, most_rows=3, wait_s=50)
    assert [count for _, count in where_run] == [3], "full: it did not wait to the end"


def test_a_group_that_has_waited_runs_with_who_is_there(identity: Model, where_run: list[tuple[str, int]]) -> None:
    async def scenario(made: Runner) -> None:
        jobs = [identity_job(identity, value) for value in range(2)]
        await asyncio.gather(*[submitted(made, job) for job in jobs])

    played(identity, scenario, most_rows=16, wait_s=0.05)
    assert [count for _, count in where_run] == [2]


def test_a_long_run_leaves_the_event_loop_free(tmp_path: Path) -> None:
    model = graphs.loaded(tmp_path, graphs.long_run(192))
    turns = 0

    async def scenario(made: Runner) -> None:
        nonlocal turns
        # Runs of no length at first, so that the runner believes in short ones; then long ones.
        for steps in (0,) * (FIRST_RUNS + 2) + (200,):
            job = job_for(model, [np.array([steps])], ("y",), 0)
            await submitted(made, job)
        long = job_for(model, [np.array([400])], ("y",), 0)
        done = submitted(made, long)
        while not long.done:
            turns += 1
            await asyncio.sleep(0)
        await done

    played(model, scenario)
    assert turns > 10


def test_an_abandoned_request_is_not_run(identity: Model, where_run: list[tuple[str, int]]) -> None:
    async def scenario(made: Runner) -> None:
        leaves, stays = identity_job(identity, 1), identity_job(identity, 2)
        submitted(made, leaves)
        leaves.abandoned = True
        await asyncio.sleep(0)
        await submitted(made, stays)
        assert not leaves.done

    played(identity, scenario, most_rows=1)
    assert [count for _, count in where_run] == [1]


def test_a_run_that_nobody_waits_for_any_more_is_stopped(tmp_path: Path) -> None:
    model = graphs.loaded(tmp_path, graphs.long_run(64))

    async def scenario(made: Runner) -> None:
        endless = job_for(model, [np.array([10**12])], ("y",), 0)
        submitted(made, endless)
        await asyncio.sleep(0.05)
        made.abandon(endless)
        await submitted(made, job_for(model, [np.array([1])], ("y",), 0))
        assert endless.failure is not None

    played(model, scenario)


def test_closing_does_not_run_what_still_waits(identity: Model, where_run: list[tuple[str, int]]) -> None:
    async def scenario(made: Runner) -> None:
        submitted(made, identity_job(identity, 1))
        await made.close()

    played(identity, scenario, wait_s=50)
    assert where_run == []


def test_a_run_that_outlives_its_event_loop_ends_quietly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CLOSE_S", 0.01)
    model = graphs.loaded(tmp_path, graphs.long_run(64))

    async def scenario(made: Runner) -> None:
        submitted(made, job_for(model, [np.array([10**12])], ("y",), 0))
        await asyncio.sleep(0.05)

    played(model, scenario)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "model"]
    model.stop()
    thread.join(timeout=60)
    assert not thread.is_alive()


def test_more_than_the_bound_is_overload(identity: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MAX_WAITING", 3)

    async def scenario(made: Runner) -> None:
        waits = [submitted(made, identity_job(identity, value)) for value in range(3)]
        with pytest.raises(Refused, match="overloaded: 3 requests wait") as refused:
            made.submit(identity_job(identity, 4))
        assert refused.value.status == 503
        await asyncio.gather(*waits)
        await submitted(made, identity_job(identity, 5))

    played(identity, scenario)


def test_batching_ends_with_one_line_when_it_changes_answers(
    tmp_path: Path, where_run: list[tuple[str, int]], capfd: pytest.CaptureFixture[str]
) -> None:
    model = graphs.loaded(tmp_path, graphs.share_of_batch())

    async def scenario(made: Runner) -> None:
        for _ in range(3):
            jobs = [identity_job(model, value) for value in (1, 2, 3)]
            await asyncio.gather(*[submitted(made, job) for job in jobs])
            assert [value_of(job) for job in jobs] == [1, 1, 1]

    played(model, scenario)
    assert [count for _, count in where_run] == [3] + [1] * 6
    assert capfd.readouterr().err.count("batching-off") == 1


def test_results_are_the_same_inline_and_in_the_thread(identity: Model) -> None:
    async def scenario(made: Runner) -> None:
        for value in range(50):
            jobs = [identity_job(identity, value + place) for place in range(value % 7 + 1)]
            await asyncio.gather(*[submitted(made, job) for job in jobs])
            assert [value_of(job) for job in jobs] == [value + place for place in range(len(jobs))]

    played(identity, scenario)


def test_what_ran_short_is_expected_to_run_short() -> None:
    pace = Pace()
    for _ in range(FIRST_RUNS):
        assert not pace.is_short(100)
        pace.measured(100, INLINE_S / 4)
    assert pace.is_short(100)
    assert pace.is_short(400)
    assert not pace.is_short(500), "a larger request may take longer in proportion"


def test_one_long_run_ends_short_expectations_until_many_were_short() -> None:
    pace = Pace()
    for _ in range(FIRST_RUNS):
        pace.measured(100, INLINE_S / 4)
    pace.measured(100, INLINE_S * 4)
    assert not pace.is_short(100)
    runs = 0
    while not pace.is_short(100):
        pace.measured(100, INLINE_S / 4)
        runs += 1
    assert runs > 5
    assert runner.INLINE_S == INLINE_S
