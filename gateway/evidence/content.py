"""Undoes the content coding of an answer, within a bound: a challenger may send a bomb."""

from __future__ import annotations

import zlib

_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}


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
    decoder = zlib.decompressobj(window)
    try:
        plain = decoder.decompress(content, limit + 1)
    except zlib.error as error:
        raise ContentError(f"the content is not {coding}: {error}") from error
    if len(plain) > limit or decoder.unconsumed_tail:
        raise ContentError(f"the content is larger than {limit} bytes when decoded")
    if not decoder.eof:
        raise ContentError(f"the content ends before its {coding} does")
    return plain
