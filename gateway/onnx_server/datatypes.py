"""The datatypes of the Open Inference Protocol that this server carries, as one table.

Each row ties the protocol's name to numpy's type, onnxruntime's type and the JSON type of an
element. What is not in the table (BF16, which numpy does not have, 4- and 8-bit floats, complex
numbers) cannot be an input or output.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.generic]
Element: TypeAlias = type[bool] | type[int] | type[float] | type[str]


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype. Binary tensors are little-endian, so `numpy` is spelled that way."""

    name: str
    onnx: str
    numpy: np.dtype[np.generic]
    element: Element

    @property
    def is_text(self) -> bool:
        """Elements are byte strings of any length rather than numbers of one size."""
        return self.element is str


DATATYPES = (
    Datatype("BOOL", "tensor(bool)", np.dtype("?"), bool),
    Datatype("INT8", "tensor(int8)", np.dtype("i1"), int),
    Datatype("INT16", "tensor(int16)", np.dtype("<i2"), int),
    Datatype("INT32", "tensor(int32)", np.dtype("<i4"), int),
    Datatype("INT64", "tensor(int64)", np.dtype("<i8"), int),
    Datatype("UINT8", "tensor(uint8)", np.dtype("u1"), int),
    Datatype("UINT16", "tensor(uint16)", np.dtype("<u2"), int),
    Datatype("UINT32", "tensor(uint32)", np.dtype("<u4"), int),
    Datatype("UINT64", "tensor(uint64)", np.dtype("<u8"), int),
    Datatype("FP16", "tensor(float16)", np.dtype("<f2"), float),
    Datatype("FP32", "tensor(float)", np.dtype("<f4"), float),
    Datatype("FP64", "tensor(double)", np.dtype("<f8"), float),
    Datatype("BYTES", "tensor(string)", np.dtype(object), str),
)

BY_NAME = MappingProxyType({datatype.name: datatype for datatype in DATATYPES})
BY_ONNX = MappingProxyType({datatype.onnx: datatype for datatype in DATATYPES})
