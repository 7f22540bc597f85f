"""Names of pair files, the commit, and where the journal goes on."""

from pathlib import Path
from threading import Event, Thread

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.stores.pair_files import (
    Commit,
    PairDirectories,
    PairFile,
    day_end_s,
    day_text,
    file_for,
    list_files,
    open_pair_journal,
    read_commit,
    rolling_held,
    unrolled_segments,
    without_parts,
    write_commit,
)


def touch(root: Path, model: str, day: str, first: int, last: int) -> PairFile:
    one = file_for(root, model, day, (first, last))
    one.path.parent.mkdir(parents=True, exist_ok=True)
    one.path.touch()
    return one


def directories(tmp_path: Path) -> PairDirectories:
    made = PairDirectories(tmp_path)
    made.pairs.mkdir()
    made.journal.mkdir()
    return made


@pytest.mark.parametrize(
    ("at_us", "day"),
    [
        (0, "1970-01-01"),
        (-1, "1969-12-31"),
        (951_782_400_000_000, "2000-02-29"),
        (1_773_532_799_999_999, "2026-03-14"),
        (1_773_532_800_000_000, "2026-03-15"),
    ],
)
def test_days_are_utc_days(at_us: int, day: str) -> None:
    assert day_text(at_us) == day
    assert day_end_s(day) * 1e6 > at_us >= (day_end_s(day) - 86_400) * 1e6


@given(st.sets(st.tuples(st.text(min_size=1, max_size=20), st.integers(0, 10**11), st.integers(0, 40))))
def test_every_file_is_listed_under_the_name_it_was_given(
    tmp_path_factory: pytest.TempPathFactory, files: set[tuple[str, int, int]]
) -> None:
    root = tmp_path_factory.mktemp("pairs")
    made = [touch(root, model, "2026-03-14", first, first + more) for model, first, more in files]
    assert list_files(root) == sorted(made)
    for model, _, _ in files:
        assert list_files(root, model) == sorted(one for one in made if one.model == model)


def test_files_are_listed_by_day_and_nothing_else_is_one(tmp_path: Path) -> None:
    later = touch(tmp_path, "m", "2026-03-15", 1, 1)
    earlier = touch(tmp_path, "m", "2026-03-14", 2, 2)
    for other in ("0000000009-0000000009.parquet.partial", "1-1.parquet", "notes.txt"):
        (later.path.parent / other).touch()
    for other in ("model=m/date=2026-3-1", "model=m/date=x", "model=m/x", "x", ".rolling"):
        (tmp_path / other).mkdir()
        (tmp_path / other / "0000000009-0000000009.parquet").touch()
    (tmp_path / "model=file").touch()
    assert list_files(tmp_path) == [earlier, later]
    assert list_files(tmp_path, days=frozenset({"2026-03-15", "2026-03-16"})) == [later]
    assert list_files(tmp_path / "nowhere") == []


def test_parts_of_a_merged_file_are_told_apart_by_model_and_day() -> None:
    root = Path("pairs")
    whole = file_for(root, "m", "2026-03-14", (2, 5))
    parts = [file_for(root, "m", "2026-03-14", (first, last)) for first, last in ((2, 2), (3, 5))]
    others = [
        file_for(root, "m", "2026-03-14", (1, 1)),
        file_for(root, "m", "2026-03-14", (6, 6)),
        file_for(root, "m", "2026-03-15", (3, 3)),
        file_for(root, "n", "2026-03-14", (3, 3)),
    ]
    kept, left_out = without_parts(sorted([whole, *parts, *others]))
    assert kept == sorted([whole, *others])
    assert left_out == parts


def test_a_commit_is_read_as_it_was_written(tmp_path: Path) -> None:
    here = directories(tmp_path)
    assert read_commit(here) == Commit(0)
    for commit in (Commit(1), Commit(2)):
        write_commit(here, commit)
        assert read_commit(here) == commit
    assert [path.name for path in here.pairs.iterdir()] == ["rolled.json"]


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"segment":"x"}'])
@pytest.mark.parametrize(
    ("files", "segments", "committed"),
    [
        ([], [], 0),
        ([(1, 1), (2, 5)], [], 5),
        ([(1, 1), (2, 5)], ["pairs-0000000006.open"], 5),
        ([(1, 1), (2, 2)], ["pairs-0000000002.log", "pairs-0000000003.open"], 1),
        ([], ["pairs-0000000004.log"], 0),
    ],
)
def test_a_lost_commit_is_told_from_what_is_there(
    tmp_path: Path,
    content: bytes | None,
    files: list[tuple[int, int]],
    segments: list[str],
    committed: int,
) -> None:
    here = directories(tmp_path)
    for first, last in files:
        touch(here.pairs, "m", "2026-03-14", first, last)
    for name in segments:
        (here.journal / name).touch()
    if content is not None:
        (here.pairs / "rolled.json").write_bytes(content)
    assert read_commit(here).segment == committed


def test_segments_beyond_the_commit_are_listed_in_order(tmp_path: Path) -> None:
    here = directories(tmp_path)
    for name in (
        "pairs-0000000004.open",
        "pairs-0000000003.log",
        "pairs-0000000002.log",
        "pairs-0000000001.bad",
        "usage-0000000009.log",
    ):
        (here.journal / name).touch()
    assert unrolled_segments(here, 2) == {
        3: here.journal / "pairs-0000000003.log",
        4: here.journal / "pairs-0000000004.open",
    }


@pytest.mark.parametrize(
    ("commit", "segments", "number"),
    [
        (None, [], 1),
        (Commit(7), [], 8),
        (Commit(7), ["pairs-0000000007.log"], 8),
        (Commit(7), ["pairs-0000000008.log", "pairs-0000000009.log"], 10),
        (Commit(7), ["pairs-0000000008.open"], 9),
        (None, ["pairs-0000000011.bad"], 12),
    ],
)
def test_the_journal_is_numbered_on_from_everything_before(
    tmp_path: Path, commit: Commit | None, segments: list[str], number: int
) -> None:
    here = directories(tmp_path)
    if commit:
        write_commit(here, commit)
    for name in segments:
        (here.journal / name).touch()
    opened = open_pair_journal(tmp_path, 1 << 20)
    opened.append([b"{}"])
    opened.close()
    assert (here.journal / f"pairs-{number:010d}.log").read_bytes().endswith(b"{}\n")


def test_the_journal_opens_while_nothing_is_rolled(tmp_path: Path) -> None:
    order: list[str] = []
    rolled = Event()

    def roll() -> None:
        with rolling_held(tmp_path):
            order.append("rolled")
        rolled.set()

    with rolling_held(tmp_path) as here:
        roller = Thread(target=roll)
        roller.start()
        opened = open_pair_journal(tmp_path, 1 << 20)
        assert opened.directory == here.journal
        assert not rolled.wait(0.05)
        order.append("opened")
    roller.join()
    assert order == ["opened", "rolled"]


def test_a_commit_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    here = directories(tmp_path)
    write_commit(here, Commit(3))
    content = (here.pairs / "rolled.json").read_bytes()
    assert msgspec.json.decode(content) == {"segment": 3}
