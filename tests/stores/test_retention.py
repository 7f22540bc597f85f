"""Which files go: by age, then the oldest beyond the total, never the newest."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.stores.pair_files import PairFile, day_end_s
from gateway.stores.retention import SizedFile, expired, with_sizes

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03")


def sized(day: str, segment: int, size: int = 10, written_s: float = 9e9) -> SizedFile:
    one = PairFile(day, segment, segment, "m", Path(f"{day}-{segment}"))
    return SizedFile(one, size, written_s)


def segments(files: list[SizedFile]) -> list[int]:
    return [one.file.first for one in files]


@pytest.mark.parametrize(
    ("oldest_s", "keep_bytes", "by_age", "by_bytes"),
    [
        (0, 10**9, [], []),
        (day_end_s(DAYS[0]), 10**9, [], []),
        (day_end_s(DAYS[0]) + 1, 10**9, [1, 3], []),
        (9e9, 10**9, [1, 3, 2], []),
        (0, 40, [], []),
        (0, 39, [], [1]),
        (0, 20, [], [1, 3]),
        (0, 0, [], [1, 3, 2]),
        (day_end_s(DAYS[0]) + 1, 20, [1, 3], []),
        (day_end_s(DAYS[0]) + 1, 19, [1, 3], [2]),
    ],
)
def test_what_goes(oldest_s: float, keep_bytes: int, by_age: list[int], by_bytes: list[int]) -> None:
    files = [sized(DAYS[0], 3), sized(DAYS[1], 2), sized(DAYS[0], 1), sized(DAYS[2], 4)]
    going = expired(files, oldest_s, keep_bytes)
    assert (segments(going.by_age), segments(going.by_bytes)) == (by_age, by_bytes)


def test_a_file_ages_from_its_writing_when_its_day_is_not_over() -> None:
    noon_s = day_end_s(DAYS[0]) - 43_200
    files = [sized(DAYS[0], 1, written_s=noon_s), sized(DAYS[0], 2, written_s=noon_s + 60)]
    assert expired(files, noon_s, 10**9).by_age == []
    assert segments(expired(files, noon_s + 1, 10**9).by_age) == [1]


def test_a_file_that_is_gone_has_no_size(tmp_path: Path) -> None:
    here, gone = (PairFile(DAYS[0], 1, 1, "m", tmp_path / name) for name in ("here", "gone"))
    here.path.write_bytes(b"12345")
    assert [(one.file, one.size_bytes) for one in with_sizes([here, gone])] == [(here, 5)]


def test_nothing_expires_of_nothing() -> None:
    assert expired([], 9e9, 0) == expired([], 0, 10)


@given(
    st.lists(
        st.tuples(st.sampled_from(DAYS), st.integers(0, 100), st.integers(0, 3 * 86_400)),
        max_size=12,
    ),
    st.integers(-1, 4 * 86_400),
    st.integers(0, 400),
)
def test_what_stays_is_young_and_small_enough_and_the_newest(
    files: list[tuple[str, int, int]], oldest: int, keep_bytes: int
) -> None:
    start_s = day_end_s(DAYS[0]) - 86_400
    all_files = [sized(day, number, size, start_s + written) for number, (day, size, written) in enumerate(files)]
    going = expired(all_files, start_s + oldest, keep_bytes)
    gone = going.by_age + going.by_bytes
    kept = [one for one in all_files if one not in gone]
    assert len(gone) + len(kept) == len(all_files)
    if not all_files:
        return
    newest = max(all_files, key=lambda one: one.file.last)
    assert newest in kept
    assert all(one.newest_pair_s >= start_s + oldest for one in kept if one is not newest)
    assert sum(one.size_bytes for one in kept) <= keep_bytes or kept == [newest]
    youngest_gone = max((one.file for one in going.by_bytes), default=None)
    assert youngest_gone is None or all(one.file > youngest_gone for one in kept if one is not newest)
