"""Counters in shared memory: one file of cells per process, which outlives the process.

An increment is one add to a mapped 64-bit cell, so the hot path pays about 50 ns and no lock, nobody is asked for
its numbers over a socket, and `kill -9` loses no count. The rules:

- one writer per file (the process of that name); anybody may read at any time;
- a group of cells belongs to one family and one set of label values, and is never moved or removed;
- counts go on after a restart, because a new process of the same name opens the same file; gauges start at zero.

Two files per process name: `NAME.cells` (the numbers) and `NAME.names` (one JSON line per group, saying where it is).
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import msgspec

DEFAULT_CELLS = 4_194_304
_CELL_BYTES = 8
_CELLS_AT_A_TIME = 4096


class Kind(Enum):
    """How the cells of a family are to be read."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, what it says, its labels, and one cell per field.

    `field_label` names the label that tells the fields apart (`state`, `outcome`); for a histogram the fields are the
    upper bounds in seconds, then `+Inf`, then `sum_us`.
    """

    name: str
    help: str
    labels: tuple[str, ...]
    field_label: str
    fields: tuple[str, ...]
    kind: Kind = Kind.COUNTER

    def at(self, field: str) -> int:
        """The place of a field within its group, for code that binds it once."""
        return self.fields.index(field)


class GroupLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a `.names` file. `replaces` names the first cell of a former group whose counts went over."""

    at: int
    family: str
    labels: tuple[str, ...]
    fields: tuple[str, ...]
    replaces: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The value of one cell as a reader sees it."""

    process: str
    family: str
    labels: tuple[str, ...]
    field: str
    value: int


class CountersFull(Exception):
    """More groups were asked for than the file has cells."""


class Counters:
    """The cells of this process. `cells[group(...) + family.at(field)] += 1` counts."""

    __slots__ = (
        "_capacity", "_descriptor", "_groups", "_map", "_names", "_names_bytes", "_next", "_on_disk", "cells",
    )  # fmt: skip

    def __init__(self, directory: Path, name: str, capacity: int = DEFAULT_CELLS):
        directory.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(directory / f"{name}.cells", os.O_RDWR | os.O_CREAT, 0o644)
        # Sparse: only what is counted in takes memory or disk.
        if os.fstat(self._descriptor).st_size < capacity * _CELL_BYTES:
            os.ftruncate(self._descriptor, capacity * _CELL_BYTES)
        self._capacity = os.fstat(self._descriptor).st_size // _CELL_BYTES
        self._map = mmap.mmap(self._descriptor, self._capacity * _CELL_BYTES)
        self.cells = memoryview(self._map).cast("q")
        self._groups: dict[tuple[str, tuple[str, ...]], GroupLine] = {}
        self._next = 0
        path = directory / f"{name}.names"
        good_bytes = 0
        for line, end in _lines(path):
            self._groups[line.family, line.labels] = line
            self._next = max(self._next, line.at + len(line.fields))
            good_bytes = end
        self._names = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._names, good_bytes)
        self._names_bytes = good_bytes
        self._on_disk = self._next

    def group(self, family: Family, labels: tuple[str, ...]) -> int:
        """The first cell of the family's group for these label values; made at its first use.

        A group made by a version of the product whose family had other fields is replaced, and its counts go over.
        Raises CountersFull when the file has no room for another group, OSError when the disk has none.
        """
        known = self._groups.get((family.name, labels))
        if known is not None and known.fields == family.fields:
            return known.at
        at = self._next
        width = len(family.fields)
        if at + width > self._capacity:
            raise CountersFull(f"no room for {family.name}{labels}: {self._capacity} cells are in use")
        # Taken from the disk now: to count in a hole of a full disk would kill the process (SIGBUS).
        self._take_from_disk(at + width)
        former = dict(zip(known.fields, self.cells[known.at :], strict=False)) if known else {}
        for place, field in enumerate(family.fields):
            self.cells[at + place] = former.get(field, 0)
        line = GroupLine(at, family.name, labels, family.fields, known.at if known else None)
        self._append_name(msgspec.json.encode(line) + b"\n")
        self._next = at + width
        self._groups[family.name, labels] = line
        return at

    def _take_from_disk(self, cells: int) -> None:
        """Have room on disk for the first so many cells; taken some pages at a time."""
        if cells > self._on_disk:
            end = min(max(cells, self._on_disk + _CELLS_AT_A_TIME), self._capacity)
            os.posix_fallocate(self._descriptor, self._on_disk * _CELL_BYTES, (end - self._on_disk) * _CELL_BYTES)
            self._on_disk = end

    def _append_name(self, line: bytes) -> None:
        """Append a line whole or not at all: what follows a torn line would not be read."""
        try:
            written = os.write(self._names, line)
        except OSError:
            os.ftruncate(self._names, self._names_bytes)
            raise
        if written < len(line):
            os.ftruncate(self._names, self._names_bytes)
            raise OSError(errno.ENOSPC, "no space for the name of another group of counters")
        self._names_bytes += written

    def gauge(self, family: Family, labels: tuple[str, ...]) -> int:
        """Like `group`, with its cells set to zero: what a former process held is not held now."""
        at = self.group(family, labels)
        for cell in range(at, at + len(family.fields)):
            self.cells[cell] = 0
        return at

    def value(self, family: Family, labels: tuple[str, ...], field: str) -> int:
        """The present value of one cell."""
        return self.cells[self.group(family, labels) + family.at(field)]

    def groups(self, family: Family) -> Iterator[tuple[tuple[str, ...], int]]:
        """Label values and first cell of each group of a family that this file holds."""
        for (name, labels), line in list(self._groups.items()):
            if name == family.name:
                yield labels, line.at

    def close(self) -> None:
        """Unmap the file; the counts stay on disk."""
        self.cells.release()
        self._map.close()
        os.close(self._descriptor)
        os.close(self._names)


def read(directory: Path) -> Iterator[Reading]:
    """Every cell of every process that ever counted under `directory`; never writes, never fails on a torn line."""
    for names in sorted(directory.glob("*.names")):
        process = names.name.removesuffix(".names")
        try:
            descriptor = os.open(names.with_suffix(".cells"), os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            lines = [line for line, _ in _lines(names)]
            replaced = {line.replaces for line in lines}
            for line in lines:
                if line.at in replaced:
                    continue
                width = len(line.fields) * _CELL_BYTES
                raw = os.pread(descriptor, width, line.at * _CELL_BYTES)
                values = memoryview(raw[: len(raw) - len(raw) % _CELL_BYTES]).cast("q")
                for field, value in zip(line.fields, values, strict=False):
                    yield Reading(process, line.family, line.labels, field, value)
        finally:
            os.close(descriptor)


def totals(directory: Path) -> dict[tuple[str, tuple[str, ...]], dict[str, int]]:
    """The same, summed over processes: {(family, labels): {field: value}}."""
    sums: dict[tuple[str, tuple[str, ...]], dict[str, int]] = {}
    for reading in read(directory):
        group = sums.setdefault((reading.family, reading.labels), {})
        group[reading.field] = group.get(reading.field, 0) + reading.value
    return sums


def _lines(path: Path) -> Iterator[tuple[GroupLine, int]]:
    """The whole lines of a names file and where each ends; a torn or damaged line ends the reading."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    decoder = msgspec.json.Decoder(GroupLine)
    start = 0
    while (end := content.find(b"\n", start)) >= 0:
        try:
            line = decoder.decode(content[start:end])
        except msgspec.MsgspecError:
            return
        yield line, end + 1
        start = end + 1
