"""A closed segment as Parquet files under temporary names: one for each model and UTC day in it.

A segment of one model and day becomes a file as it is, and the file then tells whether it was such a segment: only
checksums are looked at in Python, which is a sixth cheaper than decoding where each record belongs. Whatever is not
plainly such a segment is taken apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from gateway.stores import duck
from gateway.stores.pair_files import DAY_US, day_text
from gateway.stores.taking_apart import Part, Parts, copy_lines, strictly, take_apart


@dataclass(frozen=True, slots=True)
class Converted:
    """All records of a segment in Parquet files. `damaged` counts lines that were no whole record."""

    files: list[Part]
    records: int
    damaged: int


def convert_as_one(database: duckdb.DuckDBPyConnection, segment: Path, directory: Path) -> Converted | None:
    """A segment as one file, or None if its records are not all pairs of one model and day."""
    lines = copy_lines(segment, directory)
    target = lines.path.with_suffix(".parquet")
    try:
        _to_parquet(database, lines.path, lines.longest_bytes, target)
        place = _one_place(database, target, lines.records)
    except duckdb.IOException:
        raise
    except (duckdb.Error, OverflowError, ValueError):
        return None
    return place and Converted([Part(*place, target)], lines.records, lines.damaged)


def convert_by_place(database: duckdb.DuckDBPyConnection, segment: Path, directory: Path) -> Converted:
    """A segment as one file for each model and day."""
    parts = take_apart(segment, directory)
    try:
        return _parts_to_parquet(database, parts)
    except duckdb.IOException:
        raise
    except duckdb.Error:
        # Whole lines that are no pairs: only such records are left out that are none.
        return _parts_to_parquet(database, take_apart(segment, directory, strictly))


def _parts_to_parquet(database: duckdb.DuckDBPyConnection, parts: Parts) -> Converted:
    files = []
    for part in parts.found.values():
        target = part.path.with_suffix(".parquet")
        _to_parquet(database, part.path, parts.longest_bytes, target)
        files.append(replace(part, path=target))
    return Converted(files, parts.records, parts.damaged)


def _to_parquet(database: duckdb.DuckDBPyConnection, lines: Path, longest_bytes: int, target: Path) -> None:
    database.execute(
        duck.copy_to_parquet(duck.sql("unrolled")),
        duck.lines(lines, longest_bytes) | {"target": str(target)},
    )


def _one_place(database: duckdb.DuckDBPyConnection, file: Path, records: int) -> tuple[str, str] | None:
    """The model and day that all records of a file have. Raises ValueError or OverflowError for no calendar's day."""
    ends = f"WITH pairs AS ({duck.sql('rolled')}) {duck.sql('ends')}"
    match database.execute(ends, duck.parquet_files([file])).fetchone():
        case (placed, str(model), last_model, int(at_us), int(last_at_us)) if (
            placed == records and model == last_model and at_us // DAY_US == last_at_us // DAY_US
        ):
            return model, day_text(at_us)
        case _:
            return None
