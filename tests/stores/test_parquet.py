"""The Parquet store: damage, full disks, many files, old files, memory, and readers beside everything."""

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import ParamSpec, TypeVar

import duckdb
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.journal import frame
from gateway.core.pair import Pair
from gateway.core.ports import PairStoreError, Quantiles, Rolled
from gateway.stores import merging, questions, reading
from gateway.stores.pair_files import Commit, PairDirectories, file_for, list_files, write_commit
from gateway.stores.parquet import ParquetPairs
from tests.support.pairs import DAY_US, TYPICAL, Shadow, a_pair, encoded, request_id_at

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")
CONTEST = ("flight-delay", "2", "1")
MISMATCH: dict[str, object] = {"agree": False, "difference": 1.0}


@pytest.fixture
def shadow(tmp_path: Path) -> Shadow:
    return Shadow(tmp_path / "state")


@pytest.fixture
def store(shadow: Shadow) -> Iterator[ParquetPairs]:
    opened = ParquetPairs(shadow.state)
    yield opened
    opened.close()


def files_of(shadow: Shadow) -> list[Path]:
    return [one.path for one in list_files(shadow.state / "pairs")]


def seen_ids(store: ParquetPairs) -> list[str]:
    return sorted(one.request_id for one in store.worst(*CONTEST, 100_000))


def ids_of(pairs: list[Pair]) -> list[str]:
    return sorted(pair.request_id for pair in pairs)


def query(path: Path, statement: str) -> list[tuple[object, ...]]:
    with duckdb.connect() as database:
        return database.execute(statement, {"file": str(path)}).fetchall()


def test_a_file_has_a_column_for_every_field_of_a_pair(shadow: Shadow, store: ParquetPairs) -> None:
    shadow.append({})
    shadow.close_segment()
    store.roll()
    (path,) = files_of(shadow)
    columns = query(path, "DESCRIBE SELECT * FROM read_parquet($file, hive_partitioning = false)")
    assert [column[0] for column in columns] == list(Pair.__struct_fields__)


def test_files_are_named_by_model_day_and_segment(shadow: Shadow, store: ParquetPairs) -> None:
    shadow.append({"model": "a/ü"}, {}, {"at_us": TYPICAL.at_us + DAY_US})
    shadow.close_segment()
    store.roll()
    assert [str(path.relative_to(shadow.state)) for path in files_of(shadow)] == [
        "pairs/model=a%2F%C3%BC/date=2026-03-14/0000000001-0000000001.parquet",
        "pairs/model=flight-delay/date=2026-03-14/0000000001-0000000001.parquet",
        "pairs/model=flight-delay/date=2026-03-15/0000000001-0000000001.parquet",
    ]
    assert sorted(path.name for path in (shadow.state / "pairs").iterdir()) == [
        ".lock",
        "model=a%2F%C3%BC",
        "model=flight-delay",
        "rolled.json",
    ]


def merge_each(monkeypatch: pytest.MonkeyPatch, files: int) -> None:
    """Have so many files made one, whatever their sizes."""
    monkeypatch.setattr(merging, "MERGE_FILES", files)
    monkeypatch.setattr(merging, "GROWTH", 1)


def then(function: Callable[Asked, Answer], what: Callable[[], object]) -> Callable[Asked, Answer]:
    """The function, and right after its first call something that another process does."""
    left = [what]

    def both(*arguments: Asked.args, **named: Asked.kwargs) -> Answer:
        found = function(*arguments, **named)
        while left:
            left.pop()()
        return found

    return both


NOT_PAIRS = {
    "nothing": b"",
    "blanks": b"  ",
    "null": b"null",
    "no JSON": b"a line of text",
    "no object": b"[1, 2]",
    "no place": b'{"request_id":"x"}',
    "no id": b'{"at_us":1,"model":"flight-delay"}',
    "a time of no calendar": msgspec.json.encode({**msgspec.to_builtins(a_pair(9)), "at_us": 2**62}),
    "text for a number": msgspec.json.encode({**msgspec.to_builtins(a_pair(9)), "champion_us": "?"}),
    "half a character": encoded([a_pair(9)])[0].replace(b'"tenant":"UA"', b'"tenant":"\\ud800"'),
    "bytes of no text": encoded([a_pair(9)])[0].replace(b'"tenant":"UA"', b'"tenant":"\xff"'),
}  # fmt: skip


@pytest.mark.parametrize("line", NOT_PAIRS.values(), ids=NOT_PAIRS.keys())
def test_a_record_that_is_no_pair_is_counted_and_kept_aside(shadow: Shadow, store: ParquetPairs, line: bytes) -> None:
    shadow.append(MISMATCH)
    shadow.journal.append([line])
    shadow.append(MISMATCH)
    assert seen_ids(store) == ids_of(shadow.appended)
    shadow.close_segment()
    assert store.roll() == Rolled(segments=1, pairs=2, files_written=1, damaged=1, set_aside=1)
    assert seen_ids(store) == ids_of(shadow.appended)
    (aside,) = (shadow.state / "journal").iterdir()
    assert aside.name == "pairs-0000000001.bad"
    assert frame(line) in aside.read_bytes()


def test_a_flipped_bit_costs_its_pair_and_no_other(shadow: Shadow, store: ParquetPairs) -> None:
    shadow.append(MISMATCH, MISMATCH, MISMATCH)
    shadow.close_segment()
    (segment,) = (shadow.state / "journal").iterdir()
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"flight-delay", b"flight-relay", 1)
    segment.write_bytes(b"".join(lines))
    expected = ids_of([shadow.appended[0], shadow.appended[2]])
    assert seen_ids(store) == expected
    assert store.roll().damaged == 1
    assert seen_ids(store) == expected


def test_a_segment_of_damage_alone_becomes_no_file(shadow: Shadow, store: ParquetPairs) -> None:
    shadow.journal.append([b"?", b"??"])
    shadow.close_segment()
    shadow.append(MISMATCH)
    shadow.close_segment()
    assert store.roll() == Rolled(segments=2, pairs=1, files_written=1, damaged=2, set_aside=1)
    assert len(files_of(shadow)) == 1


def test_damaged_segments_go_by_age_too(shadow: Shadow, store: ParquetPairs) -> None:
    shadow.journal.append([b"?"])
    shadow.close_segment()
    store.roll()
    store.retain(3600.0, 0)
    (aside,) = (shadow.state / "journal").iterdir()
    os.utime(aside, (1e9, 1e9))
    store.retain(3600.0, 0)
    assert list((shadow.state / "journal").iterdir()) == []


def test_numbers_go_on_after_everything_is_rolled_and_deleted(shadow: Shadow, store: ParquetPairs) -> None:
    for _ in range(3):
        shadow.append({}, {})
        shadow.close_segment()
        store.roll()
        store.retain(0.0, 0)
        shadow.start()
    assert [path.stem for path in files_of(shadow)] == ["0000000003-0000000003"]


def test_a_committed_segment_that_comes_back_is_not_read_again(shadow: Shadow, store: ParquetPairs) -> None:
    """A deletion that a loss of power undid."""
    shadow.append(MISMATCH)
    shadow.close_segment()
    (segment,) = (shadow.state / "journal").iterdir()
    content = segment.read_bytes()
    store.roll()
    segment.write_bytes(content)
    assert seen_ids(store) == ids_of(shadow.appended)
    later = ParquetPairs(shadow.state)
    assert later.roll() == Rolled()
    later.close()
    assert not segment.exists()
    assert seen_ids(store) == ids_of(shadow.appended)


def test_files_of_an_older_version_lack_columns_and_are_read(shadow: Shadow, store: ParquetPairs) -> None:
    shadow.append(MISMATCH)
    shadow.close_segment()
    store.roll()
    old = file_for(shadow.state / "pairs", "flight-delay", "2026-03-14", (0, 0)).path
    with duckdb.connect() as database:
        database.execute(
            "COPY (SELECT * EXCLUDE (detail, difference) FROM read_parquet($new)) TO $old (FORMAT parquet)",
            {"new": str(files_of(shadow)[0]), "old": str(old)},
        )
    assert store.summary(*CONTEST).compared == 2
    assert store.summary(*CONTEST).difference == Quantiles(1, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(PairStoreError, match=r"pair 1 is not whole: .*`detail`"):
        store.find(shadow.appended[0].request_id)


@pytest.mark.parametrize("content", [b"", b"not Parquet at all", b"PAR1" + b"\0" * 40 + b"PAR1"])
def test_a_broken_file_is_named(shadow: Shadow, store: ParquetPairs, content: bytes) -> None:
    shadow.append(MISMATCH)
    shadow.close_segment()
    store.roll()
    (path,) = files_of(shadow)
    path.write_bytes(content)
    for ask in (lambda: store.summary(*CONTEST), lambda: store.find(TYPICAL.request_id)):
        with pytest.raises(PairStoreError, match=r"cannot read pairs: .*0000000001\.parquet"):
            ask()


def test_a_state_directory_that_cannot_be_used_is_an_error_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "pairs").touch()
    store = ParquetPairs(tmp_path)
    assert "File exists" in store.roll().failure
    with pytest.raises(PairStoreError, match=r"cannot read pairs: .*Not a directory"):
        store.find("x")
    store.close()


def test_a_segment_that_cannot_be_read_ends_a_roll_and_is_tried_again(shadow: Shadow, store: ParquetPairs) -> None:
    shadow.append(MISMATCH)
    shadow.close_segment()
    unreadable = shadow.state / "journal" / "pairs-0000000002.log"
    unreadable.mkdir()
    rolled = store.roll()
    assert (rolled.segments, rolled.pairs) == (1, 1)
    assert "Is a directory" in rolled.failure
    unreadable.rmdir()
    assert store.roll() == Rolled()
    assert seen_ids(store) == ids_of(shadow.appended)


@pytest.mark.parametrize(
    ("request_id", "days"),
    [
        ("019cec37-b600-7000-8000-000000000001", {"2026-03-14"}),
        (request_id_at(TYPICAL.at_us + 23 * DAY_US // 48, 1), {"2026-03-14", "2026-03-15"}),
        ("019CEC37-B600-7000-8000-000000000001", None),
        ("019cec37-b600-4000-8000-000000000001", None),
        ("ffffffff-ffff-7fff-bfff-ffffffffffff", None),
        ("", None),
    ],
)
def test_days_that_can_have_a_request(request_id: str, days: set[str] | None) -> None:
    assert questions.days_of(request_id) == days


def test_beyond_the_exact_bound_quantiles_are_close(
    shadow: Shadow, store: ParquetPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow.append(*({"champion_us": number} for number in range(1000)))
    monkeypatch.setattr(questions, "EXACT_QUANTILES_UP_TO", 999)
    found = store.summary(*CONTEST).champion_us
    assert found is not None
    assert (found.count, found.maximum) == (1000, 999)
    assert (found.p50, found.p90, found.p99) == pytest.approx((500, 900, 990), abs=5)


def test_small_files_side_by_side_become_one(
    shadow: Shadow, store: ParquetPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge_each(monkeypatch, 4)
    merged = 0
    for _ in range(10):
        shadow.append(MISMATCH, {**MISMATCH, "at_us": TYPICAL.at_us + DAY_US})
        shadow.close_segment()
        merged += store.roll().files_merged
        assert seen_ids(store) == ids_of(shadow.appended)
    assert [path.stem for path in files_of(shadow)] == 2 * ["0000000001-0000000010"]
    assert merged == 2 * (4 + 4 + 4)
    assert store.find(shadow.appended[3].request_id) == [shadow.appended[3]]


@pytest.mark.parametrize(
    ("sizes", "run"),
    [
        ([], []),
        ([1, 1], []),
        ([1, 1, 1], [0, 1, 2]),
        ([1, 1, 1, 1], [0, 1, 2]),
        ([2, 1, 1, 1], [0, 1, 2]),
        ([3, 1, 1, 1], [0, 1, 2, 3]),
        ([4, 1, 1, 1], [1, 2, 3]),
        ([4, 1, 1], []),
        ([4, 4, 1, 1, 1], [0, 1, 2]),
        ([1, 11, 1, 1, 1], [2, 3, 4]),
        ([5, 5, 5, 5], []),
        ([11, 12], []),
    ],
)
def test_which_files_are_merged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sizes: list[int], run: list[int]
) -> None:
    monkeypatch.setattr(merging, "MERGE_FILES", 3)
    monkeypatch.setattr(merging, "MERGED_BYTES", 10)
    monkeypatch.setattr(merging, "GROWTH", 2)
    files = [
        merging.SizedFile(file_for(tmp_path, "m", "2026-03-14", (number, number)), size, 0.0)
        for number, size in enumerate(sizes)
    ]
    assert merging.run_to_merge(files) == [files[place] for place in run]


@pytest.mark.parametrize("size_bytes", [5_000, 60_000, 500_000])
def test_merging_writes_a_pair_again_a_few_times_only(tmp_path: Path, size_bytes: int) -> None:
    files: list[merging.SizedFile] = []
    written_again = 0
    for number in range(1000):
        day_file = file_for(tmp_path, "m", "2026-03-14", (number, number))
        files.append(merging.SizedFile(day_file, size_bytes, 0.0))
        if run := merging.run_to_merge(files):
            total = sum(one.size_bytes for one in run)
            written_again += total
            at = files.index(run[0])
            files[at : at + len(run)] = [merging.SizedFile(run[0].file, total, 0.0)]
    assert written_again < 3 * 1000 * size_bytes
    assert len(files) < 2 * merging.MERGE_FILES


def test_a_view_made_while_a_merge_crosses_the_commit_is_made_again(shadow: Shadow, store: ParquetPairs) -> None:
    here = PairDirectories(shadow.state)
    shadow.append(MISMATCH)
    shadow.close_segment()
    store.roll()
    whole = file_for(here.pairs, "flight-delay", "2026-03-14", (1, 5)).path
    files_of(shadow)[0].rename(whole)
    with pytest.raises(PairStoreError, match="rolled faster than"):
        store.find("x")
    write_commit(here, Commit(5))
    assert seen_ids(store) == ids_of(shadow.appended)


def test_a_file_deleted_between_listing_and_reading_is_no_error(
    shadow: Shadow, store: ParquetPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        shadow.append(MISMATCH)
        shadow.close_segment()
    store.roll()
    oldest = files_of(shadow)[0]
    monkeypatch.setattr(reading, "without_parts", then(reading.without_parts, oldest.unlink))
    assert seen_ids(store) == ids_of(shadow.appended[1:])


def test_a_segment_closed_between_listing_and_opening_is_read(
    shadow: Shadow, store: ParquetPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow.append(MISMATCH)
    monkeypatch.setattr(reading, "unrolled_segments", then(reading.unrolled_segments, shadow.close_segment))
    assert seen_ids(store) == ids_of(shadow.appended)
    assert not list((shadow.state / "journal").glob("*.open"))


def test_a_segment_rolled_between_listing_and_opening_is_read(
    shadow: Shadow, store: ParquetPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close_and_roll() -> None:
        shadow.close_segment()
        store.roll()

    shadow.append(MISMATCH)
    monkeypatch.setattr(reading, "unrolled_segments", then(reading.unrolled_segments, close_and_roll))
    assert seen_ids(store) == ids_of(shadow.appended)
    assert not list((shadow.state / "journal").iterdir())


def test_a_segment_rolled_before_it_is_listed_is_read(
    shadow: Shadow, store: ParquetPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow.append(MISMATCH)
    shadow.close_segment()
    roller = ParquetPairs(shadow.state)
    monkeypatch.setattr(reading, "read_commit", then(reading.read_commit, roller.roll))
    assert seen_ids(store) == ids_of(shadow.appended)
    roller.close()


def test_readers_beside_writing_rolling_and_merging_see_every_pair_once(
    shadow: Shadow, store: ParquetPairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge_each(monkeypatch, 3)
    appended: list[int] = []
    rounds = 60
    done = Event()

    def write_and_roll() -> None:
        roller = ParquetPairs(shadow.state)
        for number in range(rounds):
            shadow.append(MISMATCH, MISMATCH)
            appended.append(len(shadow.appended))
            if number % 3:
                shadow.close_segment()
            assert roller.roll().failure == ""
        roller.close()
        done.set()

    writer = Thread(target=write_and_roll)
    writer.start()
    readings = 0
    while not done.is_set() and writer.is_alive():
        before = appended[-1] if appended else 0
        found = seen_ids(store)
        assert len(found) == len(set(found))
        assert len(found) >= before
        assert found == ids_of(shadow.appended)[: len(found)]
        readings += 1
    writer.join()
    assert readings > 1
    assert seen_ids(store) == ids_of(shadow.appended)
    assert len(shadow.appended) == 2 * rounds


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 3), st.integers(0, 2)),
        st.sampled_from([("close",), ("roll",), ("die",), ("restart",), ("new store",), ("look",)]),
    ),
    max_size=25,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_order_of_appending_rolling_and_dying_keeps_every_pair_once(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[tuple[object, ...]],
) -> None:
    merge_each(monkeypatch, 3)
    shadow = Shadow(tmp_path_factory.mktemp("steps"), segment_bytes=2500)
    store = ParquetPairs(shadow.state)
    for step in [*steps, ("look",)]:
        match step:
            case ("append", int(count), int(day)):
                at_us = TYPICAL.at_us + day * DAY_US
                shadow.append(*[{**MISMATCH, "at_us": at_us}] * count)
            case ("close",):
                shadow.close_segment()
            case ("roll",):
                assert store.roll().failure == ""
            case ("die",):
                shadow.die_in_mid_write()
                shadow.start()
            case ("restart",):
                shadow.start()
            case ("new store",):
                store.close()
                store = ParquetPairs(shadow.state)
            case _:
                assert seen_ids(store) == ids_of(shadow.appended)
    store.close()


FULL_DISK = """
    import os, sys
    from pathlib import Path
    from gateway.stores.parquet import ParquetPairs
    from tests.support.pairs import Shadow
    state = Path(sys.argv[1]) / "state"
    shadow = Shadow(state)
    shadow.append(*({"agree": False, "request": os.urandom(1000).hex()} for _ in range(40)))
    shadow.close_segment()
    filler = state / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 1024):
                pass
        except OSError:
            pass
        file.truncate(file.tell() - int(sys.argv[2]))
    store = ParquetPairs(state)
    ids = [one.request_id for one in store.worst("flight-delay", "2", "1", 100)]
    failed = store.roll()
    assert failed.failure and not failed.segments, failed
    assert ids == [one.request_id for one in store.worst("flight-delay", "2", "1", 100)]
    assert len(ids) == 40
    filler.unlink()
    rolled = store.roll()
    assert (rolled.failure, rolled.segments, rolled.pairs) == ("", 1, 40), rolled
    assert ids == [one.request_id for one in store.worst("flight-delay", "2", "1", 100)]
    assert not (state / "pairs" / ".rolling").exists()
    print(failed.failure)
"""


@pytest.mark.parametrize("room", [0, 20_000, 60_000, 100_000])
def test_a_full_disk_delays_a_roll_and_loses_nothing(tmp_path: Path, room: int) -> None:
    """On a file system of 512 KiB of its own where the kernel lets us mount one."""
    mount = 'mount -t tmpfs -o size=512k tmpfs "$0" && exec "$@"'
    script = [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path), str(room)]
    child = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, tmp_path, *script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    if "ermitted" in child.stderr or "denied" in child.stderr:
        return  # Not root: the write that fails is tested in the journal by a limit.
    assert child.returncode == 0, child.stderr
    assert "No space left" in child.stdout


LARGE_BODIES = """
    import resource, sys
    from pathlib import Path
    from gateway.stores.parquet import ParquetPairs
    from tests.support.pairs import Shadow
    MiB = 2**20
    shadow = Shadow(Path(sys.argv[1]), segment_bytes=2**30)
    for number in range(12):
        body = f"{number} " + "x\\x01" * (MiB // 2)
        shadow.append({"request": body, "champion_answer": body, "challenger_answer": body})
    shadow.close_segment()
    store = ParquetPairs(Path(sys.argv[1]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rolled = store.roll()
    assert (rolled.failure, rolled.pairs) == ("", 12), rolled
    assert store.summary("flight-delay", "2", "1").compared == 12
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_large_bodies_are_rolled_in_little_memory(tmp_path: Path) -> None:
    """12 pairs of three bodies of 1 MiB, half of it characters that take six bytes in JSON."""
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LARGE_BODIES), str(tmp_path / "state")],
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    assert int(child.stdout) < 200


def test_a_cleaned_out_temporary_directory_does_not_end_reading(
    shadow: Shadow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    store = ParquetPairs(shadow.state)
    appended = shadow.append(MISMATCH)
    for scratch in temporary.iterdir():
        shutil.rmtree(scratch)

    assert seen_ids(store) == ids_of(appended)
    store.close()
