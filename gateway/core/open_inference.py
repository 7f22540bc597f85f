"""What both planes read of an Open Inference Protocol body: where its JSON part ends, and its sequence.

Everything else of a body is opaque to the data plane; the shadow process decodes answers in `evidence.compare`.
Nothing here fails on any bytes.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

HEAD_LENGTH_FIELD = b"inference-header-content-length"
MAX_SEQUENCE_CHARS = 128
"""A longer `sequence_id` is known by its digest: sequences are remembered, and clients choose their names."""


class _Request(msgspec.Struct):
    parameters: dict[str, object] = {}


_DECODER = msgspec.json.Decoder(_Request)


def json_part(body: bytes, head_length: bytes | None) -> bytes:
    """The JSON part of a body; binary tensors follow it where `Inference-Header-Content-Length` says so."""
    if head_length and head_length.isdigit() and len(head_length) < 12:
        return body[: int(head_length)]
    return body


def sequence_of(body: bytes, head_length: bytes | None) -> str:
    """The `sequence_id` of a request (Triton's sequence extension), or empty.

    Cheap for the usual body, which has none: a search for the name, and a parse only where it is found.
    """
    if b'"sequence_id"' not in body:
        return ""
    try:
        request = _DECODER.decode(json_part(body, head_length))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
    return sequence_text(request.parameters.get("sequence_id"))


def sequence_text(value: object) -> str:
    """A `sequence_id` as text; empty where it names no sequence, as 0 and the empty text do."""
    if isinstance(value, bool) or not isinstance(value, int | str) or value in (0, ""):
        return ""
    text = str(value)
    return text if len(text) <= MAX_SEQUENCE_CHARS else blake2b(text.encode(), digest_size=16).hexdigest()
