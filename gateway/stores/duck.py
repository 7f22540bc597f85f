"""DuckDB as this project uses it: one in-memory database with named bounds, and SQL from files in `sql/`.

Never a `.duckdb` file: nothing is kept in DuckDB itself, so nothing is locked between processes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import duckdb

MEMORY_LIMIT: Final = "512MB"
"""Bound of all queries of one store together; what does not fit is spilled to the scratch directory."""
THREADS: Final = 1
ROW_GROUP_BYTES: Final = "16MB"
"""A row group is built in memory: with bodies of 1 MiB, the default of 122 880 rows would be 360 GB."""
COMPRESSION: Final = "zstd, COMPRESSION_LEVEL 1"
"""Three fifths of the size of snappy at one tenth more CPU (level 3: no smaller, four tenths more)."""

SHORTEST_LINE_BYTES: Final = 2**20
"""Room for the longest line; with less, reading is no faster."""

Parameters = dict[str, str | int | float | list[str]]
_GLOB = re.compile(r"([*?\[])")


def connect(scratch: Path) -> duckdb.DuckDBPyConnection:
    """A database of this process; it writes nothing outside the scratch directory unless told where."""
    return duckdb.connect(
        config={
            "memory_limit": MEMORY_LIMIT,
            "threads": THREADS,
            "temp_directory": str(scratch / "spill"),
            # Only then are row groups bounded by bytes. One thread keeps the order all the same.
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )


@cache
def sql(name: str) -> str:
    """The text of `sql/NAME.sql`."""
    return (files("gateway.stores") / "sql" / f"{name}.sql").read_text()


def copy_to_parquet(source: str) -> str:
    """SQL that writes what a SELECT gives to the file `$target`."""
    return (
        f"COPY ({source}) TO $target (FORMAT parquet, COMPRESSION {COMPRESSION},"
        f" ROW_GROUP_SIZE_BYTES '{ROW_GROUP_BYTES}')"
    )


def lines(path: Path, longest_bytes: int) -> Parameters:
    """What `sql/unrolled.sql` is to read."""
    # The buffer is twice the longest line. One byte more than the line is needed for its end.
    longest = max(longest_bytes + 1, SHORTEST_LINE_BYTES)
    return {"unrolled": _exactly(path), "longest": longest}


def parquet_files(paths: Iterable[Path]) -> Parameters:
    """What `sql/rolled.sql` is to read."""
    return {"files": [_exactly(path) for path in paths]}


def _exactly(path: Path) -> str:
    # DuckDB takes a path for a pattern.
    return _GLOB.sub(r"[\1]", str(path))


def reason(error: duckdb.Error) -> str:
    """The first line of an error of DuckDB; the rest is advice to who writes SQL."""
    return str(error).partition("\n")[0]
