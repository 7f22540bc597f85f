"""A segment becomes one file as it is only if all its records are pairs of one model and day."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from gateway.core.pair import Pair
from gateway.stores import converting, duck, rolling, taking_apart
from gateway.stores.converting import Converted, convert_as_one, convert_by_place
from gateway.stores.parquet import ParquetPairs
from tests.support.pairs import DAY_US, TYPICAL, Shadow

MIDNIGHT_US = TYPICAL.at_us + DAY_US // 2
LONG_NAME = "m" * 200


@pytest.fixture
def shadow(tmp_path: Path) -> Shadow:
    return Shadow(tmp_path / "state")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duck.connect(tmp_path / "scratch") as opened:
        yield opened


def closed_segment(shadow: Shadow) -> Path:
    shadow.close_segment()
    return max((shadow.state / "journal").glob("*.log"))


def rows(database: duckdb.DuckDBPyConnection, converted: Converted) -> list[tuple[object, ...]]:
    (one,) = converted.files
    return database.execute("FROM read_parquet($1, hive_partitioning = false)", [str(one.path)]).fetchall()


def test_a_segment_of_one_model_and_day_becomes_the_same_file_either_way(
    shadow: Shadow, database: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    shadow.append({}, {"agree": None, "difference": None}, {"slices": {}, "request": "größer \n"})
    shadow.append({"at_us": MIDNIGHT_US - 1}, {"at_us": MIDNIGHT_US - DAY_US})
    segment = closed_segment(shadow)
    as_one = convert_as_one(database, segment, tmp_path / "one")
    by_place = convert_by_place(database, segment, tmp_path / "many")
    assert as_one is not None
    assert (as_one.records, as_one.damaged) == (by_place.records, by_place.damaged) == (5, 0)
    assert [(one.model, one.day) for one in as_one.files] == [("flight-delay", "2026-03-14")]
    assert [(one.model, one.day) for one in by_place.files] == [("flight-delay", "2026-03-14")]
    assert rows(database, as_one) == rows(database, by_place)
    assert len(rows(database, as_one)) == 5


@pytest.mark.parametrize(
    ("some", "others"),
    [
        ({}, {"model": "other"}),
        ({"at_us": MIDNIGHT_US - 1}, {"at_us": MIDNIGHT_US}),
        ({"at_us": -1}, {"at_us": 0}),
        ({"model": f"{LONG_NAME}a"}, {"model": f"{LONG_NAME}b"}),
        ({"model": "m"}, {"model": "M"}),
    ],
)
def test_a_segment_of_two_places_is_none_as_one(
    shadow: Shadow,
    database: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    some: dict[str, object],
    others: dict[str, object],
) -> None:
    shadow.append(some, others, some)
    segment = closed_segment(shadow)
    assert convert_as_one(database, segment, tmp_path / "work") is None
    files = convert_by_place(database, segment, tmp_path / "work").files
    assert len({(one.model, one.day) for one in files}) == 2


def test_a_damaged_line_costs_its_pair_and_not_the_one_file(
    shadow: Shadow, database: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    shadow.append({}, {}, {})
    segment = closed_segment(shadow)
    segment.write_bytes(segment.read_bytes().replace(b'"sequence":2', b'"sequence":7'))
    converted = convert_as_one(database, segment, tmp_path / "work")
    assert converted is not None
    assert (converted.records, converted.damaged) == (2, 1)
    assert [row[0] for row in rows(database, converted)] == [1, 3]


def test_a_segment_of_no_record_is_none_as_one(
    shadow: Shadow, database: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    shadow.journal.append([b"?"])
    segment = closed_segment(shadow)
    segment.write_bytes(b"torn")
    assert convert_as_one(database, segment, tmp_path / "work") is None
    assert convert_by_place(database, segment, tmp_path / "work") == Converted([], 0, 1)


@pytest.mark.parametrize(
    ("convert", "first_step", "file"),
    [(convert_as_one, "copy_lines", "all.parquet"), (convert_by_place, "take_apart", "0.parquet")],
)
def test_a_file_that_cannot_be_written_is_no_doubt_about_the_records(
    shadow: Shadow,
    database: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    convert: Callable[[duckdb.DuckDBPyConnection, Path, Path], Converted | None],
    first_step: str,
    file: str,
) -> None:
    work = tmp_path / "work"
    step = getattr(taking_apart, first_step)

    def step_and_obstruct(segment: Path, directory: Path) -> object:
        done = step(segment, directory)
        (work / file).mkdir()
        return done

    shadow.append({})
    monkeypatch.setattr(converting, first_step, step_and_obstruct)
    with pytest.raises(duckdb.IOException):
        convert(database, closed_segment(shadow), work)


def test_a_roll_tries_the_next_segment_as_one_after_one_that_was(
    shadow: Shadow, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def observed(database: duckdb.DuckDBPyConnection, segment: Path, directory: Path) -> Converted | None:
        tried.append(segment.stem[-1])
        return convert_as_one(database, segment, directory)

    monkeypatch.setattr(rolling, "convert_as_one", observed)
    appended: list[Pair] = []
    for models in (["m"], ["m", "n"], ["m", "n"], ["n"], ["n"]):
        appended += shadow.append(*({"model": model} for model in models))
        shadow.close_segment()
    store = ParquetPairs(shadow.state)
    rolled = store.roll()
    assert (rolled.segments, rolled.pairs, rolled.files_written, rolled.damaged) == (5, 7, 7, 0)
    assert all(store.find(pair.request_id) == [pair] for pair in appended)
    assert tried == ["1", "2", "5"]
    store.close()
