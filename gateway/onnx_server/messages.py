"""The inference request and answer of the Open Inference Protocol with its binary tensor extension.
Pure.

`decode` turns a body into an `InferenceRequest` that fits the model in every respect that can be
known before a run, or raises `Refused`; `encode` makes the answer. Unknown parameters are accepted
and ignored, as the protocol lets clients send their own; those that would change the answer in a
way this server does not offer are refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

import msgspec
import numpy as np

from gateway.onnx_server import tensors
from gateway.onnx_server.datatypes import Array, Datatype
from gateway.onnx_server.errors import Refused, listed, shown
from gateway.onnx_server.session import Model, TensorSpec

MAX_JSON_BYTES = 64 * 1024 * 1024
"""JSON numbers take some twenty times their memory as Python objects; larger tensors must come as
binary.
"""
MAX_RANK = 32
MAX_EMPTY_ELEMENTS = 1_000_000
"""The product of the other sizes where one is 0: such a tensor has no data that would bound it, but
a model may answer with one element per row.
"""

Size = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _InputParameters(msgspec.Struct):
    binary_data_size: Size | None = None
    shared_memory_region: object = None


class _Input(msgspec.Struct):
    name: str
    shape: Annotated[list[Size], msgspec.Meta(max_length=MAX_RANK)]
    datatype: str
    parameters: _InputParameters | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _OutputParameters(msgspec.Struct):
    binary_data: bool | None = None
    classification: object = None
    shared_memory_region: object = None


class _Output(msgspec.Struct):
    name: str
    parameters: _OutputParameters | None = None


class _RequestParameters(msgspec.Struct):
    binary_data_output: bool | None = None


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str | None = None
    outputs: list[_Output] | None = None
    parameters: _RequestParameters | None = None


class _AnsweredParameters(msgspec.Struct):
    binary_data_size: int


class _AnsweredOutput(msgspec.Struct, omit_defaults=True):
    name: str
    datatype: str
    shape: Sequence[int]
    parameters: _AnsweredParameters | None = None
    data: list[tensors.Value] | None = None


class _Answer(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[_AnsweredOutput]
    id: str | None = None


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """One output to answer with, and in which form."""

    name: str
    datatype: Datatype
    as_binary: bool


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """A request that fits the model: one array per input in its order, and what to answer."""

    id: str | None
    inputs: list[Array]
    outputs: tuple[WantedOutput, ...]


class Codec:
    """Requests and answers of one version of one model. Immutable."""

    def __init__(self, model_name: str, model_version: str, model: Model):
        self._model_name = model_name
        self._model_version = model_version
        self._specs = model.inputs
        self._inputs = MappingProxyType({spec.name: place for place, spec in enumerate(model.inputs)})
        self._outputs = MappingProxyType({spec.name: spec for spec in model.outputs})
        self._withheld = model.withheld
        self._all_outputs = {
            as_binary: tuple(WantedOutput(spec.name, spec.datatype, as_binary) for spec in model.outputs)
            for as_binary in (False, True)
        }
        self._decoder = msgspec.json.Decoder(_Request)
        self._encoder = msgspec.json.Encoder()

    def decode(self, body: bytes, json_length: int | None) -> InferenceRequest:
        """The request in `body`, whose first `json_length` bytes are JSON; None: all of it is."""
        request = self._json_part(body, json_length)
        binary = memoryview(body)[len(body) if json_length is None else json_length :]
        with np.errstate(over="raise"):
            inputs = self._decode_inputs(request.inputs, binary)
        return InferenceRequest(request.id, inputs, self._wanted(request))

    def _json_part(self, body: bytes, json_length: int | None) -> _Request:
        if json_length is not None and json_length > len(body):
            raise Refused(
                400,
                f"Inference-Header-Content-Length is {json_length}, the body has {len(body)} bytes",
            )
        head: bytes | memoryview = body if json_length is None else memoryview(body)[:json_length]
        if len(head) > MAX_JSON_BYTES:
            raise Refused(413, f"more than {MAX_JSON_BYTES} bytes of JSON; send large tensors as binary data")
        try:
            return self._decoder.decode(head)
        except msgspec.ValidationError as error:
            raise Refused(400, f"not an inference request: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(400, f"the body is not valid JSON: {error}") from None

    def _decode_inputs(self, inputs: list[_Input], binary: memoryview) -> list[Array]:
        arrays: list[Array | None] = [None] * len(self._specs)
        position = 0
        for given in inputs:
            place = self._inputs.get(given.name)
            if place is None:
                raise Refused(
                    400,
                    f"the model has no input {shown(given.name)}; it has {listed(self._inputs)}",
                )
            if arrays[place] is not None:
                raise Refused(400, f"input {shown(given.name)} is given twice")
            size = given.parameters.binary_data_size if given.parameters else None
            end = position + (size or 0)
            arrays[place] = _decode_input(given, self._specs[place], None if size is None else binary[position:end])
            position = end
        if position != len(binary):
            raise Refused(400, f"the inputs name {position} bytes of binary data, the body has {len(binary)}")
        complete = [array for array in arrays if array is not None]
        if len(complete) != len(arrays):
            missing = (spec.name for spec, array in zip(self._specs, arrays, strict=True) if array is None)
            raise Refused(400, f"missing inputs: {listed(missing)}")
        return complete

    def _wanted(self, request: _Request) -> tuple[WantedOutput, ...]:
        as_binary = bool(request.parameters and request.parameters.binary_data_output)
        if not request.outputs:
            return self._all_outputs[as_binary]
        wanted = {output.name: self._wanted_output(output, as_binary) for output in request.outputs}
        if len(wanted) != len(request.outputs):
            raise Refused(400, "an output is requested twice")
        return tuple(wanted.values())

    def _wanted_output(self, output: _Output, as_binary: bool) -> WantedOutput:
        spec = self._outputs.get(output.name)
        if spec is None:
            raise Refused(400, _no_output(output.name, self._outputs, self._withheld))
        parameters = output.parameters
        if parameters is not None:
            if parameters.classification is not None:
                raise Refused(400, "the classification extension is not offered; request the output as it is")
            if parameters.shared_memory_region is not None:
                raise Refused(400, "shared memory is not offered; request the output in the answer")
            if parameters.binary_data is not None:
                as_binary = parameters.binary_data
        return WantedOutput(spec.name, spec.datatype, as_binary)

    def encode(self, request: InferenceRequest, arrays: Sequence[Array]) -> tuple[bytes, int | None]:
        """The answer's body and, if a binary part follows it, the length of its JSON part."""
        answered: list[_AnsweredOutput] = []
        binary: list[bytes] = []
        for wanted, array in zip(request.outputs, arrays, strict=True):
            output = _AnsweredOutput(wanted.name, wanted.datatype.name, array.shape)
            if wanted.as_binary:
                binary.append(tensors.to_binary(array, wanted.datatype))
                output.parameters = _AnsweredParameters(len(binary[-1]))
            else:
                output.data = tensors.to_json(array)
            answered.append(output)
        head = self._encoder.encode(_Answer(self._model_name, self._model_version, answered, request.id))
        return (b"".join((head, *binary)), len(head)) if binary else (head, None)


def _decode_input(given: _Input, spec: TensorSpec, binary: memoryview | None) -> Array:
    """One input as an array; a refusal names the input."""
    try:
        _check_description(given, spec)
        if binary is not None:
            if given.data is not msgspec.UNSET:
                raise Refused(400, "both data and binary_data_size are given")
            return tensors.from_binary(binary, spec.datatype, given.shape)
        if given.data is msgspec.UNSET:
            raise Refused(400, "neither data nor binary_data_size is given")
        return tensors.from_json(memoryview(given.data), spec.datatype, given.shape)
    except Refused as refused:
        raise Refused(refused.status, f"input {shown(given.name)}: {refused.message}") from None
    except (OverflowError, FloatingPointError):
        raise Refused(400, f"input {shown(given.name)}: a number is out of the range of {spec.datatype.name}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"input {shown(given.name)}: data is not valid: {error}") from None


def _check_description(given: _Input, spec: TensorSpec) -> None:
    if given.datatype != spec.datatype.name:
        raise Refused(400, f"the model takes datatype {spec.datatype.name}, not {shown(given.datatype)}")
    if spec.shape and not _fits(given.shape, spec.shape):
        raise Refused(400, f"the model takes shape {list(spec.shape)}, not {shown(given.shape)}")
    if 0 in given.shape and math.prod(size or 1 for size in given.shape) > MAX_EMPTY_ELEMENTS:
        raise Refused(400, f"shape {shown(given.shape)} has no elements but is too large")
    if given.parameters is not None and given.parameters.shared_memory_region is not None:
        raise Refused(400, "shared memory is not offered; send the data in the request")


def _fits(shape: list[int], declared: tuple[int, ...]) -> bool:
    if len(shape) != len(declared):
        return False
    for size, wanted in zip(shape, declared, strict=True):  # noqa: SIM110 (twice as fast so)
        if size != wanted and wanted >= 0:
            return False
    return True


def _no_output(name: str, known: Mapping[str, TensorSpec], withheld: Mapping[str, str]) -> str:
    kind = withheld.get(name)
    if kind is not None:
        return f"output {shown(name)} is {kind}, which cannot be sent; export it as a tensor"
    return f"the model has no output {shown(name)}; it has {listed(known)}"
