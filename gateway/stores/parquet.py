"""Pairs in Parquet files under the state directory, written and read by DuckDB: the embedded PairStore.

Queries see what is rolled and what is still in the journal, each pair once, while pairs are written, rolled, merged
and deleted beside them. Safe for threads: each call has a cursor of its own, all share one memory limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import duckdb

from gateway.core import journal
from gateway.core.pair import Pair
from gateway.core.ports import Mismatch, PairStoreError, PairSummary, Retained, Rolled
from gateway.stores import duck
from gateway.stores.pair_files import BAD_SUFFIX, PREFIX, PairDirectories, list_held_files, rolling_held
from gateway.stores.questions import Question, days_of
from gateway.stores.reading import ATTEMPTS, MovedOn, View, Wanted, view
from gateway.stores.retention import SizedFile, expired, with_sizes
from gateway.stores.rolling import Roller
from gateway.stores.scratch import scratch_directory

_Answer = TypeVar("_Answer")


class ParquetPairs:
    """The pairs of one state directory."""

    __slots__ = ("_database", "_directories", "_empty", "_roller", "_scratch")

    def __init__(self, state: Path):
        self._directories = PairDirectories(state)
        self._scratch = scratch_directory()
        scratch = Path(self._scratch.name)
        self._database = duck.connect(scratch)
        self._empty = _make_empty_file(self._database, scratch)
        self._roller = Roller(self._directories)

    def close(self) -> None:
        """Close the database and delete the scratch directory."""
        self._database.close()
        self._scratch.cleanup()

    def roll(self) -> Rolled:
        """See the port. Waits while another process rolls the same directory."""
        try:
            with rolling_held(self._directories.state), self._database.cursor() as cursor:
                return self._roller.roll(cursor)
        except OSError as error:
            return Rolled(failure=str(error))

    def retain(self, keep_age_s: float, keep_bytes: int) -> Retained:
        """See the port. Journal segments that were kept aside as damaged go by age as well."""
        oldest_s = time.time() - keep_age_s
        with rolling_held(self._directories.state):
            sized = with_sizes(list_held_files(self._directories.pairs))
            going = expired(sized, oldest_s, keep_bytes)
            for one in [*going.by_age, *going.by_bytes]:
                one.file.path.unlink(missing_ok=True)
            for path in journal.segments(self._directories.journal, PREFIX, BAD_SUFFIX):
                if path.stat().st_mtime < oldest_s:
                    path.unlink()
        deleted = _total([*going.by_age, *going.by_bytes])
        return Retained(
            files_by_age=len(going.by_age),
            files_by_bytes=len(going.by_bytes),
            bytes_deleted=deleted,
            bytes_kept=_total(sized) - deleted,
        )

    def find(self, request_id: str) -> list[Pair]:
        """See the port. The day in a request id says which files can have it."""
        wanted = Wanted(days=days_of(request_id), text=request_id)
        return self._ask(wanted, lambda question: question.find(request_id))

    def summary(self, model: str, challenger: str, champion: str) -> PairSummary:
        """See the port. Quantiles are exact up to EXACT_QUANTILES_UP_TO pairs."""
        contest = {"model": model, "challenger": challenger, "champion": champion}
        wanted = Wanted(model, text=model)
        return self._ask(wanted, lambda question: question.summary(contest))

    def worst(self, model: str, challenger: str, champion: str, limit: int) -> list[Mismatch]:
        """See the port."""
        contest = {"model": model, "challenger": challenger, "champion": champion}
        wanted = Wanted(model, text=model)
        return self._ask(wanted, lambda question: question.worst(contest, limit))

    def _ask(self, wanted: Wanted, ask: Callable[[Question], _Answer]) -> _Answer:
        """Ask a question of a view that holds until it is answered."""
        for _ in range(ATTEMPTS):
            try:
                self._keep_scratch()
                with view(self._directories, Path(self._scratch.name), wanted) as seen:
                    return self._answer(seen, ask)
            except MovedOn:
                continue
            except OSError as error:
                raise PairStoreError(f"cannot read pairs: {error}") from error
            except duckdb.Error as error:
                if wanted.strictly:
                    raise PairStoreError(f"cannot read pairs: {duck.reason(error)}") from error
                wanted = replace(wanted, strictly=True)
        raise PairStoreError("pairs are rolled faster than they can be read")

    def _keep_scratch(self) -> None:
        """Make the scratch directory again if somebody cleared the place for temporary files."""
        if not self._empty.exists():
            scratch = Path(self._scratch.name)
            scratch.mkdir(mode=0o700, exist_ok=True)
            _make_empty_file(self._database, scratch)

    def _answer(self, seen: View, ask: Callable[[Question], _Answer]) -> _Answer:
        # An empty file is read with the others, so that there always is one and all columns are there.
        sources = duck.parquet_files([self._empty, *seen.files])
        sources |= duck.lines(seen.unrolled, seen.longest_bytes)
        try:
            with self._database.cursor() as cursor:
                return ask(Question(cursor, sources))
        except duckdb.Error as error:
            if all(path.exists() for path in seen.files):
                raise
            raise MovedOn from error


def _make_empty_file(database: duckdb.DuckDBPyConnection, scratch: Path) -> Path:
    nothing = scratch / "empty.ndjson"
    nothing.touch()
    empty = scratch / "empty.parquet"
    database.execute(duck.copy_to_parquet(duck.sql("unrolled")), duck.lines(nothing, 0) | {"target": str(empty)})
    return empty


def _total(files: list[SizedFile]) -> int:
    return sum(one.size_bytes for one in files)
