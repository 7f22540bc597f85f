"""The bytes of an answer as the values a comparator takes.

JSON is read strictly (no NaN, UTF-8 only). With `Inference-Header-Content-Length` the body is JSON
and binary tensors, and those become `data` lists as if they had been sent as JSON. What cannot be
read is a value with a reason, never an exception: a challenger may send anything. Every size is
bounded. The content type decides nothing (backends label JSON in many ways): it explains a failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

import msgspec

from gateway.evidence.compare.binary import BadTensor, tensor_values
from gateway.evidence.compare.values import CONTAINERS, Json

MAX_ELEMENTS: Final = 1_000_000
MAX_DEPTH: Final = 128
_MAX_TYPE_SHOWN: Final = 100
_MAX_LENGTH_DIGITS: Final = 18

Reason: TypeAlias = Literal["not_json", "too_deep", "too_many", "head_length", "binary_size", "datatype"]


class Body:
    """An answer as it came over the wire; `head_length`: the field's value, or empty."""

    __slots__ = ("content", "content_type", "head_length")

    # Written out, as dataclasses make theirs of text that is not compiled: two are made for every pair.
    def __init__(self, content: bytes, content_type: str = "", head_length: str = ""):
        self.content = content
        self.content_type = content_type
        self.head_length = head_length


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Why an answer cannot be compared."""

    reason: Reason
    detail: str


def decode(body: Body) -> Json | Undecodable:
    """The answer's value, with binary tensors as `data` lists."""
    content = body.content
    if not body.head_length:
        return _decode_json(content, body.content_type)
    digits = body.head_length
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MAX_LENGTH_DIGITS):
        return Undecodable("head_length", "Inference-Header-Content-Length is no whole number")
    length = int(digits)
    if length > len(content):
        return Undecodable("head_length", "Inference-Header-Content-Length exceeds the body")
    head = _decode_json(content[:length], body.content_type)
    if isinstance(head, Undecodable):
        return head
    try:
        return _with_tensors(head, memoryview(content)[length:])
    except BadTensor as error:
        return Undecodable(cast("Reason", error.reason), error.detail)


def _decode_json(content: bytes, content_type: str) -> Json | Undecodable:
    # A value takes a byte at least, so only a long body can hold too many.
    if len(content) > MAX_ELEMENTS and _elements_at_least(content) > MAX_ELEMENTS:
        return Undecodable("too_many", f"more than {MAX_ELEMENTS} values")
    try:
        value: Json = msgspec.json.decode(content)
    except (msgspec.MsgspecError, ValueError) as error:
        shown = content_type[:_MAX_TYPE_SHOWN] or "no content type"
        return Undecodable("not_json", f"{error} ({shown})")
    except RecursionError:
        return Undecodable("too_deep", f"nested more than {MAX_DEPTH} deep")
    # Every level takes a bracket and its partner, so only a longer body can be too deep.
    if len(content) > 2 * MAX_DEPTH and _is_too_deep(content, value):
        return Undecodable("too_deep", f"nested more than {MAX_DEPTH} deep")
    return value


def _elements_at_least(content: bytes) -> int:
    """Commas separate values; one inside a text counts too, which only ever refuses more."""
    return content.count(b",") + 1


def _is_too_deep(content: bytes, value: Json) -> bool:
    if content.count(b"[") + content.count(b"{") <= MAX_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [member for parent in level for member in _members(parent) if type(member) in CONTAINERS]
        if not level:
            return False
    return True


def _members(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _with_tensors(head: Json, tail: memoryview) -> Json:
    """The head with each output's binary data read; all of the tail must be used up."""
    outputs = head.get("outputs") if isinstance(head, dict) else None
    place, left = 0, MAX_ELEMENTS
    for output in outputs if isinstance(outputs, list) else []:
        if not isinstance(output, dict):
            continue
        size = _take_binary_size(output)
        if size is None:
            continue
        if size > len(tail) - place:
            raise BadTensor("binary_size", "binary_data_size exceeds what follows the JSON head")
        values = tensor_values(output.get("datatype"), tail[place : place + size], left)
        output["data"] = values
        place += size
        left -= len(values)
    if place != len(tail):
        raise BadTensor("binary_size", "more bytes than the outputs' binary_data_size account for")
    return head


def _take_binary_size(output: dict[str, Json]) -> int | None:
    """Take `binary_data_size` out of an output: it is how the data travelled, not what it says."""
    parameters = output.get("parameters")
    if not isinstance(parameters, dict) or "binary_data_size" not in parameters:
        return None
    size = parameters.pop("binary_data_size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise BadTensor("binary_size", "binary_data_size is no whole number >= 0")
    if not parameters:
        del output["parameters"]
    return size
