"""What every PairStore promises, whatever engine keeps the pairs. A new engine joins `ENGINES` and passes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.core.pair import Pair
from gateway.core.ports import Mismatch, PairStore, Quantiles, Retained, Rolled, SliceCount
from gateway.stores.parquet import ParquetPairs
from tests.support.pairs import DAY_US, TYPICAL, Shadow, a_pair

ENGINES: dict[str, Callable[[Path], PairStore]] = {"parquet": ParquetPairs}
CONTEST = ("flight-delay", "2", "1")


@pytest.fixture
def shadow(tmp_path: Path) -> Shadow:
    return Shadow(tmp_path / "state [1]?*")


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, shadow: Shadow) -> Iterator[PairStore]:
    engine = ENGINES[request.param](shadow.state)
    yield engine
    engine.close()


@pytest.fixture(params=["in the journal", "rolled", "some of each"])
def settle(request: pytest.FixtureRequest, shadow: Shadow, store: PairStore) -> Callable[[], None]:
    """Brings what was appended to where the parameter says; answers may not depend on it."""

    def move() -> None:
        if request.param == "in the journal":
            return
        shadow.close_segment()
        assert store.roll().failure == ""
        if request.param == "some of each":
            shadow.append({"challenger": "other"})

    return move


def mismatches_of(pairs: list[Pair]) -> list[Mismatch]:
    return [
        Mismatch(
            request_id=pair.request_id,
            at_us=pair.at_us,
            difference=pair.difference,
            paths=pair.paths,
            slices=pair.slices,
            champion_status=pair.champion_status,
            challenger_status=pair.challenger_status,
        )
        for pair in pairs
    ]


def test_an_empty_store_answers_with_nothing(store: PairStore) -> None:
    summary = store.summary(*CONTEST)
    assert (summary.pairs, summary.compared, summary.agree, summary.incomparable) == (0, 0, 0, 0)
    assert (summary.first_at_us, summary.last_at_us) == (None, None)
    assert summary.difference is summary.champion_us is summary.challenger_us is None
    assert (summary.slices, summary.slices_left_out) == ((), {})
    assert store.find(a_pair(1).request_id) == []
    assert store.worst(*CONTEST, 10) == []
    assert store.roll() == Rolled()
    assert store.retain(0.0, 0) == Retained(0, 0, 0, 0)


AWKWARD_PAIRS: dict[str, dict[str, object]] = {
    "typical": {},
    "failed": {
        "outcome": "timeout",
        "detail": "no answer within 2 s",
        "agree": None,
        "difference": None,
        "challenger_status": 0,
        "challenger_answer": "",
        "challenger_form": "none",
    },
    "not comparable": {"agree": None, "difference": None, "detail": "not JSON"},
    "mismatch": {"agree": False, "difference": None, "paths": ("$.outputs[0]", "$['a.b']", '$."')},
    "no slices": {"slices": {}},
    "odd slices": {"slices": {"größe": "a\nb", "": "", "x": '"', "$.a": "\x00", "'": "🛬"}},
    "digest": {"request": "9f86d081884c7d65", "request_form": "sha256"},
    "control characters": {"request": "".join(map(chr, range(32))) + '\x7f"\\\u2028\u2029\ufeff'},
    "any plane of Unicode": {"champion_answer": "é漢🛬\U0010ffff"},
    "nothing kept": {"request": "", "request_form": "none", "path": "", "client": "", "tenant": ""},
    "large": {"request": "x" * 2**20, "champion_answer": "\\" * 2**20, "challenger_answer": "\x01" * 2**20},
    "largest numbers": {"difference": 1.7976931348623157e308, "challenger_us": 2**62, "probability": 5e-324},
    "a model of any name": {"model": "../../a b/%2e=ü*?[x]'\"\\", "challenger": "'; --"},
    "before 1970": {"at_us": -1},
    "an id that is no UUID": {"request_id": "x' OR '1'='1"},
}  # fmt: skip


@pytest.mark.parametrize("changes", AWKWARD_PAIRS.values(), ids=AWKWARD_PAIRS.keys())
def test_a_pair_is_found_as_it_was_appended(
    shadow: Shadow, store: PairStore, settle: Callable[[], None], changes: dict[str, object]
) -> None:
    shadow.append({"request_id": "before"}, {"model": "other"})
    (pair,) = shadow.append(changes)
    settle()
    assert store.find(pair.request_id) == [pair]


def test_all_pairs_of_a_request_are_found_by_challenger(
    shadow: Shadow, store: PairStore, settle: Callable[[], None]
) -> None:
    pairs = shadow.append(*({"challenger": name, "request_id": "r"} for name in ("4", "2", "3")))
    settle()
    assert store.find("r") == sorted(pairs, key=lambda pair: pair.challenger)
    assert store.find("R") == []


@pytest.mark.parametrize("late_us", [-1, 1, 40_000_000, 3_000_000_000])
def test_a_request_around_midnight_is_found_on_either_day(
    shadow: Shadow, store: PairStore, settle: Callable[[], None], late_us: int
) -> None:
    midnight = TYPICAL.at_us // DAY_US * DAY_US
    before = a_pair(shadow.sequence, at_us=midnight - late_us)
    (pair,) = shadow.append({"request_id": before.request_id, "at_us": midnight})
    settle()
    assert store.find(pair.request_id) == [pair]


def test_counts_speak_of_one_model_challenger_and_champion(
    shadow: Shadow, store: PairStore, settle: Callable[[], None]
) -> None:
    at = TYPICAL.at_us
    not_compared = {"agree": None, "difference": None}
    shadow.append(
        {"at_us": at + 5},
        {"at_us": at + 1, "agree": False, "difference": 2.0},
        {"at_us": at + 9, **not_compared},
        {"at_us": at + 7, **not_compared, "outcome": "error"},
        {"at_us": at - 100, "champion": "0"},
        {"at_us": at + 100, "champion": "3", **not_compared, "outcome": "timeout"},
        {"challenger": "3"},
        {"model": "other"},
    )
    settle()
    summary = store.summary(*CONTEST)
    assert (summary.pairs, summary.other_champions) == (6, 2)
    assert (summary.first_at_us, summary.last_at_us) == (at + 1, at + 9)
    assert (summary.compared, summary.agree, summary.incomparable) == (2, 1, 1)


def test_quantiles_are_values_that_occurred(shadow: Shadow, store: PairStore, settle: Callable[[], None]) -> None:
    shadow.append(
        *({"difference": number / 8, "champion_us": number, "challenger_us": 3 * number} for number in range(1, 201)),
        {"difference": None, "agree": False, "champion_us": 5000, "challenger_us": 6000},
        {"agree": None, "difference": None, "outcome": "timeout", "challenger_us": 9**9},
    )
    settle()
    summary = store.summary(*CONTEST)
    assert summary.difference == Quantiles(200, 100 / 8, 180 / 8, 198 / 8, 200 / 8)
    assert summary.champion_us == Quantiles(201, 101, 181, 199, 5000)
    assert summary.challenger_us == Quantiles(201, 303, 543, 597, 6000)


def test_slices_count_what_was_compared_of_each_value(
    shadow: Shadow, store: PairStore, settle: Callable[[], None]
) -> None:
    shadow.append(
        {"slices": {"carrier": "UA", "origin": "JFK"}},
        {"slices": {"carrier": "UA", "origin": "LGA"}, "agree": False},
        {"slices": {"origin": "LGA", "carrier": "AA"}, "agree": False},
        {"slices": {"carrier": "AA"}, "agree": None},
        {"slices": {"carrier": "UA"}},
        {"slices": {"carrier": "DL"}, "champion": "9"},
    )
    settle()
    assert store.summary(*CONTEST).slices == (
        SliceCount("carrier", "UA", 3, 2),
        SliceCount("carrier", "AA", 1, 0),
        SliceCount("origin", "LGA", 2, 0),
        SliceCount("origin", "JFK", 1, 1),
    )


def test_a_dimension_of_many_values_lists_the_frequent_ones(
    shadow: Shadow, store: PairStore, settle: Callable[[], None]
) -> None:
    shadow.append(
        *({"slices": {"tenant": f"t{number}"}} for number in range(70)),
        *({"slices": {"tenant": f"often-{number}", "few": "x"}} for number in range(9) for _ in "ab"),
    )
    settle()
    summary = store.summary(*CONTEST)
    tenants = [one for one in summary.slices if one.dimension == "tenant"]
    assert [one.value for one in tenants[:9]] == [f"often-{number}" for number in range(9)]
    assert len(tenants) == 50
    assert summary.slices_left_out == {"tenant": 29}


def test_worst_are_those_that_differ_in_kind_then_by_size_then_the_newest(
    shadow: Shadow, store: PairStore, settle: Callable[[], None]
) -> None:
    at = TYPICAL.at_us
    wrong = {"agree": False}
    pairs = shadow.append(
        {**wrong, "difference": 3.5},
        {**wrong, "difference": None, "paths": ("$.a", "$.b")},
        {**wrong, "difference": 99.0, "at_us": at + 5},
        {**wrong, "difference": 99.0, "at_us": at + 8},
        {**wrong, "difference": None, "at_us": at + 3},
        {"difference": 1000.0},
        {**wrong, "champion": "7", "difference": None},
        {"agree": None, "difference": None, "outcome": "error"},
    )
    settle()
    expected = mismatches_of([pairs[place] for place in (4, 1, 3, 2, 0)])
    assert store.worst(*CONTEST, 10) == expected
    assert store.worst(*CONTEST, 2) == expected[:2]


def test_rolling_twice_finds_nothing_more_to_do(shadow: Shadow, store: PairStore) -> None:
    shadow.append({}, {"model": "other"}, {"at_us": TYPICAL.at_us + DAY_US})
    shadow.close_segment()
    assert store.roll() == Rolled(segments=1, pairs=3, files_written=3)
    assert store.roll() == Rolled()
    assert store.summary(*CONTEST).pairs == 2


def test_what_is_still_being_written_is_read_and_not_rolled(shadow: Shadow, store: PairStore) -> None:
    shadow.append({}, {})
    assert store.roll() == Rolled()
    shadow.die_in_mid_write()
    assert store.summary(*CONTEST).pairs == 2


def test_retention_by_age_deletes_whole_days(shadow: Shadow, store: PairStore) -> None:
    for day in range(3):
        shadow.append({"at_us": TYPICAL.at_us + day * DAY_US})
        shadow.close_segment()
    store.roll()
    assert store.retain(10**9, 10**9).files_by_age == 0
    retained = store.retain(3600.0, 10**9)
    assert (retained.files_by_age, retained.files_by_bytes) == (2, 0)
    assert retained.bytes_deleted > 0 < retained.bytes_kept
    assert [bool(store.find(pair.request_id)) for pair in shadow.appended] == [False, False, True]


def test_retention_by_bytes_deletes_the_oldest_day_first(shadow: Shadow, store: PairStore) -> None:
    for day in (1, 0, 2):
        shadow.append({"at_us": TYPICAL.at_us + day * DAY_US, "model": f"m{day}"})
        shadow.close_segment()
    store.roll()
    total = store.retain(10**9, 10**9).bytes_kept
    retained = store.retain(10**9, total - 1)
    assert (retained.files_by_age, retained.files_by_bytes) == (0, 1)
    assert [bool(store.find(pair.request_id)) for pair in shadow.appended] == [True, False, True]
    assert store.retain(10**9, 0).files_by_bytes == 1
    assert [bool(store.find(pair.request_id)) for pair in shadow.appended] == [False, False, True]
