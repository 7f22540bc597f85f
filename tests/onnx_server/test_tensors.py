"""Tensor data to arrays and back: every datatype, JSON and binary, and what is refused."""

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gateway.onnx_server import tensors
from gateway.onnx_server.datatypes import BY_NAME, Array, Datatype
from gateway.onnx_server.errors import Refused

NUMBERS = [name for name in BY_NAME if name != "BYTES"]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def from_json(text: str, datatype: str, shape: list[int]) -> Array:
    with np.errstate(over="raise"):
        return tensors.from_json(text.encode(), BY_NAME[datatype], shape)


def elements(datatype: Datatype, finite: bool) -> st.SearchStrategy[object]:
    if datatype.is_text:
        return st.text()
    if datatype.element is float:
        width = datatype.numpy.itemsize * 8
        return st.floats(width=width, allow_nan=not finite, allow_infinity=not finite)  # type: ignore[arg-type]
    return arrays.from_dtype(datatype.numpy)


@st.composite
def tensor(draw: st.DrawFn, finite: bool) -> tuple[Datatype, Array]:
    datatype = BY_NAME[draw(st.sampled_from(sorted(BY_NAME)))]
    shape = draw(SHAPES)
    count = math.prod(shape)
    values = draw(st.lists(elements(datatype, finite), min_size=count, max_size=count))
    return datatype, np.array(values, datatype.numpy).reshape(shape)


@given(tensor(finite=False))
def test_binary_data_comes_back_bit_by_bit(case: tuple[Datatype, Array]) -> None:
    datatype, array = case
    data = tensors.to_binary(array, datatype)
    again = tensors.from_binary(memoryview(data), datatype, list(array.shape))
    assert (again.dtype, again.shape) == (datatype.numpy, array.shape)
    assert tensors.to_binary(again, datatype) == data


@given(tensor(finite=True), st.booleans())
def test_json_data_comes_back_as_it_was_flat_or_nested(case: tuple[Datatype, Array], nested: bool) -> None:
    datatype, array = case
    values = array.tolist() if nested and array.ndim else tensors.to_json(array)
    again = from_json(json.dumps(values), datatype.name, list(array.shape))
    assert (again.dtype, again.shape) == (datatype.numpy, array.shape)
    assert tensors.to_json(again) == tensors.to_json(array)


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("BOOL", "[1]"),
        ("BOOL", '["true"]'),
        ("INT8", "[128]"),
        ("INT8", "[1.5]"),
        ("INT8", "[true]"),
        ("INT64", "[9223372036854775808]"),
        ("INT64", "[123456789012345678901234567890]"),
        ("UINT8", "[-1]"),
        ("UINT64", "[18446744073709551616]"),
        ("FP16", "[65520]"),
        ("FP32", "[1e39]"),
        ("FP32", "[null]"),
        ("FP32", '["1"]'),
        ("FP64", "[1e400]"),
        ("FP64", "[NaN]"),
        ("FP64", "[Infinity]"),
        ("BYTES", "[1]"),
        ("BYTES", "[null]"),
        ("FP32", "1"),
        ("FP32", "null"),
        ("FP32", "{}"),
        ("FP32", "[]"),
        ("FP32", "[1,2]"),
        ("FP32", "[[1]]"),
        ("FP32", "[1"),
    ],
)
def test_json_that_is_no_element_of_the_datatype_is_refused(datatype: str, data: str) -> None:
    # The caller of `from_json` makes one refusal of all of these, and names the input in it.
    with pytest.raises((Refused, OverflowError, FloatingPointError, ValueError)):
        from_json(data, datatype, [1])


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ("[[1,2],[3]]", [2, 2]),
        ("[[1,2],[3,4],[5,6]]", [2, 2]),
        ("[[1,2],[3,4]]", [2, 3]),
        ("[[1,2],[3,4]]", [4]),
        ("[[1,2],[3,4]]", [1, 2, 2]),
        ("[[[1],[2]],[[3],[4]]]", [2, 2]),
        ("[[1,2],3,4]", [2, 2]),
        ("[[], []]", [2, 1]),
        ("[1,2,3]", [2, 2]),
        ("[1]", [2**40, 2**40]),
    ],
)
def test_json_that_does_not_have_the_shape_is_refused(data: str, shape: list[int]) -> None:
    with pytest.raises(Refused, match="data"):
        from_json(data, "INT32", shape)


def test_empty_tensors_have_their_shape() -> None:
    for data, shape in (("[]", [0]), ("[]", [0, 3]), ("[[],[]]", [2, 0]), ("[]", [2, 0])):
        assert from_json(data, "FP32", shape).shape == tuple(shape)


@pytest.mark.parametrize("datatype", NUMBERS)
def test_binary_data_of_another_size_is_refused(datatype: str) -> None:
    kind = BY_NAME[datatype]
    data = bytes(kind.numpy.itemsize * 6)
    assert tensors.from_binary(memoryview(data), kind, [2, 3]).shape == (2, 3)
    for wrong in (data[:-1], data + b"\0", b""):
        with pytest.raises(Refused, match="wants"):
            tensors.from_binary(memoryview(wrong), kind, [2, 3])


def test_binary_data_at_an_odd_place_is_aligned_for_the_runtime() -> None:
    data = b"{" + struct.pack("<2d", 1.5, 2.5)
    array = tensors.from_binary(memoryview(data)[1:], BY_NAME["FP64"], [2])
    assert array.flags.aligned
    assert array.tolist() == [1.5, 2.5]


def test_a_bool_of_another_value_is_refused() -> None:
    with pytest.raises(Refused, match="neither 0 nor 1"):
        tensors.from_binary(memoryview(b"\0\1\2"), BY_NAME["BOOL"], [3])


@pytest.mark.parametrize(
    ("data", "count", "words"),
    [
        (b"", 1, "cannot hold 1"),
        (b"\1\0\0", 1, "cannot hold"),
        (struct.pack("<I", 5) + b"abc", 1, "element 0 is longer"),
        (struct.pack("<I", 2**32 - 1) + b"abc", 1, "element 0 is longer"),
        (struct.pack("<I", 3) + b"abc" + b"\0", 2, "cannot hold|ends before"),
        (struct.pack("<I", 9) + b"abcdefghi", 2, "ends before its BYTES element 1"),
        (struct.pack("<I", 1) + b"abc", 1, "2 bytes after"),
        (struct.pack("<I", 2) + b"\xff\xfe", 1, "element 0 is not UTF-8"),
        (b"", 2**60, "cannot hold"),
    ],
)
def test_binary_texts_that_do_not_add_up_are_refused(data: bytes, count: int, words: str) -> None:
    with pytest.raises(Refused, match=words):
        tensors.from_binary(memoryview(data), BY_NAME["BYTES"], [count])


@given(st.binary(max_size=100), st.sampled_from(sorted(BY_NAME)), st.integers(0, 6))
def test_no_binary_data_does_more_than_be_refused(data: bytes, datatype: str, size: int) -> None:
    try:
        shape = tensors.from_binary(memoryview(data), BY_NAME[datatype], [size]).shape
    except Refused as refused:
        shape = (refused.status,)
    assert shape in ((size,), (400,))
