"""Loading and running models: what is refused at start, what may be batched, how runs fail."""

import threading
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from gateway.onnx_server.errors import ModelUnusable
from gateway.onnx_server.session import MAX_REASON_CHARACTERS, RunFailed, load
from tests.onnx_server import graphs


@pytest.mark.parametrize("datatype", graphs.ELEMENTS)
def test_a_model_describes_its_tensors_by_the_names_of_the_protocol(datatype: str, tmp_path: Path) -> None:
    model = graphs.loaded(tmp_path, graphs.identity(datatype, ["N", 3]))
    (spec,) = model.inputs
    assert (spec.name, spec.datatype.name, spec.shape) == ("x", datatype, (-1, 3))
    assert [output.datatype.name for output in model.outputs] == [datatype]


@pytest.mark.parametrize(
    ("inputs", "output", "batchable"),
    [
        ([["N", 3]], ["N", 3], True),
        ([[None, 3]], [None, 3], True),
        ([[None]], [None], True),
        ([[1, 3]], [1, 3], False),
        ([["N", 3]], [1, 3], False),
        ([[1, 3]], ["N", 3], False),
        ([["rows", 3], ["others", 3]], ["rows", 3], False),
        ([["rows", 3], ["rows", 3]], ["rows", 3], True),
        ([["rows", 3], [None, 3]], ["rows", 3], True),
        ([["rows", 3], [1, 3]], ["rows", 3], False),
        ([["rows", 3]], ["found", 3], False),
        ([[]], [], False),
    ],
)
def test_only_models_whose_every_tensor_has_the_batch_first_are_batchable(
    inputs: list[graphs.Shape], output: graphs.Shape, batchable: bool, tmp_path: Path
) -> None:
    names = [f"x{place}" for place in range(len(inputs))]
    content = graphs.graph(
        [helper.make_node("Sum", names, ["y"])],
        [graphs.tensor(name, "FP32", shape) for name, shape in zip(names, inputs, strict=True)],
        [graphs.tensor("y", "FP32", output)],
    )
    assert graphs.loaded(tmp_path, content).batchable is batchable


def test_a_model_that_does_not_declare_its_output_is_not_batchable(tmp_path: Path) -> None:
    assert not graphs.loaded(tmp_path, graphs.zeros()).batchable


@pytest.mark.parametrize("content", [b"", b"no model at all", bytes(range(256))])
def test_a_file_that_is_no_model_is_refused_with_its_path(content: bytes, tmp_path: Path) -> None:
    path = graphs.saved(tmp_path, content)
    with pytest.raises(ModelUnusable, match=r"model\.onnx: \w+"):
        load(path, threads=1)


def test_a_file_that_is_missing_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match="gone"):
        load(tmp_path / "gone.onnx", threads=1)


def test_an_input_that_the_protocol_cannot_carry_is_refused_by_name(tmp_path: Path) -> None:
    kind = helper.make_tensor_value_info("x", TensorProto.BFLOAT16, ["N"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])
    content = graphs.graph([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)], [kind], [out])
    with pytest.raises(ModelUnusable, match=r"input 'x' is tensor\(bfloat16\).*FP32"):
        graphs.loaded(tmp_path, content)


def test_an_output_that_is_no_tensor_is_withheld_and_the_others_served(tmp_path: Path) -> None:
    model = graphs.loaded(tmp_path, graphs.score_and_map())
    assert [spec.name for spec in model.outputs] == ["score"]
    assert model.withheld == {"by_name": "seq(map(string,tensor(float)))"}
    assert model.batchable


def test_a_model_without_any_tensor_output_is_refused_with_a_remedy(tmp_path: Path) -> None:
    maps = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    )
    node = helper.make_node("ZipMap", ["x"], ["by_name"], domain="ai.onnx.ml", classlabels_strings=["a", "b"])
    content = graphs.graph([node], [graphs.tensor("x", "FP32", ["N", 2])], [helper.make_value_info("by_name", maps)])
    with pytest.raises(ModelUnusable, match=r"no output is a tensor \(by_name is seq.*zipmap off"):
        graphs.loaded(tmp_path, content)


def test_a_run_gives_the_outputs_that_were_asked_for(tmp_path: Path) -> None:
    model = graphs.loaded(tmp_path, graphs.lookup([0.5, 1.5, 2.5]))
    (result,) = model.run([np.array([2, 0])], ["y"])
    assert result.tolist() == [2.5, 0.5]


def test_a_run_that_fails_on_its_input_says_what_was_wrong_with_it(tmp_path: Path) -> None:
    model = graphs.loaded(tmp_path, graphs.lookup([0.5]))
    with pytest.raises(RunFailed, match="out of data bounds, idx=7") as failed:
        model.run([np.array([7])], ["y"])
    assert failed.value.status == 400
    assert "ONNXRuntimeError" not in failed.value.reason


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (runtime_errors.InvalidArgument("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : a : b"), 400, "a : b"),
        (runtime_errors.NotImplemented("[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : no kernel"), 500, "no kernel"),
        (runtime_errors.RuntimeException("... std::bad_alloc"), 503, "not enough memory"),
        (MemoryError(), 503, "not enough memory"),
        (ValueError("wrong\n  type"), 500, "wrong type"),
        (RuntimeError(), 500, "RuntimeError"),
        (runtime_errors.Fail("x" * 10_000), 400, "x" * MAX_REASON_CHARACTERS),
    ],
)
def test_each_kind_of_failure_has_its_status(
    error: Exception, status: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = graphs.loaded(tmp_path, graphs.lookup([0.5]))

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(model, "_run", fails)
    with pytest.raises(RunFailed) as failed:
        model.run([np.array([0])], ["y"])
    assert failed.value.status == status
    assert reason in failed.value.reason
    assert len(failed.value.reason) < MAX_REASON_CHARACTERS + 50


def test_a_run_that_has_not_enough_memory_is_overload_and_the_model_lives_on(
    tmp_path: Path,
) -> None:
    model = graphs.loaded(tmp_path, graphs.zeros())
    with pytest.raises(RunFailed, match="not enough memory") as failed:
        model.run([np.array([10**12])], ["y"])
    assert failed.value.status == 503
    (result,) = model.run([np.array([2, 2])], ["y"])
    assert result.shape == (2, 2)


def test_a_run_can_be_stopped_from_outside(tmp_path: Path) -> None:
    model = graphs.loaded(tmp_path, graphs.long_run(64))
    stopper = threading.Timer(0.1, model.stop)
    stopper.start()
    with pytest.raises(RunFailed, match="terminate"):
        model.run([np.array([10**12])], ["y"])
    stopper.join()
    model.go_on()
    (result,) = model.run([np.array([1])], ["y"])
    assert result.tolist() == [1]


def test_a_failed_run_writes_nothing_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = graphs.loaded(tmp_path, graphs.lookup([0.5]))
    with pytest.raises(RunFailed):
        model.run([np.array([7])], ["y"])
    assert capfd.readouterr() == ("", "")
