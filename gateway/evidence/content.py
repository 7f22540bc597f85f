"""Undoes the content coding of an answer, within a bound: a challenger may send a bomb."""

from __future__ import annotations

import zlib

_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_BARE_DEFLATE = -15
MOST_MEMBERS = 100
"""Members of one gzip content: each costs a copy of what follows it."""


class ContentError(Exception):
    """The content cannot be decoded, or is too large when it is."""


def decoded(content: bytes, coding: str, limit: int) -> bytes:
    """The content without its coding (`gzip`, `deflate`); at most `limit` bytes. Raises ContentError."""
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return content
    window = _WINDOW.get(coding)
    if window is None:
        raise ContentError(f"content coding {coding[:40]!r} is not one we can undo")
    if coding == "deflate" and not _is_zlib(content):
        window = _BARE_DEFLATE
    try:
        return _inflated(content, coding, window, limit)
    except zlib.error as error:
        raise ContentError(f"the content is not {coding}: {error}") from error


def _inflated(content: bytes, coding: str, window: int, limit: int) -> bytes:
    """All members of a gzip content (RFC 1952 section 2.2), or the one stream of another."""
    parts: list[bytes] = []
    room = limit
    rest = memoryview(content)
    for _ in range(MOST_MEMBERS):
        decoder = zlib.decompressobj(window)
        plain = decoder.decompress(rest, room + 1)
        if len(plain) > room or decoder.unconsumed_tail:
            raise ContentError(f"the content is larger than {limit} bytes when decoded")
        if not decoder.eof:
            raise ContentError(f"the content ends before its {coding} does")
        if plain:
            parts.append(plain)
            room -= len(plain)
        rest = rest[len(rest) - len(decoder.unused_data) :]
        if not rest:
            return b"".join(parts)
        if coding == "deflate":
            raise ContentError("the content goes on after its deflate ends")
    raise ContentError(f"the content has more than {MOST_MEMBERS} gzip members")


def _is_zlib(content: bytes) -> bool:
    """Whether it has the head of RFC 1950: many servers send the bare stream (RFC 9110 section 8.4.1.2)."""
    return len(content) >= 2 and content[0] & 0x0F == 8 and int.from_bytes(content[:2]) % 31 == 0
