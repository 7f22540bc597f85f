"""Takes a request body's content coding off (RFC 9110 section 8.4.1): gzip, deflate, none. Pure.

The result is bounded whatever was sent: decompression stops at the limit, so a small body cannot
become a large one. A cut-off or damaged body is the client's 400; a coding we do not know is 415.
"""

from __future__ import annotations

import zlib

from gateway.onnx_server.errors import Refused, shown

MAX_CODINGS = 4
MAX_MEMBERS = 1_000
"""Members of one gzip body. Each costs a new decompressor, so a body of empty ones must end
somewhere.
"""

_GZIP, _ZLIB, _RAW_DEFLATE = 31, 15, -15
_CHUNK_BYTES = 65_536


def decoded(body: bytes, coding: bytes, limit: int) -> bytes:
    """`body` without the codings that the Content-Encoding value names, at most `limit` bytes."""
    names = [name.strip().lower() for name in coding.split(b",")]
    if len(names) > MAX_CODINGS:
        raise Refused(415, "too many content codings")
    for name in reversed(names):
        match name:
            case b"" | b"identity":
                pass
            case b"gzip" | b"x-gzip":
                body = _inflate(body, _GZIP, limit)
            case b"deflate":
                body = _inflate(body, _deflate_format(body), limit)
            case _:
                raise Refused(415, f"content coding {shown(name.decode('latin-1'))} is not supported")
    return body


def _deflate_format(body: bytes) -> int:
    """`deflate` means the zlib format, but some clients send it bare. A zlib header is a multiple
    of 31.
    """
    is_zlib = len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    return _ZLIB if is_zlib else _RAW_DEFLATE


def _inflate(body: bytes, window: int, limit: int) -> bytes:
    """The decompressed body. gzip may be of several members, one after the other (RFC 1952 section
    2.2).
    """
    parts: list[bytes] = []
    size = position = members = 0
    while members == 0 or position < len(body):
        if members == MAX_MEMBERS or (members and window != _GZIP):
            raise Refused(400, "bytes follow the end of the compressed body")
        members += 1
        inflater = zlib.decompressobj(window)
        while not inflater.eof:
            chunk = body[position : position + _CHUNK_BYTES]
            if not chunk:
                raise Refused(400, "the compressed body ends too early")
            position += len(chunk)
            part = _inflate_chunk(inflater, chunk, limit - size + 1)
            parts.append(part)
            size += len(part)
            if size > limit:
                raise Refused(413, f"the body is larger than {limit} bytes when decompressed")
        position -= len(inflater.unused_data)
    return b"".join(parts)


def _inflate_chunk(inflater: zlib._Decompress, chunk: bytes, most: int) -> bytes:
    try:
        return inflater.decompress(chunk, most)
    except zlib.error as error:
        raise Refused(400, f"the compressed body is damaged: {error}") from None
