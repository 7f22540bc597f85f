"""Shared runs: each member its own rows, a failure its own, and no answer that depends on company."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.onnx_server.batching import Group, Job, job_for
from gateway.onnx_server.datatypes import Array
from gateway.onnx_server.execution import LONG_S, PROOFS, Executor, Trial
from gateway.onnx_server.session import Model, RunFailed
from tests.onnx_server import graphs


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
    assert executor.ended is None


def test_a_poison_row_fails_alone(table: Model) -> None:
    executor = Executor(table)
    for _ in range(PROOFS + 2):
        jobs = [lookup_job(table, 1), lookup_job(table, 99), lookup_job(table, 2)]
        ran(executor, *jobs)
        assert answers(*jobs) == [[11], None, [12]]
        assert jobs[1].failure is not None
        assert jobs[1].failure.status == 400
        assert jobs[0].failure is None
    assert executor.ended is None


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
        assert executor.ended is not None
        assert "depends on the other rows" in executor.ended


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
        assert executor.ended is None
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
    assert executor.ended is not None
    assert "one row for each of the 5 rows" in executor.ended


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


@pytest.mark.parametrize(
    ("trials", "useful"),
    [
        ([], True),
        ([(2, 2 * LONG_S, 1 * LONG_S)], True),
        ([(2, 2 * LONG_S, 2 * LONG_S)], False),
        ([(2, 2 * LONG_S, 1.95 * LONG_S)], False),
        ([(2, 2 * LONG_S, 1.85 * LONG_S)], True),
        ([(16, 160 * LONG_S, 170 * LONG_S)], False),
        ([(16, 160 * LONG_S, 140 * LONG_S)], True),
        ([(2, LONG_S, 3 * LONG_S)], True),
        ([(2, 20 * LONG_S, 22 * LONG_S), (16, 160 * LONG_S, 20 * LONG_S)], True),
    ],
)
def test_sharing_is_useful_where_runs_are_short_or_it_saves_a_part_of_them(
    trials: list[tuple[int, float, float]], useful: bool
) -> None:
    trial = Trial()
    for members, alone_s, together_s in trials:
        trial.made(members, alone_s, together_s)
    assert trial.is_useful is useful


@pytest.mark.parametrize(("shared_run_s", "ends"), [(2 * LONG_S, True), (LONG_S, False)])
def test_batching_ends_after_the_proofs_when_it_saves_nothing(shared_run_s: float, ends: bool, table: Model) -> None:
    # The clock is read before and after a group, around its shared run, and around the single ones.
    ticks = iter([0, 0, shared_run_s, 0, 2 * LONG_S, 0] * PROOFS)
    executor = Executor(table, cpu_s=lambda: next(ticks))
    for proof in range(PROOFS):
        assert executor.ended is None, proof
        ran(executor, lookup_job(table, 1), lookup_job(table, 2))
    assert (executor.ended == "its runs are long, and sharing one saves nothing") is ends
