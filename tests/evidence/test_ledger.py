"""The books of the shadow process: only ever added to, and balanced again after any kill."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.metrics import CHALLENGER_DURATION, OFFERED, SHADOW
from gateway.evidence.ledger import Ledger
from tests.support.shadowing import AT_REST, accounting, books, counted, imbalance, taken


def take(ledger: Ledger, count: int, worker: str = "worker-0", challenger: str = "2") -> None:
    ledger.cells[ledger.taken_at(worker, "m", challenger)] += count


def test_an_account_is_opened_once_per_challenger(tmp_path: Path) -> None:
    ledger = Ledger(books(tmp_path))

    assert ledger.account("m", "2") is ledger.account("m", "2")
    assert ledger.account("m", "3") is not ledger.account("m", "2")
    assert ledger.account("n", "2") is not ledger.account("m", "2")


def test_what_is_added_is_seen_by_readers_at_once(tmp_path: Path) -> None:
    account = Ledger(books(tmp_path)).account("m", "2")

    account.add("sent")
    account.add("ok", 3)

    assert counted(tmp_path) == {"sent": 1, "ok": 3}
    assert account.total(("sent", "ok", "error")) == 4


@pytest.mark.parametrize("count", [0, -1, -(2**40)])
def test_books_are_never_subtracted_from(tmp_path: Path, count: int) -> None:
    account = Ledger(books(tmp_path)).account("m", "2")

    account.add("sent", count)

    assert counted(tmp_path) == {}


def test_a_field_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        Ledger(books(tmp_path)).account("m", "2").add("skipped_for_fun")


def test_durations_have_cells_of_their_own(tmp_path: Path) -> None:
    counters = books(tmp_path)
    account = Ledger(counters).account("m", "2")

    assert account.durations_at == counters.group(CHALLENGER_DURATION, ("m", "2"))
    assert account.durations_at != counters.group(SHADOW, ("m", "2"))


def test_the_number_of_the_last_record_outlives_the_process(tmp_path: Path) -> None:
    counters = books(tmp_path)
    Ledger(counters).sequence = 41
    counters.close()

    assert Ledger(books(tmp_path)).sequence == 41


def test_what_a_worker_handed_over_and_did_not_come_is_lost_once(tmp_path: Path) -> None:
    ledger = Ledger(books(tmp_path))
    take(ledger, 7)

    first = ledger.settle_connection("worker-0", [("m", "2", 10), ("m", "3", 4)])
    again = ledger.settle_connection("worker-0", [("m", "2", 10), ("m", "3", 4)])

    assert (first, again) == (7, 0)
    assert counted(tmp_path, "2") == {"skipped_shadow_lost": 3}
    assert counted(tmp_path, "3") == {"skipped_shadow_lost": 4}
    assert (taken(tmp_path, "2"), taken(tmp_path, "3")) == (10, 4)


def test_workers_are_settled_apart(tmp_path: Path) -> None:
    ledger = Ledger(books(tmp_path))
    take(ledger, 5, "worker-0")

    ledger.settle_connection("worker-0", [("m", "2", 5)])
    ledger.settle_connection("worker-1", [("m", "2", 2)])

    assert counted(tmp_path) == {"skipped_shadow_lost": 2}


def test_a_worker_whose_books_are_gone_takes_nothing_back(tmp_path: Path) -> None:
    """Somebody deleted its counters: it says less than was taken from it."""
    ledger = Ledger(books(tmp_path))
    take(ledger, 10)

    assert ledger.settle_connection("worker-0", [("m", "2", 3)]) == 0
    assert (taken(tmp_path), counted(tmp_path)) == (10, {})


def test_workers_that_will_not_come_back_are_settled_from_their_books(tmp_path: Path) -> None:
    for worker, eligible in (("worker-0", 9), ("worker-1", 5), ("worker-7", 0)):
        theirs = books(tmp_path, worker)
        at = theirs.group(OFFERED, ("m", "2"))
        theirs.cells[at + OFFERED.at("eligible")] += eligible
        theirs.cells[at + OFFERED.at("too_large")] += min(2, eligible)
        theirs.close()
    ledger = Ledger(books(tmp_path))
    take(ledger, 4, "worker-0")
    ledger.account("m", "2").add("sampled_out", 4)

    assert ledger.settle_gone(tmp_path) == 6
    assert ledger.settle_gone(tmp_path) == 0

    assert counted(tmp_path) == {"sampled_out": 4, "skipped_shadow_lost": 6}
    assert accounting(tmp_path).balanced
    assert imbalance(tmp_path) == AT_REST


def test_a_start_settles_what_the_former_process_left_open(tmp_path: Path) -> None:
    counters = books(tmp_path)
    ledger = Ledger(counters)
    take(ledger, 20)
    take(ledger, 3, challenger="9")
    account = ledger.account("m", "2")
    for field, count in {
        "sampled_out": 2,
        "skipped_queue_full": 1,
        "sent": 12,
        "ok": 7,
        "error": 1,
        "stored": 4,
    }.items():
        account.add(field, count)
    counters.close()

    Ledger(books(tmp_path)).settle_start()

    assert counted(tmp_path) == {
        "sampled_out": 2,
        "skipped_queue_full": 1,
        "skipped_shadow_lost": 5,
        "sent": 12,
        "ok": 7,
        "error": 1,
        "cancelled": 4,
        "stored": 4,
        "unstored_shadow_lost": 3,
    }
    assert counted(tmp_path, "9") == {"skipped_shadow_lost": 3}
    assert imbalance(tmp_path) == imbalance(tmp_path, "9") == AT_REST


@given(
    st.lists(
        st.tuples(st.sampled_from(["2", "3"]), st.integers(0, 4), st.integers(0, 3), st.integers(0, 3)), max_size=8
    )
)
def test_any_number_of_starts_settles_once(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int, int]]) -> None:  # fmt: skip  # noqa: E501
    directory = tmp_path_factory.mktemp("books")
    for challenger, more, sent, ended in steps:
        counters = books(directory)
        ledger = Ledger(counters)
        ledger.settle_start()
        assert imbalance(directory, challenger) == AT_REST
        take(ledger, more, challenger=challenger)
        account = ledger.account("m", challenger)
        account.add("sent", min(sent, more))
        account.add("ok", min(ended, sent, more))
        counters.close()
    counters = books(directory)
    Ledger(counters).settle_start()
    once = {challenger: counted(directory, challenger) for challenger in "23"}
    counters.close()
    Ledger(books(directory)).settle_start()

    assert {challenger: counted(directory, challenger) for challenger in "23"} == once
    assert all(imbalance(directory, challenger) == AT_REST for challenger in "23")
