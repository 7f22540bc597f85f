"""One ONNX model in onnxruntime: loaded, described, run. The only module that imports onnxruntime.

`load` raises `ModelUnusable` and nothing else; `Model.run` raises `RunFailed` and nothing else,
whatever the model or its input does. Session settings: `threads` for one operator and one for the
graph, no spinning (a waiting thread that spins takes the CPU of the gateway beside it), all graph
optimisations. onnxruntime's own log is kept to warnings, and off during runs: a failed run is
answered to its client, not logged once per bad request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from gateway.onnx_server.datatypes import BY_ONNX, DATATYPES, Array, Datatype
from gateway.onnx_server.errors import ModelUnusable, listed

PLATFORM = "onnx_onnxv1"
MAX_REASON_CHARACTERS = 300
_LOG_WARNING, _LOG_FATAL = 2, 4

# onnxruntime has no common base class for its errors; std::bad_alloc arrives as MemoryError.
_INPUT_ERRORS = (
    runtime_errors.InvalidArgument,
    runtime_errors.Fail,
    runtime_errors.RuntimeException,
)
_OTHER_ERRORS = (
    runtime_errors.EngineError,
    runtime_errors.EPFail,
    runtime_errors.InvalidGraph,
    runtime_errors.InvalidProtobuf,
    runtime_errors.ModelLoadCanceled,
    runtime_errors.ModelRequiresCompilation,
    runtime_errors.NoModel,
    runtime_errors.NoSuchFile,
    runtime_errors.NotFound,
    runtime_errors.NotImplemented,
    RuntimeError,
    ValueError,
    TypeError,
    MemoryError,
)
_ERRORS = (*_INPUT_ERRORS, *_OTHER_ERRORS)


class RunFailed(Exception):
    """A run did not succeed. `status` is 400 when the input made the model fail, 503 when memory
    ran out, 500 when the model itself is at fault.
    """

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of the model; -1 in `shape` is any size. An empty shape is a scalar or
    undeclared: onnxruntime does not tell the two apart, so neither is checked here.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


class _Argument(Protocol):
    """What onnxruntime says of one input or output."""

    name: str
    type: str
    shape: list[int | str | None]


class _Session(Protocol):
    def get_inputs(self) -> list[_Argument]: ...
    def get_outputs(self) -> list[_Argument]: ...
    def run(self, output_names: Sequence[str], feed: dict[str, Array], options: object) -> list[Array]: ...


class Model:
    """A loaded model. `withheld` names outputs that are no tensors, with their type: the protocol
    has no form for them. `batchable` says that requests may share a run, row by row.
    """

    def __init__(self, session: _Session):
        inputs, outputs = session.get_inputs(), session.get_outputs()
        self.inputs = tuple(_input(argument) for argument in inputs)
        self.outputs = tuple(
            TensorSpec(argument.name, BY_ONNX[argument.type], _shape(argument))
            for argument in outputs
            if argument.type in BY_ONNX
        )
        self.withheld: Mapping[str, str] = MappingProxyType(
            {argument.name: argument.type for argument in outputs if argument.type not in BY_ONNX}
        )
        if not self.outputs:
            raise ModelUnusable(_no_tensor_outputs(self.withheld))
        self.batchable = _rows_are_declared([*inputs, *(out for out in outputs if out.type in BY_ONNX)])
        self._input_names = tuple(spec.name for spec in self.inputs)
        self._run: Callable[[Sequence[str], dict[str, Array], object], list[Array]] = session.run
        self._options = onnxruntime.RunOptions()
        self._options.log_severity_level = _LOG_FATAL

    def run(self, inputs: Sequence[Array], outputs: Sequence[str]) -> list[Array]:
        """Run the model on one array per input, in the order of `inputs`; one array per name in
        `outputs`. One thread at a time.
        """
        feed = dict(zip(self._input_names, inputs, strict=True))
        try:
            return self._run(outputs, feed, self._options)
        except _ERRORS as error:
            raise _run_failed(error) from error

    def stop(self) -> None:
        """Let runs fail at their next operator, the one that is going on and all later ones, until
        `go_on` is called. From any thread.
        """
        self._options.terminate = True

    def go_on(self) -> None:
        """Let runs succeed again."""
        self._options.terminate = False


def load(path: Path, threads: int) -> Model:
    """Load the model at `path`, whose operators may use `threads` threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_cpu_mem_arena = True
    options.log_severity_level = _LOG_WARNING
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return Model(session)
    except ModelUnusable as error:
        raise ModelUnusable(f"{path}: {error}") from None
    except (*_ERRORS, OSError) as error:
        raise ModelUnusable(f"{path}: {_reason(error)}") from error


def _input(argument: _Argument) -> TensorSpec:
    datatype = BY_ONNX.get(argument.type)
    if datatype is None:
        supported = ", ".join(datatype.name for datatype in DATATYPES)
        raise ModelUnusable(
            f"input {argument.name!r} is {argument.type}, which cannot be sent; supported are tensors of {supported}"
        )
    return TensorSpec(argument.name, datatype, _shape(argument))


def _shape(argument: _Argument) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in argument.shape)


def _rows_are_declared(arguments: Sequence[_Argument]) -> bool:
    """Every input and output has a first dimension of any size, and no two of them are named
    differently: a model with `rows` and `columns` as first dimensions does not treat both as the
    batch.
    """
    first = [argument.shape[0] if argument.shape else 0 for argument in arguments]
    if any(isinstance(size, int) for size in first):
        return False
    # onnxruntime names what the model leaves unnamed `unk__` and a number.
    names = {size for size in first if isinstance(size, str) and not size.startswith("unk__")}
    return len(names) <= 1


def _no_tensor_outputs(withheld: Mapping[str, str]) -> str:
    found = listed(f"{name} is {kind}" for name, kind in withheld.items()) or "it has none"
    return f"no output is a tensor ({found}); convert scikit-learn models with zipmap off"


def _run_failed(error: Exception) -> RunFailed:
    reason = _reason(error)
    if isinstance(error, MemoryError) or "allocate memory" in reason or "bad_alloc" in reason:
        return RunFailed(503, "not enough memory to run the model on this input")
    status = 400 if isinstance(error, _INPUT_ERRORS) else 500
    return RunFailed(status, f"the model failed on this input: {reason}")


def _reason(error: Exception) -> str:
    """What onnxruntime says, without its prefix `[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : `."""
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    return text[:MAX_REASON_CHARACTERS] or type(error).__name__
