"""A head that comes again: on a kept-alive connection most messages differ from the one before in their length alone.

Parsing and checking a head costs a quarter of what a forwarded request costs (docs/performance.md), so each connection
keeps the last one it read, cut around the digits of its Content-Length, beside what it meant. A message that comes
whole in one read and whose head is equal byte for byte but for those digits means the same, and is not parsed again.

Only heads that were fully checked are kept, and only those with one Content-Length and no other framing. A connection
whose heads never repeat (a trace id in each) stops trying.
"""

from __future__ import annotations

import re
from typing import Generic, TypeVar

from gateway.http1.head import Fields

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_MAX_HEAD_BYTES = 4096
_PATIENCE = 16
"""Heads in a row that may differ from the one before until a connection stops keeping them."""


class Meaning:
    """What a head meant.

    `onward` is what of it goes on to the next hop, `noted` the fields among those `looked_for`; both once somebody
    has worked them out.
    """

    __slots__ = ("dated", "fields", "host", "looked_for", "method", "nominated", "noted", "onward", "status", "target")

    def __init__(self, fields: Fields, nominated: frozenset[bytes]):
        self.fields = fields
        self.nominated = nominated
        self.onward: bytes | None = None
        self.looked_for: frozenset[bytes] | None = None
        self.noted: Fields | None = None
        self.dated = False
        self.status = 0
        self.host = self.target = b""
        self.method = ""


T = TypeVar("T")


class Repeated(Generic[T]):
    """The last head of one connection and its meaning."""

    __slots__ = ("_after", "_before", "_meaning", "_patience")

    def __init__(self) -> None:
        self._before = b""
        self._after = b""
        self._meaning: T | None = None
        self._patience = _PATIENCE

    def find(self, data: bytes) -> tuple[T, int, int] | None:
        """The meaning, the length of the body and where the body starts, if `data` is one whole message whose head
        repeats the last one."""
        meaning = self._meaning
        if meaning is None or not data.startswith(self._before):
            return None
        start = len(self._before)
        end = data.find(b"\r", start, start + 19)
        if not data.startswith(self._after, end):
            return None
        digits = data[start:end]
        body = end + len(self._after)
        if not digits.isdigit() or len(data) - body != int(digits):
            return None
        self._patience = _PATIENCE
        return meaning, len(data) - body, body

    @property
    def wanted(self) -> bool:
        """Whether heads are still kept."""
        return self._patience > 0

    def keep(self, head: bytes, meaning: T) -> None:
        """Keep a head (with its empty line) that was found to be good, instead of the one before."""
        self._patience -= 1
        found = _LENGTH.search(head) if len(head) <= _MAX_HEAD_BYTES else None
        if found is None or not self._patience:
            self._meaning = None
            return
        start, end = found.span(1)
        self._before, self._after = head[:start], head[end:]
        self._meaning = meaning
