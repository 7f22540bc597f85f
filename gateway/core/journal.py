"""Append-only record files that survive `kill -9`: one framing for everything we journal.

A record is one line: eight hex digits of CRC-32 over the payload, a space, the payload (JSON, so it has no raw
newline), a newline. A process killed in mid-write leaves a torn last line, which `recover` cuts off; a damaged line
elsewhere is passed over and counted, never guessed at.

Records are gathered in segments: `PREFIX-NUMBER.open` is being written, `PREFIX-NUMBER.log` is closed and will not
change any more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

OPEN_SUFFIX = ".open"
CLOSED_SUFFIX = ".log"
_HEAD_BYTES = 9


def frame(payload: bytes) -> bytes:
    """The payload as a journal line."""
    return b"%08x %b\n" % (crc32(payload), payload)


def unframe(line: bytes) -> bytes | None:
    """The payload of one line (with or without its newline), or None if the line is damaged."""
    line = line.removesuffix(b"\n")
    payload = line[_HEAD_BYTES:]
    if len(line) < _HEAD_BYTES or line[:_HEAD_BYTES] != b"%08x " % crc32(payload):
        return None
    return payload


@dataclass(frozen=True, slots=True)
class Recovery:
    """What `recover` found in one segment: whole records, damaged lines left in place, bytes cut off its end."""

    records: int
    damaged: int
    torn_bytes: int


def recover(path: Path) -> Recovery:
    """Cut the torn tail off a segment, in place."""
    records = damaged = 0
    good_end = 0
    with path.open("r+b") as file:
        for line in file:
            if line.endswith(b"\n"):
                good_end += len(line)
                if unframe(line) is None:
                    damaged += 1
                else:
                    records += 1
        torn_bytes = os.fstat(file.fileno()).st_size - good_end
        if torn_bytes:
            file.truncate(good_end)
    return Recovery(records, damaged, torn_bytes)


def read(path: Path) -> Iterator[bytes]:
    """The whole records of one segment, oldest first; damaged and torn lines are left out."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                payload = unframe(line)
                if payload is not None:
                    yield payload


def segments(directory: Path, prefix: str, suffix: str = CLOSED_SUFFIX) -> list[Path]:
    """The segments of one journal, oldest first."""
    return sorted(directory.glob(f"{prefix}-*{suffix}"))


class Journal:
    """Writes one journal. Not for two writers: each journal has one owner process."""

    __slots__ = ("_descriptor", "_directory", "_next", "_path", "_prefix", "_segment_bytes", "_size", "recoveries")

    def __init__(self, directory: Path, prefix: str, segment_bytes: int):
        """Recovers and closes what a former writer left open; `recoveries` says what was found."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._prefix = prefix
        self._segment_bytes = segment_bytes
        self._descriptor = -1
        self._size = 0
        self.recoveries: list[Recovery] = []
        for path in segments(directory, prefix, OPEN_SUFFIX):
            self.recoveries.append(recover(path))
            _close_segment(path)
        numbers = [_number(path) for path in segments(directory, prefix)]
        self._next = max(numbers, default=0) + 1
        self._path = directory / f"{prefix}-{self._next:010d}{OPEN_SUFFIX}"

    @property
    def directory(self) -> Path:
        """Where the segments are."""
        return self._directory

    @property
    def size_bytes(self) -> int:
        """Bytes in the open segment."""
        return self._size

    def start_at(self, number: int) -> None:
        """Number segments from `number` on, if that is higher than what the directory shows."""
        if self._descriptor < 0 and number > self._next:
            self._next = number
            self._path = self._directory / f"{self._prefix}-{number:010d}{OPEN_SUFFIX}"

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write records in one go and hand them to the kernel: what is appended survives the process.

        Raises OSError (disk full, read-only); then none of the records is in the segment.
        """
        data = b"".join([frame(payload) for payload in payloads])
        if self._descriptor < 0:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            view = memoryview(data)
            while view:
                written = os.write(self._descriptor, view)
                view = view[written:]
        except OSError:
            # A partly written batch would be counted as lost and yet be there.
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)

    def roll_if_full(self) -> None:
        """Close the segment once it has its size; not part of `append`, so that a writer can first note what it
        appended."""
        if self._size >= self._segment_bytes:
            self.roll()

    def roll(self) -> Path | None:
        """Close the open segment and start the next; None if there is nothing in it. Raises OSError."""
        if self._descriptor < 0:
            return None
        os.fdatasync(self._descriptor)
        # Let go of first: if the rename fails, the number may belong to another file by the next append. The segment
        # is then gone on with, because those who take segments over do not come back to an earlier one.
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)
        closed = _close_segment(self._path)
        self._size = 0
        self._next += 1
        self._path = self._directory / f"{self._prefix}-{self._next:010d}{OPEN_SUFFIX}"
        return closed

    def close(self) -> None:
        """Close the open segment; the journal takes no more records."""
        self.roll()


def _close_segment(path: Path) -> Path:
    closed = path.with_suffix(CLOSED_SUFFIX)
    path.rename(closed)
    return closed


def _number(path: Path) -> int:
    stem = path.stem.rpartition("-")[2]
    return int(stem) if stem.isdigit() else 0
