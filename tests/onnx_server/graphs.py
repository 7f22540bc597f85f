"""Small ONNX graphs made for one test each, and a model server's settings for them."""

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from gateway.core.snapshot import ModelServer
from gateway.onnx_server.session import Model, load

ELEMENTS = {
    "BOOL": TensorProto.BOOL,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}

Shape = Sequence[int | str | None] | None


def tensor(name: str, datatype: str, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, ELEMENTS[datatype], shape)


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto] = (),
) -> bytes:
    made = helper.make_graph(nodes, "test", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    content: bytes = helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()
    return content


def identity(datatype: str, shape: Shape) -> bytes:
    """`y` is `x`."""
    return graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        [tensor("x", datatype, shape)],
        [tensor("y", datatype, shape)],
    )


def lookup(values: Sequence[float]) -> bytes:
    """`y` is the element of `values` at each index of `i`; an index outside makes the run fail."""
    return graph(
        [helper.make_node("Gather", ["table", "i"], ["y"])],
        [tensor("i", "INT64", ["N"])],
        [tensor("y", "FP32", ["N"])],
        [helper.make_tensor("table", TensorProto.FLOAT, [len(values)], values)],
    )


def share_of_batch() -> bytes:
    """`y` is each row's share of the sum over all rows: the answer depends on who shares a run."""
    return graph(
        [
            helper.make_node("ReduceSum", ["x", "axis"], ["sum"], keepdims=1),
            helper.make_node("Div", ["x", "sum"], ["y"]),
        ],
        [tensor("x", "FP32", ["N", 1])],
        [tensor("y", "FP32", ["N", 1])],
        [helper.make_tensor("axis", TensorProto.INT64, [1], [0])],
    )


def above_lowest() -> bytes:
    """`y` is by how much each row is above the lowest of all rows."""
    return graph(
        [
            helper.make_node("ReduceMin", ["x"], ["lowest"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["x", "lowest"], ["y"]),
        ],
        [tensor("x", "INT64", ["N", 1])],
        [tensor("y", "INT64", ["N", 1])],
    )


def all_by_all() -> bytes:
    """`y` is the product of each row with every row: even its width depends on who shares a run."""
    return graph(
        [
            helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0]),
            helper.make_node("MatMul", ["x", "turned"], ["y"]),
        ],
        [tensor("x", "FP32", ["N", 1])],
        [tensor("y", "FP32", ["N", None])],
    )


def non_zero() -> bytes:
    """`y` has one row for each element that is not zero: not one for each row of the input."""
    return graph(
        [
            helper.make_node("NonZero", ["x"], ["found"]),
            helper.make_node("Transpose", ["found"], ["y"], perm=[1, 0]),
        ],
        [tensor("x", "INT64", [None])],
        [tensor("y", "INT64", [None, 1])],
    )


def zeros() -> bytes:
    """`y` is a tensor of zeros whose shape is the value of `shape`: it takes any amount of memory."""
    return graph(
        [helper.make_node("ConstantOfShape", ["shape"], ["y"])],
        [tensor("shape", "INT64", ["N"])],
        [tensor("y", "FP32", None)],
    )


def long_run(size: int) -> bytes:
    """`y` is `x`, after `x` times as many products of matrices of `size`: a run of any length."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["matrix", "state"], ["moved"]),
            helper.make_node("MatMul", ["moved", "moved"], ["product"]),
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("ReduceMax", ["product"], ["largest"], keepdims=0),
            helper.make_node("Sigmoid", ["largest"], ["state_out"]),
        ],
        "body",
        [
            tensor("step", "INT64", []),
            tensor("go", "BOOL", []),
            tensor("state", "FP32", []),
        ],
        [tensor("go_on", "BOOL", []), tensor("state_out", "FP32", [])],
    )
    return graph(
        [
            helper.make_node(
                "ConstantOfShape",
                ["sizes"],
                ["matrix"],
                value=helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
            ),
            helper.make_node("Squeeze", ["x"], ["steps"]),
            helper.make_node("Loop", ["steps", "", "start"], ["end"], body=body),
            helper.make_node("Identity", ["x"], ["y"]),
        ],
        [tensor("x", "INT64", [1])],
        [tensor("y", "INT64", [1]), tensor("end", "FP32", [])],
        [
            helper.make_tensor("sizes", TensorProto.INT64, [2], [size, size]),
            helper.make_tensor("start", TensorProto.FLOAT, [], [0.0]),
        ],
    )


def score_and_map() -> bytes:
    """`score` is `x`; `by_name`, a sequence of maps, is what scikit-learn's converter adds."""
    maps = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    )
    return graph(
        [
            helper.make_node("Identity", ["x"], ["score"]),
            helper.make_node("ZipMap", ["x"], ["by_name"], domain="ai.onnx.ml", classlabels_strings=["a", "b"]),
        ],
        [tensor("x", "FP32", ["N", 2])],
        [tensor("score", "FP32", ["N", 2]), helper.make_value_info("by_name", maps)],
    )


def saved(folder: Path, content: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return path


def loaded(folder: Path, content: bytes) -> Model:
    return load(saved(folder, content), threads=1)


def server_of(path: Path, batch_max: int = 16, batch_wait_s: float = 0.0) -> ModelServer:
    """Settings as the configuration gives them, for version `1` of a model `m`."""
    return ModelServer("key", "m", "1", path, 1, batch_max, batch_wait_s, "")
