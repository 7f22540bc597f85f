"""Tensor data between bytes and arrays: JSON and binary, one tensor at a time, both directions.
Pure.

Whatever a client sends, decoding either gives an array of exactly the declared shape and datatype
or raises `Refused`; counts are checked against the bytes at hand before anything of the declared
size is made. JSON numbers are never rounded silently into another range: 300 is no INT8, 1e39 no
FP32. An infinity or NaN has no JSON form: sent it is refused, answered it is null; binary tensors
carry both.
"""

from __future__ import annotations

import functools
import math
import struct
from typing import TypeAlias

import msgspec
import numpy as np

from gateway.onnx_server.datatypes import BY_NAME, Array, Datatype
from gateway.onnx_server.errors import Refused, shown

Value: TypeAlias = "bool | int | float | str | list[Value] | None"
Bytes = bytes | memoryview

_LENGTH = struct.Struct("<I")


def from_json(data: Bytes, datatype: Datatype, shape: list[int]) -> Array:
    """The array that `data`, a JSON list, flat or nested as `shape` says, stands for.

    Numbers too large for the datatype raise FloatingPointError where the caller has set
    `np.errstate(over="raise")`, once for all tensors of a request because it costs as much as
    decoding a small tensor.
    """
    try:
        values = _decoder(datatype.name, 1).decode(data)
    except msgspec.ValidationError as error:
        if len(shape) < 2:
            raise Refused(400, f"data does not fit datatype {datatype.name}: {error}") from None
        return _from_nested(data, datatype, shape)
    if len(values) != math.prod(shape):
        raise Refused(400, f"data has {len(values)} elements, shape {shown(shape)} wants {math.prod(shape)}")
    return np.array(values, datatype.numpy).reshape(shape)


def _from_nested(data: Bytes, datatype: Datatype, shape: list[int]) -> Array:
    try:
        values = _decoder(datatype.name, len(shape)).decode(data)
    except msgspec.ValidationError as error:
        raise Refused(400, f"data does not fit datatype {datatype.name} of shape {shown(shape)}: {error}") from None
    level = values
    for size in shape[1:]:
        rows = [row for row in level if isinstance(row, list)]
        if any(len(row) != size for row in rows):
            raise Refused(400, f"nested data does not have the shape {shown(shape)}")
        level = [value for row in rows for value in row]
    if len(values) != shape[0]:
        raise Refused(400, f"nested data does not have the shape {shown(shape)}")
    return np.array(level, datatype.numpy).reshape(shape)


@functools.cache
def _decoder(name: str, depth: int) -> msgspec.json.Decoder[list[Value]]:
    nested: object = BY_NAME[name].element
    for _ in range(depth):
        nested = list[nested]  # type: ignore[valid-type]
    return msgspec.json.Decoder(nested)


def from_binary(data: memoryview, datatype: Datatype, shape: list[int]) -> Array:
    """The array whose elements `data` holds, little-endian and row by row; numbers are not copied
    if aligned.
    """
    count = math.prod(shape)
    if datatype.is_text:
        return _texts_from_binary(data, count).reshape(shape)
    wanted = count * datatype.numpy.itemsize
    if len(data) != wanted:
        raise Refused(
            400,
            f"binary data has {len(data)} bytes, {datatype.name} of shape {shown(shape)} wants {wanted}",
        )
    array: Array = np.frombuffer(data, datatype.numpy)
    if datatype.element is bool and np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise Refused(400, "a BOOL in binary data is neither 0 nor 1")
    if not array.flags.aligned:
        array = array.copy()
    return array.reshape(shape)


def _texts_from_binary(data: memoryview, count: int) -> Array:
    if count * _LENGTH.size > len(data):
        raise Refused(400, f"binary data of {len(data)} bytes cannot hold {count} BYTES elements")
    texts: list[str] = []
    position = 0
    for _ in range(count):
        start = position + _LENGTH.size
        if start > len(data):
            raise Refused(400, f"binary data ends before its BYTES element {len(texts)}")
        position = start + _LENGTH.unpack_from(data, position)[0]
        if position > len(data):
            raise Refused(400, f"BYTES element {len(texts)} is longer than the binary data")
        try:
            texts.append(str(data[start:position], "utf-8"))
        except UnicodeDecodeError:
            # onnxruntime's strings are text; other bytes would be changed without a word.
            raise Refused(400, f"BYTES element {len(texts)} is not UTF-8") from None
    if position != len(data):
        raise Refused(400, f"binary data has {len(data) - position} bytes after its last BYTES element")
    return np.array(texts, object)


def to_json(array: Array) -> list[Value]:
    """The elements in row-major order. FP32 keeps every digit of its double: both sides read the
    same number.
    """
    values: list[Value] = array.ravel().tolist()
    return values


def to_binary(array: Array, datatype: Datatype) -> bytes:
    """The elements, little-endian and row by row; each BYTES element behind its length in four
    bytes.
    """
    if not datatype.is_text:
        return array.astype(datatype.numpy, copy=False).tobytes()
    parts: list[bytes] = []
    for text in array.ravel().tolist():
        content = text.encode()
        parts += (_LENGTH.pack(len(content)), content)
    return b"".join(parts)
