"""Request ids are UUIDs of version 7: ordered by time, and not to be guessed."""

import time
import uuid

import pytest

from gateway.core import ids as module
from gateway.core.ids import RequestIds, valid_client_id


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The wall clock in milliseconds, to be set."""
    now = [1_700_000_000_000]

    class Wall:
        @staticmethod
        def time_ns() -> int:
            return now[0] * 1_000_000 + 999_999

    monkeypatch.setattr(module, "time", Wall)
    return now


def test_they_are_version_7_of_the_standard_variant() -> None:
    ids = RequestIds()
    for _ in range(3000):
        found = uuid.UUID(ids.new())
        assert (found.version, found.variant) == (7, uuid.RFC_4122)


def test_they_are_written_as_uuids_are() -> None:
    made = RequestIds().new()
    assert made == str(uuid.UUID(made))


@pytest.mark.interpreted
def test_they_carry_the_milliseconds_of_their_making(at: list[int]) -> None:
    ids = RequestIds()
    for moment in (1, 1_700_000_000_000, 1_700_000_000_001, 2**48 - 1):
        at[0] = moment
        assert uuid.UUID(ids.new()).int >> 80 == moment


@pytest.mark.interpreted
def test_they_sort_by_time(at: list[int]) -> None:
    ids, made = RequestIds(), []
    for _ in range(500):
        made.append(ids.new())
        at[0] += 1
    assert made == sorted(made)


def test_they_follow_the_clock_that_is() -> None:
    before = time.time_ns() // 1_000_000
    stamp = uuid.UUID(RequestIds().new()).int >> 80
    assert before <= stamp <= time.time_ns() // 1_000_000


def test_no_two_are_the_same_however_many_are_made_at_once(at: list[int]) -> None:
    ids = RequestIds()
    assert len({ids.new() for _ in range(20_000)}) == 20_000


def test_two_workers_make_different_ones(at: list[int]) -> None:
    one, other = RequestIds(), RequestIds()
    assert not {one.new() for _ in range(2000)} & {other.new() for _ in range(2000)}


def test_every_random_bit_is_random(at: list[int]) -> None:
    ids = RequestIds()
    made = [uuid.UUID(ids.new()).int for _ in range(2000)]
    fixed = {bit for bit in range(80) if len({number >> bit & 1 for number in made}) == 1}
    # Four bits of version and two of variant; the others are a coin each.
    assert fixed == {79, 78, 77, 76, 63, 62}


@pytest.mark.parametrize("value", ["a", "01938f2e-7b1c-7a4e-9d0c-5a1f0e6b2c3d", "A.b_c:d/e+f=g@h-i", "x" * 128])
def test_a_clients_own_id_may_be_kept(value: str) -> None:
    assert valid_client_id(value)


@pytest.mark.parametrize("value", ["", "x" * 129, "a b", "a\tb", "a,b", "a;b", 'a"b', "caf\xe9", "a\n", "<a>", "a\x00"])
def test_what_could_be_taken_for_more_than_an_id_is_not(value: str) -> None:
    assert not valid_client_id(value)
