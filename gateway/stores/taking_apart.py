"""One journal segment as JSON lines, all together or by model and UTC day: what DuckDB then makes files of.

Each line's checksum is verified here. Holds no more than GATHERED_BYTES of records in memory, however long the segment
is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from gateway.core.journal import unframe
from gateway.core.pair import Pair
from gateway.stores.pair_files import DAY_US, day_text

GATHERED_BYTES: Final = 8 * 2**20
"""Records held in memory while a segment is taken apart."""
BUFFER_BYTES: Final = 2**18
"""Of a segment at a time: with Python's 8 KiB, reading its lines takes three times as long."""


class Place(msgspec.Struct):
    """What of a record says where it belongs. Decoding only this takes a third of decoding all."""

    at_us: int
    model: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Part:
    """A file with the records of one model and day."""

    model: str
    day: str
    path: Path


@dataclass(frozen=True, slots=True)
class Lines:
    """A segment's records, whatever is in them. `damaged` counts lines that were no whole record."""

    path: Path
    records: int
    damaged: int
    longest_bytes: int


@dataclass(slots=True)
class Parts:
    """A segment taken apart. `damaged` counts lines that were no whole record."""

    directory: Path
    records: int = 0
    damaged: int = 0
    longest_bytes: int = 0
    found: dict[tuple[str, int], Part] = field(default_factory=dict)

    def open(self, model: str, day_number: int) -> None:
        """Have a part for this model and day. Raises ValueError or OverflowError for a day no calendar has."""
        if (model, day_number) not in self.found:
            path = self.directory / f"{len(self.found)}.ndjson"
            self.found[model, day_number] = Part(model, day_text(day_number * DAY_US), path)

    def write(self, gathered: dict[tuple[str, int], list[bytes]]) -> None:
        """Append the records to their parts' files, and forget them."""
        for key, payloads in gathered.items():
            with self.found[key].path.open("ab") as file:
                file.write(b"\n".join([*payloads, b""]))
            self.records += len(payloads)
            self.longest_bytes = max(self.longest_bytes, *map(len, payloads))
        gathered.clear()


Decode = Callable[[bytes], Place | Pair]
by_place: Final[Decode] = msgspec.json.Decoder(Place).decode
strictly: Final[Decode] = msgspec.json.Decoder(Pair).decode


def is_pair(payload: bytes) -> bool:
    """Whether a journal line that is whole is a pair record, too."""
    try:
        day_text(strictly(payload).at_us)
    except (msgspec.MsgspecError, OverflowError, ValueError):
        return False
    return True


def copy_lines(segment: Path, directory: Path) -> Lines:
    """Write a segment's records to one file in the directory, none of them decoded."""
    _make_empty(directory)
    path = directory / "all.ndjson"
    records = damaged = longest = 0
    with segment.open("rb", BUFFER_BYTES) as lines, path.open("wb", BUFFER_BYTES) as copy:
        for line in lines:
            payload = unframe(line) if line.endswith(b"\n") else None
            if payload is None:
                damaged += 1
                continue
            copy.write(payload + b"\n")
            records += 1
            if len(payload) > longest:
                longest = len(payload)
    return Lines(path, records, damaged, longest)


def take_apart(segment: Path, directory: Path, decode: Decode = by_place) -> Parts:
    """Write a segment's records to files in the directory; a line that `decode` refuses counts as damaged."""
    _make_empty(directory)
    parts = Parts(directory)
    gathered: dict[tuple[str, int], list[bytes]] = {}
    room = GATHERED_BYTES
    with segment.open("rb", BUFFER_BYTES) as lines:
        for line in lines:
            payload = unframe(line) if line.endswith(b"\n") else None
            if payload is None:
                parts.damaged += 1
                continue
            try:
                place = decode(payload)
                key = (place.model, place.at_us // DAY_US)
                group = gathered.get(key)
                if group is None:
                    parts.open(*key)
                    group = gathered[key] = []
            except (msgspec.MsgspecError, OverflowError, ValueError):
                parts.damaged += 1
                continue
            group.append(payload)
            room -= len(payload)
            if room < 0:
                parts.write(gathered)
                room = GATHERED_BYTES
    parts.write(gathered)
    return parts


def _make_empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
