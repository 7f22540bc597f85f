"""How far apart two numbers are, and whether that is tolerated.

Doubles are compared in double arithmetic. As soon as a whole number too large for a double takes
part, the arithmetic is exact: 2**53 and 2**53 + 1 are two numbers, and 10**400 is one.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from typing import Final

from gateway.evidence.compare.values import Number

LARGEST: Final = sys.float_info.max
_EXACT_IN_A_DOUBLE: Final = 2**53


def distance(left: Number, right: Number, absolute: float, relative: float) -> tuple[float, bool]:
    """|left - right| of two finite numbers (at most `LARGEST`), and whether it is tolerated.

    Tolerated means |a - b| <= max(absolute, relative * max(|a|, |b|)).
    """
    if not (_fits(left) and _fits(right)):
        return _exact_distance(left, right, absolute, relative)
    size = float(abs(left - right))
    tolerated = size <= absolute or size <= relative * max(abs(left), abs(right))
    return min(size, LARGEST), tolerated


def _fits(value: Number) -> bool:
    return type(value) is float or -_EXACT_IN_A_DOUBLE <= value <= _EXACT_IN_A_DOUBLE


def _exact_distance(left: Number, right: Number, absolute: float, relative: float) -> tuple[float, bool]:
    one, other = Fraction(left), Fraction(right)
    size = abs(one - other)
    limit = max(Fraction(absolute), Fraction(relative) * max(abs(one), abs(other)))
    return (float(size) if size <= LARGEST else LARGEST), size <= limit
