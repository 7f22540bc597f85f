"""The questions that are asked of pairs: their SQL is in `sql/`, here are their parameters and typed answers.

Text of a pair may be NULL where a file of an older version lacks the column; `gateway.core.pair` has the default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import duckdb
import msgspec

from gateway.core.pair import Pair
from gateway.core.ports import Mismatch, PairStoreError, PairSummary, Quantiles, SliceCount
from gateway.stores import duck

EXACT_QUANTILES_UP_TO: Final = 4_000_000
"""Pairs whose numbers are held in memory (30 bytes a pair) for exact quantiles; beyond, t-digests."""
MOST_SLICE_VALUES: Final = 50
"""Values listed per dimension, the most frequent ones."""
_DAY_SLACK: Final = timedelta(hours=1)
"""A pair's day and that of its id can differ by the time between the two."""
_UUID7 = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_NEVER_NULL = frozenset(Pair.__struct_fields__) - {"agree", "difference"}

Row = tuple[object, ...]


def days_of(request_id: str) -> frozenset[str] | None:
    """The UTC days that can have pairs of a request, or None if its id does not say."""
    match = _UUID7.fullmatch(request_id)
    if match is None:
        return None
    try:
        at = datetime.fromtimestamp(int(match[1] + match[2], 16) / 1000, UTC)
        around = (at - _DAY_SLACK, at, at + _DAY_SLACK)
    except (OverflowError, ValueError):
        return None
    return frozenset(one.date().isoformat() for one in around)


class _Counts(msgspec.Struct, array_like=True):
    """The row of `sql/summary.sql`."""

    pairs: int
    other_champions: int
    first_at_us: int | None
    last_at_us: int | None
    compared: int
    agree: int
    incomparable: int


@dataclass(frozen=True, slots=True)
class Question:
    """Asks of one view of the pairs. `sources` are the parameters that say which files are in it."""

    cursor: duckdb.DuckDBPyConnection
    sources: duck.Parameters

    def find(self, request_id: str) -> list[Pair]:
        """All pairs of one request."""
        rows = self._rows("find", {"request_id": request_id})
        names = [column[0] for column in self.cursor.description or ()]
        return [_pair(dict(zip(names, row, strict=True))) for row in rows]

    def summary(self, contest: Mapping[str, str]) -> PairSummary:
        """What pairs of one model, challenger and champion say."""
        (counts,) = self._rows("summary", contest)
        counted = msgspec.convert(counts, _Counts)
        approximate = counted.pairs > EXACT_QUANTILES_UP_TO
        quantile = "approx_quantile" if approximate else "quantile_disc"
        (numbers,) = self._rows("quantiles", contest, QUANTILE=quantile)
        slices = self._rows("slices", {**contest, "most_values": MOST_SLICE_VALUES})
        listed = msgspec.convert(slices, list[tuple[str, str, int, int, int]])
        return PairSummary(
            **msgspec.structs.asdict(counted),
            difference=_quantiles(numbers[0:3]),
            champion_us=_quantiles(numbers[3:6]),
            challenger_us=_quantiles(numbers[6:9]),
            slices=tuple(SliceCount(*row[:4]) for row in listed),
            slices_left_out={row[0]: row[4] - MOST_SLICE_VALUES for row in listed if row[4] > MOST_SLICE_VALUES},
        )

    def worst(self, contest: Mapping[str, str], limit: int) -> list[Mismatch]:
        """The pairs that agree least."""
        return [_mismatch(row) for row in self._rows("worst", {**contest, "most": limit})]

    def _rows(self, name: str, parameters: Mapping[str, str | int], **words: str) -> list[Row]:
        statement = duck.sql(name)
        for word, meaning in words.items():
            statement = statement.replace(word, meaning)
        pairs = f"{duck.sql('rolled')} UNION ALL BY NAME {duck.sql('unrolled')}"
        self.cursor.execute(f"WITH pairs AS ({pairs}) {statement}", {**self.sources, **parameters})
        return self.cursor.fetchall()


def _pair(row: dict[str, object]) -> Pair:
    present = {name: value for name, value in row.items() if value is not None or name not in _NEVER_NULL}
    try:
        for name in ("slices", "paths"):
            present[name] = msgspec.json.decode(str(present.get(name)))
        return msgspec.convert(present, Pair)
    except msgspec.MsgspecError as error:
        raise PairStoreError(f"pair {row.get('sequence')} is not whole: {error}") from error


def _mismatch(row: Row) -> Mismatch:
    request_id, at_us, difference, paths, slices, champion_status, challenger_status = row
    return msgspec.convert(
        {
            "request_id": request_id,
            "at_us": at_us,
            "difference": difference,
            "paths": msgspec.json.decode(str(paths)),
            "slices": msgspec.json.decode(str(slices)),
            "champion_status": champion_status,
            "challenger_status": challenger_status,
        },
        Mismatch,
    )


def _quantiles(row: Row) -> Quantiles | None:
    count, at, maximum = msgspec.convert(row, tuple[int, list[float | None] | None, float | None])
    if not at or maximum is None:
        return None
    p50, p90, p99 = msgspec.convert(at, tuple[float, float, float])
    return Quantiles(count, p50, p90, p99, maximum)
