"""What is read of a mirrored request beside its bytes: its sequence, and the values its pairs are told apart by.

Read once per request and only as far as somebody asks: a body is parsed only for a slice over an input or for a
sequence. Whatever cannot be read is an empty value; nothing here fails.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import msgspec

from gateway.core.offer import Offer
from gateway.core.open_inference import HEAD_LENGTH_FIELD, json_part, sequence_text
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
    datatype: str = ""
    data: object = None
    parameters: dict[str, object] = {}


class _Request(msgspec.Struct):
    inputs: list[_Tensor] = []
    parameters: dict[str, object] = {}
    tail: bytes = b""
    """Binary tensors, one after the other."""


_TENSORS = msgspec.json.Decoder(_Request)
_NO_SLICES: dict[str, str] = {}
_ORDINARY = Facts(_NO_SLICES, "", False)
_ELEMENTS = {
    "BOOL": struct.Struct("<?"),
    "INT8": struct.Struct("<b"),
    "INT16": struct.Struct("<h"),
    "INT32": struct.Struct("<i"),
    "INT64": struct.Struct("<q"),
    "UINT8": struct.Struct("<B"),
    "UINT16": struct.Struct("<H"),
    "UINT32": struct.Struct("<I"),
    "UINT64": struct.Struct("<Q"),
    "FP16": struct.Struct("<e"),
    "FP32": struct.Struct("<f"),
    "FP64": struct.Struct("<d"),
}
_BYTES_LENGTH = 4


def read_facts(offer: Offer, model: Model) -> Facts:
    """The facts of one request to `model`."""
    stateful = b'"sequence_id"' in offer.body
    if not model.slices and not stateful:
        return _ORDINARY
    needs_body = stateful or any(part.source == "input" for part in model.slices)
    request = _parse(offer, model) if needs_body else _Request()
    values = {part.name: _value(offer, model, request, part.source, part.argument) for part in model.slices}
    sequence = sequence_text(request.parameters.get("sequence_id")) if stateful else ""
    return Facts(values, sequence, bool(sequence) and request.parameters.get("sequence_start") is True)


def _parse(offer: Offer, model: Model) -> _Request:
    body = json_part(offer.body, field(offer.fields, HEAD_LENGTH_FIELD))
    try:
        if model.protocol == "json":
            return _plain(msgspec.json.decode(body))
        request = _TENSORS.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _Request()
    request.tail = offer.body[len(body) :]
    return request


def _plain(document: object) -> _Request:
    """A plain JSON object: its top-level values stand where an inference request has inputs."""
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
    """The first value of an input as text, or of a parameter where no input has the name."""
    place = 0
    for tensor in request.inputs:
        size = tensor.parameters.get("binary_data_size")
        length = size if isinstance(size, int) and size > 0 else 0
        if tensor.name == name:
            if length:
                return _text(_first_element(tensor.datatype, request.tail[place : place + length]))
            return _text(tensor.data)
        place += length
    return _text(request.parameters.get(name))


def _first_element(datatype: str, content: bytes) -> object:
    if datatype == "BYTES":
        end = _BYTES_LENGTH + int.from_bytes(content[:_BYTES_LENGTH], "little")
        return content[_BYTES_LENGTH:end].decode("utf-8", "replace") if end <= len(content) else ""
    element = _ELEMENTS.get(datatype)
    return element.unpack_from(content)[0] if element is not None and len(content) >= element.size else ""


def _text(value: object) -> str:
    while isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)[:MAX_VALUE_CHARS] if isinstance(value, str | int | float) else ""


def field(section: bytes, name: bytes) -> bytes:
    """The first value of a field in a forwarded header section (lower-case names), or empty."""
    start = name + b": "
    at = 0 if section.startswith(start) else section.find(b"\r\n" + start) + 2
    if at == 1:
        return b""
    at += len(start)
    return section[at : section.index(b"\r\n", at)]
