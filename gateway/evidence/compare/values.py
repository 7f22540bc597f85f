"""Decoded JSON values and when two of them are the same.

Python calls 1, 1.0 and True equal; JSON does not call true a number. Every equality in this package
goes through `same`, or rules booleans out first.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Number: TypeAlias = "int | float"

CONTAINERS: Final = frozenset({list, dict})
# Among these, Python's == is JSON's: no booleans to pass for numbers, nothing nested.
_PLAINLY_COMPARABLE: Final = frozenset({int, float, str, type(None)})


def plainly_equal(left: Json, right: Json) -> bool:
    """Whether these are equal lists of plain values; False may also mean that it takes a walk."""
    plain = _PLAINLY_COMPARABLE
    return (
        isinstance(left, list)
        and isinstance(right, list)
        and len(left) == len(right)
        and plain.issuperset(map(type, left))
        and left == right
        and plain.issuperset(map(type, right))
    )


def same(left: Json, right: Json) -> bool:
    """Whether two values, not both containers, are equal as JSON; a NaN is the same as a NaN."""
    kind, other = type(left), type(right)
    if kind is other:
        return left == right or (kind is float and _is_nan(left) and _is_nan(right))
    return (kind is int or kind is float) and (other is int or other is float) and left == right


def is_number(value: Json) -> bool:
    """Whether the value is a number in JSON: a boolean is not, nor is a NaN or an infinity."""
    kind = type(value)
    return kind is int or (isinstance(value, float) and math.isfinite(value))


def _is_nan(value: Json) -> bool:
    return isinstance(value, float) and math.isnan(value)
