"""Binary tensors of the Open Inference Protocol as flat lists of plain values.

Little-endian elements one after the other; BYTES elements each after a length of four bytes. Text
that is no UTF-8 keeps its bytes as surrogates: different byte strings never compare as equal.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from gateway.evidence.compare.values import Json

_NUMPY_TYPES: Final[dict[str, np.dtype[Any]]] = {
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_LENGTH_BYTES: Final = 4


class BadTensor(ValueError):
    """Bytes that are no tensor of their datatype; `reason` is one of `answers.Reason`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def tensor_values(datatype: Json, content: memoryview, max_elements: int) -> list[Json]:
    """The elements of one binary tensor; `BadTensor` when the bytes do not fit the datatype."""
    if datatype == "BYTES":
        return _bytes_elements(content, max_elements)
    if datatype == "BOOL":
        _check_count(len(content), max_elements)
        return [byte != 0 for byte in content]
    if datatype == "BF16":
        # The upper half of a float32: the lower half is zeros.
        halves = _elements(np.dtype("<u2"), content, max_elements)
        return _plain((halves.astype("<u4") << 16).view("<f4"))
    known = _NUMPY_TYPES.get(datatype) if isinstance(datatype, str) else None
    if known is None:
        raise BadTensor("datatype", "binary data of an unknown datatype")
    return _plain(_elements(known, content, max_elements))


def _elements(kind: np.dtype[Any], content: memoryview, most: int) -> np.ndarray[Any, Any]:
    if len(content) % kind.itemsize:
        raise BadTensor("binary_size", f"{len(content)} bytes are no whole number of elements")
    _check_count(len(content) // kind.itemsize, most)
    return np.frombuffer(content, dtype=kind)


def _plain(elements: np.ndarray[Any, Any]) -> list[Json]:
    values: list[Json] = elements.tolist()
    return values


def _bytes_elements(content: memoryview, max_elements: int) -> list[Json]:
    values: list[Json] = []
    place = 0
    while place < len(content):
        start = place + _LENGTH_BYTES
        place = start + int.from_bytes(content[place:start], "little")
        if start > len(content) or place > len(content):
            raise BadTensor("binary_size", "a BYTES element runs past the end of its tensor")
        values.append(str(content[start:place], "utf-8", "surrogateescape"))
        _check_count(len(values), max_elements)
    return values


def _check_count(count: int, most: int) -> None:
    if count > most:
        raise BadTensor("too_many", f"more than {most} elements")
