"""From many small files to few: a day of one model rolled every minute would be 1 440 files.

Writing a pair again costs 1.3 µs, so a file is merged again only where that makes it several times larger.

The merged file has its name before its parts go, and readers leave out the parts of a whole: so no pair is missed or
read twice in between, nor after a kill.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import duckdb

from gateway.stores import duck
from gateway.stores.pair_files import (
    WORK_DIRECTORY,
    file_for,
    list_held_files,
    sync_directory,
    sync_file,
    without_parts,
)
from gateway.stores.retention import SizedFile, with_sizes

MERGE_FILES: Final = 32
"""So many files side by side are made one: opening one costs a query 200 to 300 µs."""
MERGED_BYTES: Final = 64 * 2**20
"""The most that is merged into one file: so much that files of whole segments are merged, where pairs are digests."""
GROWTH: Final = 4
"""A merged file is at least so many times its largest part: a pair is then written again two or three times. It would
be twenty where each 31 small files were merged into the large one beside them."""


def run_to_merge(files: list[SizedFile]) -> list[SizedFile]:
    """The oldest files side by side that are many, small enough to be made one, and of similar size; or none."""
    for start in range(len(files) - MERGE_FILES + 1):
        total = largest = 0
        for end in range(start, len(files)):
            total += files[end].size_bytes
            largest = max(largest, files[end].size_bytes)
            if total > MERGED_BYTES:
                break
            if end - start + 1 >= MERGE_FILES and total >= GROWTH * largest:
                return files[start : end + 1]
    return []


def merge_day(database: duckdb.DuckDBPyConnection, root: Path, model: str, day: str) -> int:
    """Merge what is to be merged of one model and day; how many files it took in."""
    files, _ = without_parts(list_held_files(root, model, frozenset({day})))
    run = run_to_merge(with_sizes(files))
    if run:
        _merge(database, root, run)
    return len(run)


def _merge(database: duckdb.DuckDBPyConnection, root: Path, run: list[SizedFile]) -> None:
    files = [one.file for one in run]
    work = root / WORK_DIRECTORY
    segments = (files[0].first, files[-1].last)
    whole = file_for(root, files[0].model, files[0].day, segments).path
    temporary = work / whole.name
    work.mkdir(exist_ok=True)
    database.execute(
        duck.copy_to_parquet(duck.sql("rolled")),
        duck.parquet_files(one.path for one in files) | {"target": str(temporary)},
    )
    sync_file(temporary)
    # As old as its newest part: retention goes by it.
    written_s = max(one.written_s for one in run)
    os.utime(temporary, (written_s, written_s))
    temporary.replace(whole)
    sync_directory(whole.parent)
    for one in files:
        one.path.unlink()
