"""From closed journal segments to Parquet files, one segment after the other.

The order that a kill at any point cannot hurt: files under temporary names, synced, renamed; then the commit; then
the segment goes. Before its commit nobody reads a segment's files, so a second attempt just writes them again.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import duckdb

from gateway.core import journal
from gateway.core.ports import Rolled
from gateway.stores import duck
from gateway.stores.converting import convert_as_one, convert_by_place
from gateway.stores.merging import merge_day
from gateway.stores.pair_files import (
    BAD_SUFFIX,
    PREFIX,
    WORK_DIRECTORY,
    Commit,
    PairDirectories,
    PairFile,
    file_for,
    list_held_files,
    read_commit,
    segment_number,
    sync_directory,
    sync_file,
    without_parts,
    write_commit,
)


class Roller:
    """Rolls one state directory. For one process at a time: the caller holds the store's lock."""

    __slots__ = ("_directories", "_is_of_one_place", "_is_tidy", "_tally", "_touched", "_work")

    def __init__(self, directories: PairDirectories):
        self._directories = directories
        self._work = directories.pairs / WORK_DIRECTORY
        self._is_tidy = False
        self._is_of_one_place = True
        """Whether the last segment was of one model and day: then the next one most often is, too."""
        self._tally: Counter[str] = Counter()
        self._touched: set[tuple[str, str]] = set()

    def roll(self, database: duckdb.DuckDBPyConnection) -> Rolled:
        """Roll every closed segment. A disk that fails ends it: the rest is for the next call."""
        self._tally.clear()
        self._touched.clear()
        failure = ""
        try:
            self._roll_all(database)
            for model, day in sorted(self._touched):
                self._tally["files_merged"] += merge_day(database, self._directories.pairs, model, day)
        except OSError as error:
            failure = str(error)
        except duckdb.Error as error:
            failure = duck.reason(error)
        self._is_tidy = not failure
        shutil.rmtree(self._work, ignore_errors=True)
        return Rolled(failure=failure, **self._tally)

    def _roll_all(self, database: duckdb.DuckDBPyConnection) -> None:
        commit = read_commit(self._directories)
        if not self._is_tidy:
            self._tidy(commit)
        for segment in journal.segments(self._directories.journal, PREFIX):
            if segment_number(segment) > commit.segment:
                commit = self._roll_segment(database, segment, commit)

    def _roll_segment(self, database: duckdb.DuckDBPyConnection, segment: Path, commit: Commit) -> Commit:
        number = segment_number(segment)
        converted = convert_as_one(database, segment, self._work) if self._is_of_one_place else None
        if converted is None:
            converted = convert_by_place(database, segment, self._work)
        self._is_of_one_place = len(converted.files) <= 1
        written = [
            (one.path, file_for(self._directories.pairs, one.model, one.day, (number, number)))
            for one in converted.files
        ]
        _publish(written)
        commit = Commit(number)
        write_commit(self._directories, commit)
        self._touched.update((one.model, one.day) for one in converted.files)
        self._tally.update(
            segments=1,
            pairs=converted.records,
            files_written=len(written),
            damaged=converted.damaged,
            set_aside=1 if converted.damaged else 0,
        )
        _dispose(segment, is_damaged=converted.damaged > 0)
        return commit

    def _tidy(self, commit: Commit) -> None:
        """Finish what a killed process had begun: its half-written files, its last segment, its last merge."""
        shutil.rmtree(self._work, ignore_errors=True)
        unrolled = set()
        for segment in journal.segments(self._directories.journal, PREFIX):
            if segment_number(segment) > commit.segment:
                unrolled.add(segment_number(segment))
            else:
                _dispose(segment, is_damaged=journal.recover(segment).damaged > 0)
        files, parts = without_parts(list_held_files(self._directories.pairs))
        for one in [*parts, *(one for one in files if one.first in unrolled)]:
            one.path.unlink()


def _publish(written: Iterable[tuple[Path, PairFile]]) -> None:
    """Give the files their names, once their content survives a loss of power, so that the names do, too."""
    directories = set()
    for temporary, final in written:
        sync_file(temporary)
        day_directory = final.path.parent
        if not day_directory.is_dir():
            day_directory.mkdir(parents=True)
            directories |= {day_directory.parent, day_directory.parent.parent}
        temporary.replace(final.path)
        directories.add(day_directory)
    for directory in directories:
        sync_directory(directory)


def _dispose(segment: Path, is_damaged: bool) -> None:
    if is_damaged:
        segment.rename(segment.with_suffix(BAD_SUFFIX))
    else:
        os.unlink(segment)
