"""What is read of a mirrored request beside its bytes: its sequence, and the values its pairs are told apart by.

Read once per request and only as far as somebody asks: a body is parsed only for a slice over an input or for a
sequence. Whatever cannot be read is an empty value; nothing here fails.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gateway.core.offer import Offer
from gateway.core.open_inference import HEAD_LENGTH_FIELD, json_part
from gateway.core.snapshot import Model

MAX_VALUE_CHARS = 120


@dataclass(frozen=True, slots=True)
class Facts:
    """`sequence` is empty for an ordinary request; `starts` says that it is the first of its sequence."""

    slices: dict[str, str]
    sequence: str
    starts: bool


class _Tensor(msgspec.Struct):
    name: str = ""
    data: object = None


class _Request(msgspec.Struct):
    inputs: list[_Tensor] = []
    parameters: dict[str, object] = {}


_TENSORS = msgspec.json.Decoder(_Request)
_NO_SLICES: dict[str, str] = {}
_ORDINARY = Facts(_NO_SLICES, "", False)


def read_facts(offer: Offer, model: Model) -> Facts:
    """The facts of one request to `model`."""
    stateful = b'"sequence_id"' in offer.body
    if not model.slices and not stateful:
        return _ORDINARY
    needs_body = stateful or any(part.source == "input" for part in model.slices)
    request = _parse(offer) if needs_body else _Request()
    values = {part.name: _value(offer, model, request, part.source, part.argument) for part in model.slices}
    sequence = request.parameters.get("sequence_id") if stateful else None
    known = isinstance(sequence, int | str) and sequence not in (0, "")
    return Facts(values, str(sequence) if known else "", request.parameters.get("sequence_start") is True)


def _parse(offer: Offer) -> _Request:
    body = json_part(offer.body, field(offer.fields, HEAD_LENGTH_FIELD))
    try:
        return _TENSORS.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _plain(body)


def _plain(body: bytes) -> _Request:
    """A plain JSON object: its top-level values stand where an inference request has inputs."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _Request()
    if not isinstance(document, dict):
        return _Request()
    parameters = document.get("parameters")
    return _Request(
        inputs=[_Tensor(name=name, data=value) for name, value in document.items()],
        parameters=parameters if isinstance(parameters, dict) else {},
    )


def _value(offer: Offer, model: Model, request: _Request, source: str, argument: str) -> str:
    match source:
        case "tenant":
            return offer.tenant
        case "version":
            return model.champion.name
        case "header":
            return field(offer.fields, argument.lower().encode()).decode("latin-1")[:MAX_VALUE_CHARS]
        case _:
            return _input(request, argument)


def _input(request: _Request, name: str) -> str:
    """The first value of an input, as text."""
    for tensor in request.inputs:
        if tensor.name == name:
            value = tensor.data
            while isinstance(value, list):
                value = value[0] if value else ""
            return str(value)[:MAX_VALUE_CHARS] if isinstance(value, str | int | float) else ""
    return _top_level(request, name)


def _top_level(request: _Request, name: str) -> str:
    value = request.parameters.get(name)
    return str(value)[:MAX_VALUE_CHARS] if isinstance(value, str | int | float) else ""


def field(section: bytes, name: bytes) -> bytes:
    """The first value of a field in a forwarded header section (lower-case names), or empty."""
    at = section.find(b"\r\n" + name + b": ") + 2
    if at == 1:
        if not section.startswith(name + b": "):
            return b""
        at = 0
    start = at + len(name) + 2
    return section[start : section.index(b"\r\n", start)]
