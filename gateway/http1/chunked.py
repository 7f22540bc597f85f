"""Reads a chunked body (RFC 9112 section 7.1), strictly, from bytes cut anywhere.

Chunk extensions are checked and dropped, trailers likewise. Everything that a sender could make long is bounded: a
size has at most 16 digits, a line `MAX_LINE_BYTES`, and all that is not body counts against one allowance.
"""

from __future__ import annotations

import re
from enum import Enum

MAX_LINE_BYTES = 4096
OVERHEAD_BYTES = 16 * 1024
"""Chunk heads, extensions and trailers that a body may carry, beside 16 bytes for each byte of its own."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_EXTENSION = rb"[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?" % (_TOKEN, _TOKEN, _QUOTED)
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:%b)*[ \t]*\r\n" % _EXTENSION)
_TRAILER = re.compile(rb"%b:[\t \x21-\x7e\x80-\xff]*\r\n" % _TOKEN)
_MAX_SIZE = 2**63


class Expect(Enum):
    """What the next byte belongs to."""

    SIZE = "a chunk's size line"
    DATA = "a chunk's data"
    DATA_END = "the line end after a chunk's data"
    TRAILER = "a trailer line"
    NOTHING = "the body is whole"


class ChunkError(Exception):
    """The bytes are not a chunked body."""


class ChunkDecoder:
    """One body. `announced` is how many bytes of body the chunks so far have announced."""

    __slots__ = ("_expect", "_left", "_line", "_overhead", "announced")

    def __init__(self) -> None:
        self._expect = Expect.SIZE
        self._left = 0
        self._line = b""
        self._overhead = -OVERHEAD_BYTES
        self.announced = 0

    @property
    def complete(self) -> bool:
        """Whether the last chunk and the trailers have been read."""
        return self._expect is Expect.NOTHING

    def feed(self, data: bytes) -> tuple[list[bytes], int]:
        """The pieces of body within `data`, and how many bytes of it belong to this body. Raises ChunkError."""
        pieces: list[bytes] = []
        at = 0
        while at < len(data) and self._expect is not Expect.NOTHING:
            if self._expect is Expect.DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._overhead -= 16 * len(piece)
                if not self._left:
                    self._expect = Expect.DATA_END
            else:
                at = self._read_line(data, at)
        return pieces, at

    def _read_line(self, data: bytes, at: int) -> int:
        """Gather one line; act on it once it is whole. Returns where reading goes on."""
        end = data.find(b"\n", at) + 1
        part = data[at : end or len(data)]
        self._overhead += len(part)
        line = self._line + part
        if len(line) > MAX_LINE_BYTES or self._overhead > 0:
            raise ChunkError("the chunks carry too much beside the body")
        if end:
            self._line = b""
            self._act_on(line)
        else:
            self._line = line
            self._check_beginning(line)
        return at + len(part)

    def _act_on(self, line: bytes) -> None:
        if self._expect is Expect.SIZE:
            match = _SIZE.fullmatch(line)
            size = int(match[1], 16) if match else _MAX_SIZE
            if size >= _MAX_SIZE:
                raise ChunkError("a chunk's size is not a number that can be")
            self._left = size
            self.announced += size
            self._expect = Expect.DATA if size else Expect.TRAILER
        elif self._expect is Expect.DATA_END:
            if line != b"\r\n":
                raise ChunkError("a chunk's data is longer than its size")
            self._expect = Expect.SIZE
        elif line == b"\r\n":
            self._expect = Expect.NOTHING
        elif not _TRAILER.fullmatch(line):
            raise ChunkError("a trailer is not a field line")

    def _check_beginning(self, line: bytes) -> None:
        """Refuse what cannot become right any more without waiting for the line's end."""
        if self._expect is Expect.DATA_END and line != b"\r":
            raise ChunkError("a chunk's data is longer than its size")
        if self._expect is Expect.SIZE and not re.match(rb"[0-9A-Fa-f]{1,16}(?:[ \t;\r]|\Z)", line):
            raise ChunkError("a chunk's size is not a number that can be")
