"""The quantities a configuration is written in, and how a wrong value is spoken of.

A value has one meaning, or it is an error that says what was expected and what was found. Written
and read again it is exactly the same value. Nothing here reads a file.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

_SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
LONGEST_S = 3650 * 86400
FINEST_S = Decimal("0.000001")
LARGEST_BYTES = 2**50
SHOWN_CHARACTERS = 60

DURATION_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,9})?(ms|s|m|h|d)$"
SIZE_PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,6})?(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$"


def refuse(message: str) -> PydanticCustomError:
    """An error in the operator's words, for a validator to raise."""
    return PydanticCustomError("refused", "{text}", {"text": message})


def shown(value: object) -> str:
    """What was found, in the words of the file rather than of Python, and never long."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else str(value)
    return named(text)


def named(name: str) -> str:
    """A name as it can stand in a line of a terminal or a log: printable, and never long."""
    text = name[:SHOWN_CHARACTERS]
    if not text.isprintable():
        text = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
    whole = len(text) <= SHOWN_CHARACTERS and len(name) <= SHOWN_CHARACTERS
    return text if whole else text[: SHOWN_CHARACTERS - 1] + "…"


def parse_duration(text: str) -> float:
    """Seconds of a text such as 250ms, 2s, 1.5m, 1h or 30d; ValueError if it is none."""
    match = re.fullmatch(r"([0-9.]+)([a-z]+)", text)
    if match is None or not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"no duration: {shown(text)}")
    seconds = Decimal(match[1]) * _SECONDS[match[2]]
    if seconds % FINEST_S:
        raise ValueError(f"no duration: {shown(text)}")
    return float(seconds)


def format_duration(seconds: float) -> str:
    """A short text that reads back as exactly these seconds."""
    exact = Decimal(repr(seconds))
    for unit in ("d", "h", "m", "s", "ms"):
        count = exact / _SECONDS[unit]
        if count >= 1 and count == count.to_integral_value():
            return f"{int(count)}{unit}"
    return f"{exact:f}s" if exact else "0s"


def parse_size(text: str) -> int:
    """Bytes of a text such as 4MiB or 10MB; ValueError if it is none."""
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]+)", text)
    if match is None or not re.fullmatch(SIZE_PATTERN, text):
        raise ValueError(f"no size: {shown(text)}")
    size_bytes = Decimal(match[1]) * _BYTES[match[2]]
    if size_bytes % 1:
        raise ValueError(f"no size: {shown(text)}")
    return int(size_bytes)


def format_size(size_bytes: int) -> str:
    """A short text that reads back as exactly these bytes."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % _BYTES[unit] == 0:
            return f"{size_bytes // _BYTES[unit]}{unit}"
    return str(size_bytes)


def _duration(value: object, info: ValidationInfo) -> float:
    # A configuration made in Python has its durations in seconds; one that is written has a unit.
    if info.mode == "python" and isinstance(value, int | float) and not isinstance(value, bool):
        seconds = round(float(value), 6)
    elif isinstance(value, str):
        try:
            seconds = parse_duration(value)
        except ValueError:
            raise refuse(f"expected a duration such as 2s, got {shown(value)}") from None
    else:
        raise refuse(f"expected a duration such as 2s, got {shown(value)}")
    if not 0 <= seconds <= LONGEST_S:
        longest = format_duration(LONGEST_S)
        raise refuse(f"expected a duration of at most {longest}, got {shown(value)}")
    return seconds


def _positive(seconds: float) -> float:
    if seconds == 0:
        raise refuse("expected a duration longer than 0s, such as 2s")
    return seconds


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        size_bytes = value
    elif isinstance(value, str):
        try:
            size_bytes = parse_size(value)
        except ValueError:
            raise refuse(f"expected a size such as 4MiB, got {shown(value)}") from None
    else:
        raise refuse(f"expected a size such as 4MiB or a number of bytes, got {shown(value)}")
    if not 1 <= size_bytes <= LARGEST_BYTES:
        largest = format_size(LARGEST_BYTES)
        raise refuse(f"expected a size from 1 byte to {largest}, got {shown(value)}")
    return size_bytes


_DURATION_SCHEMA = {"type": "string", "pattern": DURATION_PATTERN}
_SIZE_SCHEMA = {
    "type": ["string", "integer"],
    "pattern": SIZE_PATTERN,
    "minimum": 1,
    "maximum": LARGEST_BYTES,
}

Wait = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema(_DURATION_SCHEMA),
]
"""Seconds; 0s means not to wait."""

Duration = Annotated[
    float,
    BeforeValidator(_duration),
    AfterValidator(_positive),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema(_DURATION_SCHEMA),
]
"""Seconds, more than 0."""

Size = Annotated[int, BeforeValidator(_size), WithJsonSchema(_SIZE_SCHEMA)]
"""Bytes, at least 1."""
