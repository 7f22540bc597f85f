"""Small ONNX files for tests that need a model server but not a model worth serving."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper


def adds(path: Path, amount: float) -> Path:
    """Write a model that adds `amount` to every number of `x`, as `y`; the path."""
    shape = ["rows", 2]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "amount"], ["y"])],
        "adds",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [helper.make_tensor("amount", TensorProto.FLOAT, [1], [amount])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path
