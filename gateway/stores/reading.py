"""One moment's view of all pairs: which Parquet files count, and the segments not yet rolled, as JSON lines.

The view starts from the commit: segments beyond it are held open and copied, files up to it are listed. What has
moved on meanwhile shows as a missing segment, a later commit or a file on both sides of it; then the view is made anew.
Beside the writer of the journal a torn last line is no record yet.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgspec

from gateway.core.journal import CLOSED_SUFFIX, unframe
from gateway.stores.pair_files import (
    PairDirectories,
    list_files,
    read_commit,
    unrolled_segments,
    without_parts,
)
from gateway.stores.taking_apart import is_pair

ATTEMPTS: Final = 20
"""A view is out of date once per segment rolled meanwhile, so a second attempt nearly always holds."""


class MovedOn(Exception):
    """What a view was made of has been rolled, merged or deleted meanwhile."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which pairs a query can match: of one model or all, of some days or all, naming `text` or anything.

    `strictly` leaves out whole journal lines that are no pairs. They are rare enough to look for only when DuckDB
    refuses what it is given.
    """

    model: str | None = None
    days: frozenset[str] | None = None
    text: str = ""
    strictly: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """The sources of a query: Parquet files, and a copy of what is not rolled with the length of its longest line."""

    files: list[Path]
    unrolled: Path
    longest_bytes: int


@contextmanager
def view(directories: PairDirectories, scratch: Path, wanted: Wanted) -> Iterator[View]:
    """A view for one query. Raises MovedOn, then or when it is used."""
    with ExitStack() as held:
        commit = read_commit(directories)
        segments = [held.enter_context(_open(path)) for path in unrolled_segments(directories, commit.segment).values()]
        # A segment rolled before it could be listed or opened has moved the commit first.
        if read_commit(directories) != commit:
            raise MovedOn
        files, _ = without_parts(list_files(directories.pairs, wanted.model, wanted.days))
        if any(one.first <= commit.segment < one.last for one in files):
            raise MovedOn
        copy = held.enter_context(tempfile.NamedTemporaryFile(dir=scratch, suffix=".ndjson"))
        longest = _copy(segments, copy.file, wanted)
        yield View([one.path for one in files if one.last <= commit.segment], Path(copy.name), longest)


def _open(segment: Path) -> IO[bytes]:
    """A segment, also if it has been closed since it was listed."""
    for path in (segment, segment.with_suffix(CLOSED_SUFFIX)):
        try:
            return path.open("rb")
        except FileNotFoundError:
            continue
    raise MovedOn


def _copy(segments: list[IO[bytes]], copy: IO[bytes], wanted: Wanted) -> int:
    """Copy the records that are wanted; the length of the longest."""
    text = msgspec.json.encode(wanted.text) if wanted.text else b""
    longest = 0
    for segment in segments:
        for line in segment:
            if text not in line or not line.endswith(b"\n"):
                continue
            payload = unframe(line)
            if payload is None or (wanted.strictly and not is_pair(payload)):
                continue
            copy.write(payload + b"\n")
            longest = max(longest, len(payload))
    copy.flush()
    return longest
