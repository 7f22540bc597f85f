"""Where pairs are on disk: names of files, what is committed, and where the journal goes on.

    state/journal/pairs-NUMBER.open   being written by the shadow process
    state/journal/pairs-NUMBER.log    closed, not yet rolled;  .bad: rolled, kept aside because lines were damaged
    state/pairs/model=NAME/date=YYYY-MM-DD/FIRST-LAST.parquet   pairs of segments FIRST to LAST, day in UTC
    state/pairs/rolled.json           up to which segment files count: the commit point of a roll

A segment beyond the commit is read from the journal, one up to it from Parquet files: so no pair is read twice nor
missed, whatever is rolled or killed meanwhile. Numbers never fall.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

import msgspec

from gateway.core import journal
from gateway.core.journal import CLOSED_SUFFIX, OPEN_SUFFIX, Journal

PREFIX = "pairs"
BAD_SUFFIX = ".bad"
WORK_DIRECTORY = ".rolling"
DAY_US = 86_400_000_000
_COMMIT = "rolled.json"
_LOCK = ".lock"
_FILE_NAME = re.compile(r"(\d{10,})-(\d{10,})\.parquet")
_UNIX_EPOCH_DAY = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class PairDirectories:
    """Where one state directory has its pairs."""

    state: Path

    @property
    def journal(self) -> Path:
        """Segments, written by the shadow process."""
        return self.state / "journal"

    @property
    def pairs(self) -> Path:
        """Parquet files, written by the one process that rolls."""
        return self.state / "pairs"


class PairFile(NamedTuple):
    """One Parquet file; ordered from the oldest on. A tuple, because there can be thousands to make and to sort."""

    day: str
    first: int
    last: int
    model: str
    path: Path

    def covers(self, other: PairFile) -> bool:
        """Whether everything in the other file (of the same model and day) is in this one."""
        return self.first <= other.first and other.last <= self.last and self.path != other.path


class Commit(msgspec.Struct, frozen=True):
    """How far the journal is rolled: up to which segment, that one included."""

    segment: int


def day_text(at_us: int) -> str:
    """The UTC day of a time. Raises OverflowError or ValueError where the calendar has none."""
    return date.fromordinal(_UNIX_EPOCH_DAY + at_us // DAY_US).isoformat()


def day_end_s(day: str) -> float:
    """When a UTC day is over, in seconds since 1970."""
    return (date.fromisoformat(day).toordinal() + 1 - _UNIX_EPOCH_DAY) * 86_400.0


def file_for(root: Path, model: str, day: str, segments: tuple[int, int]) -> PairFile:
    """The file that holds the pairs of a model and day out of segments first to last."""
    first, last = segments
    directory = root / f"model={quote(model, safe='')}" / f"date={day}"
    return PairFile(day, first, last, model, directory / f"{first:010d}-{last:010d}.parquet")


def list_files(root: Path, model: str | None = None, days: frozenset[str] | None = None) -> list[PairFile]:
    """Files of one model or all, of some days or all, oldest first.

    While files are merged a single pass over a directory may see neither the parts nor the whole: two passes that
    agree have missed nothing, because the whole is there before the first of its parts goes.
    """
    former = list_held_files(root, model, days)
    while (found := list_held_files(root, model, days)) != former:
        former = found
    return found


def list_held_files(root: Path, model: str | None = None, days: frozenset[str] | None = None) -> list[PairFile]:
    """The same for who holds `rolling_held`, so that one pass is enough."""
    return sorted(_scan(root, model, days))


def without_parts(files: list[PairFile]) -> tuple[list[PairFile], list[PairFile]]:
    """Files to read, and those whose pairs are in a merged file beside them as well."""
    wholes: dict[tuple[str, str], list[PairFile]] = {}
    for one in files:
        if one.last > one.first:
            wholes.setdefault((one.model, one.day), []).append(one)
    kept: list[PairFile] = []
    parts: list[PairFile] = []
    for one in files:
        is_part = any(whole.covers(one) for whole in wholes.get((one.model, one.day), ()))
        (parts if is_part else kept).append(one)
    return kept, parts


def segment_number(path: Path) -> int:
    """The number in a segment's name."""
    return int(path.stem.rpartition("-")[2])


def unrolled_segments(directories: PairDirectories, after: int) -> dict[int, Path]:
    """Segments beyond the commit by number, oldest first.

    Open ones are listed first: one that is closed between the two listings is then seen twice, never missed.
    """
    found = {
        segment_number(path): path
        for suffix in (OPEN_SUFFIX, CLOSED_SUFFIX)
        for path in journal.segments(directories.journal, PREFIX, suffix)
    }
    return {number: found[number] for number in sorted(found) if number > after}


def read_commit(directories: PairDirectories) -> Commit:
    """How far the journal is rolled. Where the record of it is lost, what is on disk tells."""
    try:
        return msgspec.json.decode((directories.pairs / _COMMIT).read_bytes(), type=Commit)
    except (FileNotFoundError, msgspec.MsgspecError):
        unrolled = unrolled_segments(directories, after=0)
        last = max((one.last for one in list_files(directories.pairs)), default=0)
        return Commit(min(last, min(unrolled, default=last + 1) - 1))


def write_commit(directories: PairDirectories, commit: Commit) -> None:
    """From here on the segment counts as rolled, also after a loss of power."""
    partial = directories.pairs / f"{_COMMIT}.partial"
    with partial.open("wb") as file:
        file.write(msgspec.json.encode(commit))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(directories.pairs / _COMMIT)
    sync_directory(directories.pairs)


def sync_file(path: Path) -> None:
    """Make a file's content survive a loss of power."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Make renames and deletions in a directory survive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def rolling_held(state: Path) -> Iterator[PairDirectories]:
    """Be the only one who rolls, merges or deletes in a state directory; waits for another to end.

    The journal's writer starts under it: what it then finds of a former writer is not rolled under its hands.
    """
    directories = PairDirectories(state)
    directories.pairs.mkdir(parents=True, exist_ok=True)
    lock = os.open(directories.pairs / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield directories
    finally:
        os.close(lock)


def open_pair_journal(state: Path, segment_bytes: int) -> Journal:
    """The journal of pairs for its one writer, numbered on from everything before, also what is rolled and deleted."""
    directories = PairDirectories(state)
    opened = Journal(directories.journal, PREFIX, segment_bytes)
    # The journal is looked at before the commit: a segment that is rolled in between is then in the commit.
    aside = journal.segments(directories.journal, PREFIX, BAD_SUFFIX)
    numbers = [*unrolled_segments(directories, after=0), *map(segment_number, aside)]
    opened.start_at(max(numbers, default=0) + 1)
    opened.start_at(read_commit(directories).segment + 1)
    return opened


def _scan(root: Path, model: str | None, days: frozenset[str] | None) -> Iterator[PairFile]:
    def is_wanted(name: str) -> bool:
        return model is None or name == model

    def is_wanted_day(day: str) -> bool:
        return _is_day(day) if days is None else day in days

    for name, model_directory in _partitions(root, "model", is_wanted):
        for day, directory in _partitions(model_directory, "date", is_wanted_day):
            for path in _entries(directory):
                if match := _FILE_NAME.fullmatch(path.name):
                    yield PairFile(day, int(match[1]), int(match[2]), name, path)


def _partitions(directory: Path, key: str, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, Path]]:
    for path in _entries(directory):
        name, _, value = path.name.partition("=")
        if name == key and is_wanted(value := unquote(value)):
            yield value, path


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _entries(directory: Path) -> list[Path]:
    try:
        return [directory / name for name in os.listdir(directory)]
    except (FileNotFoundError, NotADirectoryError):
        return []
