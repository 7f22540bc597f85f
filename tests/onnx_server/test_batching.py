"""Who shares a run: the queue's decisions as conversations, and that sharing changes no answer."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.onnx_server.batching import (
    MAX_WAITING,
    MAX_WAITING_BYTES,
    PROOFS,
    Executor,
    Group,
    Job,
    Queue,
    job_for,
)
from gateway.onnx_server.datatypes import Array
from gateway.onnx_server.session import Model, RunFailed
from tests.onnx_server import graphs


def a_job(kind: str | None = "a", rows: int = 1, size_bytes: int = 0) -> Job:
    signature = None if kind is None else (kind,)
    job = Job([], ("y",), size_bytes, lambda: None, rows=rows)
    job.signature = signature
    return job


def taken(queue: Queue, now: float) -> list[Job]:
    group = queue.take(now)
    return [] if group is None else group.jobs


def test_what_waits_together_runs_together() -> None:
    queue = Queue(most_rows=4, wait_s=0)
    jobs = [a_job() for _ in range(3)]
    for job in jobs:
        queue.add(job, now=0)
    assert taken(queue, now=0) == jobs
    assert taken(queue, now=0) == []


def test_a_group_is_full_at_its_rows_not_its_requests() -> None:
    queue = Queue(most_rows=4, wait_s=0)
    first, second, third, fourth = (a_job(rows=rows) for rows in (2, 1, 2, 4))
    for job in (first, second, third, fourth):
        queue.add(job, now=0)
    assert [taken(queue, now=0) for _ in range(4)] == [[first, second], [fourth], [third], []]


def test_a_request_larger_than_a_group_runs_alone() -> None:
    queue = Queue(most_rows=4, wait_s=1)
    large = a_job(rows=100)
    queue.add(large, now=0)
    assert taken(queue, now=0) == [large]


def test_unlike_requests_do_not_mix_and_the_first_to_come_is_the_first_to_run() -> None:
    queue = Queue(most_rows=4, wait_s=0)
    jobs = {name: a_job(name[0]) for name in ("a1", "b1", "a2", "b2")}
    for at, job in enumerate(jobs.values()):
        queue.add(job, now=at)
    assert taken(queue, now=9) == [jobs["a1"], jobs["a2"]]
    assert taken(queue, now=9) == [jobs["b1"], jobs["b2"]]


def test_a_request_that_cannot_be_batched_runs_alone_in_its_turn() -> None:
    queue = Queue(most_rows=4, wait_s=0)
    before, alone, after = a_job(), a_job(None), a_job("b")
    for at, job in enumerate((before, alone, after)):
        queue.add(job, now=at)
    assert [taken(queue, now=9) for _ in range(3)] == [[before], [alone], [after]]


def test_a_group_waits_for_company_since_its_first_request_and_no_longer() -> None:
    queue = Queue(most_rows=4, wait_s=0.5)
    first, second = a_job(), a_job()
    queue.add(first, now=10.0)
    assert (taken(queue, now=10.4), queue.due()) == ([], 10.5)
    queue.add(second, now=10.4)
    assert (taken(queue, now=10.49), queue.due()) == ([], 10.5)
    assert taken(queue, now=10.5) == [first, second]
    assert queue.due() is None


def test_a_full_group_does_not_wait() -> None:
    queue = Queue(most_rows=2, wait_s=60)
    pair = [a_job(), a_job()]
    for job in pair:
        queue.add(job, now=0)
    assert queue.due() == 0
    assert taken(queue, now=0) == pair


def test_a_group_that_waited_long_enough_goes_before_a_full_one_that_came_later() -> None:
    queue = Queue(most_rows=2, wait_s=1)
    early = a_job("early")
    queue.add(early, now=0)
    full = [a_job("full"), a_job("full")]
    for job in full:
        queue.add(job, now=0.5)
    assert [taken(queue, now=1.0) for _ in range(2)] == [[early], full]


def test_an_abandoned_request_is_not_run() -> None:
    queue = Queue(most_rows=4, wait_s=0)
    stays, leaves = a_job(), a_job()
    for job in (stays, leaves):
        queue.add(job, now=0)
    leaves.abandoned = True
    assert taken(queue, now=0) == [stays]
    assert len(queue) == 0


def test_the_queue_is_bounded_in_requests_and_in_bytes() -> None:
    queue = Queue(most_rows=4, wait_s=0)
    for _ in range(MAX_WAITING):
        assert queue.has_room(1)
        queue.add(a_job(size_bytes=1), now=0)
    assert not queue.has_room(1)

    queue = Queue(most_rows=4, wait_s=0)
    assert queue.has_room(MAX_WAITING_BYTES + 1), "a request alone may be of any size"
    queue.add(a_job(size_bytes=MAX_WAITING_BYTES), now=0)
    assert not queue.has_room(1)
    queue.take(0)
    assert queue.has_room(1)


def test_when_batching_stops_those_who_wait_run_alone() -> None:
    queue = Queue(most_rows=3, wait_s=60)
    jobs = [a_job() for _ in range(4)]
    for job in jobs:
        queue.add(job, now=0)
    queue.stop_batching()
    late = a_job()
    queue.add(late, now=0)
    assert [taken(queue, now=0) for _ in range(6)] == [[job] for job in (*jobs, late)] + [[]]


arrivals = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["a", "b", None]), st.integers(1, 5), st.booleans()),
    max_size=40,
)


@given(arrivals, st.integers(1, 8), st.sampled_from([0.0, 0.5]))
def test_every_request_runs_once_in_a_group_of_its_like_within_the_bounds(
    arrivals: list[tuple[float, str | None, int, bool]], most_rows: int, wait_s: float
) -> None:
    queue = Queue(most_rows, wait_s)
    now = 0.0
    added: list[Job] = []
    ran: list[Job] = []

    def take(now: float) -> bool:
        group = queue.take(now)
        if group is None:
            return False
        assert len({job.signature for job in group.jobs}) == 1
        assert len(group.jobs) == 1 or sum(job.rows for job in group.jobs) <= most_rows
        assert len(group.jobs) == 1 or group.jobs[0].signature is not None
        ran.extend(group.jobs)
        return True

    for pause, kind, rows, takes in arrivals:
        now += pause
        added.append(a_job(kind, rows))
        queue.add(added[-1], now)
        if takes:
            take(now)
    while (due := queue.due()) is not None:
        now = max(now, due)
        assert take(now)
    assert sorted(map(id, ran)) == sorted(map(id, added))
    assert len(queue) == 0


# -- shared runs -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return graphs.loaded(tmp_path_factory.mktemp("table"), graphs.lookup([10, 11, 12, 13]))


def lookup_job(model: Model, *indices: int) -> Job:
    return job_for(model, [np.array(indices, np.int64)], ("y",), 0)


def ran(executor: Executor, *jobs: Job) -> None:
    executor.run(Group(0, list(jobs), sum(job.rows for job in jobs)))


def answers(*jobs: Job) -> list[list[float] | None]:
    return [None if job.results is None else job.results[0].tolist() for job in jobs]


def test_each_member_of_a_shared_run_gets_its_own_rows(table: Model) -> None:
    executor = Executor(table)
    for _ in range(PROOFS + 2):
        jobs = [lookup_job(table, 3), lookup_job(table, 0, 1, 2), lookup_job(table, 2, 2)]
        ran(executor, *jobs)
        assert answers(*jobs) == [[13], [10, 11, 12], [12, 12]]
    assert executor.distrust is None


def test_a_poison_row_fails_alone(table: Model) -> None:
    executor = Executor(table)
    for _ in range(PROOFS + 2):
        jobs = [lookup_job(table, 1), lookup_job(table, 99), lookup_job(table, 2)]
        ran(executor, *jobs)
        assert answers(*jobs) == [[11], None, [12]]
        assert jobs[1].failure is not None
        assert jobs[1].failure.status == 400
        assert jobs[0].failure is None
    assert executor.distrust is None


def test_requests_with_other_dimensions_are_not_of_one_signature(
    table: Model, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = graphs.loaded(tmp_path_factory.mktemp("wide"), graphs.identity("FP32", [None, None]))

    def signature(*shape: int) -> object:
        return job_for(model, [np.zeros(shape, np.float32)], ("y",), 0).signature

    assert signature(1, 2) == signature(5, 2) != signature(1, 3)
    assert signature(0, 2) is None, "no rows: nothing to share"
    assert lookup_job(table, 1).signature != job_for(table, [np.array([1])], (), 0).signature


def test_inputs_of_unequal_rows_run_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = graphs.loaded(
        tmp_path_factory.mktemp("two"),
        graphs.graph(
            [graphs.helper.make_node("Add", ["a", "b"], ["y"])],
            [graphs.tensor("a", "FP32", ["N"]), graphs.tensor("b", "FP32", ["N"])],
            [graphs.tensor("y", "FP32", ["N"])],
        ),
    )
    inputs = [np.zeros(2, np.float32), np.zeros(1, np.float32)]
    assert job_for(model, inputs, ("y",), 0).signature is None


@pytest.mark.parametrize(
    ("content", "values", "alone"),
    [
        (graphs.share_of_batch(), np.array([[1], [3]], np.float32), [[1], [1]]),
        (graphs.above_lowest(), np.array([[1], [3]]), [[0], [0]]),
        (graphs.all_by_all(), np.array([[2], [3]], np.float32), [[4], [9]]),
    ],
)
def test_a_model_that_mixes_rows_is_found_out_and_answers_as_if_alone(
    content: bytes, values: Array, alone: list[list[float]], tmp_path: Path
) -> None:
    model = graphs.loaded(tmp_path, content)
    assert model.batchable, "nothing in the file tells that the rows are mixed"
    executor = Executor(model)
    for _ in range(2):
        jobs = [job_for(model, [row.reshape(1, 1)], ("y",), 0) for row in values]
        ran(executor, *jobs)
        assert answers(*jobs) == [[row] for row in alone]
        assert executor.distrust is not None
        assert "depends on the other rows" in executor.distrust


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("FP32", [0.1, math.nan, math.inf, -math.inf, -0.0]),
        ("FP16", [0.1, math.nan, math.inf, 65504.0, 0.0]),
        ("BYTES", ["a", "", "é", "a", "b"]),
        ("BOOL", [True, False, True, True, False]),
        ("UINT64", [0, 2**64 - 1, 1, 2, 3]),
    ],
)
def test_equal_answers_of_any_datatype_keep_the_trust(datatype: str, values: list[object], tmp_path: Path) -> None:
    model = graphs.loaded(tmp_path, graphs.identity(datatype, ["N", 1]))
    executor = Executor(model)
    kind = model.inputs[0].datatype.numpy
    for _ in range(PROOFS + 1):
        jobs = [job_for(model, [np.array([[value]], kind)], ("y",), 0) for value in values]
        ran(executor, *jobs)
        assert executor.distrust is None
    for job, value in zip(jobs, values, strict=True):
        assert job.results is not None
        np.testing.assert_array_equal(job.results[0], np.array([[value]], kind))


def test_a_group_that_everybody_left_is_not_run(table: Model) -> None:
    jobs = [lookup_job(table, 1), lookup_job(table, 2)]
    for job in jobs:
        job.abandoned = True
    ran(Executor(table), *jobs)
    ran(Executor(table), jobs[0])
    assert answers(*jobs) == [None, None]


def test_a_fault_of_the_model_is_logged_once_and_answered_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model = graphs.loaded(tmp_path, graphs.lookup([1]))

    def fails(*_: object) -> None:
        raise RunFailed(500, "no kernel for this operator")

    monkeypatch.setattr(model, "run", fails)
    job = lookup_job(model, 0)
    ran(Executor(model), job)
    assert job.failure is not None
    assert job.failure.status == 500
    (line,) = capfd.readouterr().err.splitlines()
    assert '"run-failed"' in line
    assert "no kernel" in line


def test_a_model_that_does_not_keep_its_rows_is_found_out_and_answers_as_if_alone(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    model = graphs.loaded(tmp_path_factory.mktemp("found"), graphs.non_zero())
    assert model.batchable
    executor = Executor(model)
    jobs = [job_for(model, [np.array(x)], ("y",), 0) for x in ([0, 5, 6], [7, 0])]
    ran(executor, *jobs)
    assert answers(*jobs) == [[[1], [2]], [[0]]]
    assert executor.distrust is not None
    assert "one row for each of the 5 rows" in executor.distrust


def test_a_defect_of_ours_fails_its_requests_and_nothing_else(
    table: Model, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    executor = Executor(table)
    broken = Job([], ("y",), 0, lambda: None)
    ran(executor, broken)
    assert broken.failure is not None
    assert broken.failure.status == 500
    assert "run-crashed" in capfd.readouterr().err
    fine = lookup_job(table, 0)
    ran(executor, fine)
    assert answers(fine) == [[10]]


@given(st.lists(st.lists(st.integers(-4, 5), min_size=1, max_size=4), min_size=1, max_size=6))
def test_sharing_a_run_changes_no_answer(table: Model, requests: list[list[int]]) -> None:
    together = [lookup_job(table, *indices) for indices in requests]
    alone = [lookup_job(table, *indices) for indices in requests]
    executor = Executor(table, proofs=0)
    ran(executor, *together)
    for job in alone:
        ran(executor, job)
    assert answers(*together) == answers(*alone)
    assert [job.failure is None for job in together] == [job.failure is None for job in alone]
