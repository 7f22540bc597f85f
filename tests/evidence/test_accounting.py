"""The accounting identity, over any way requests can go."""

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.core import counters
from gateway.core.counters import Counters
from gateway.core.metrics import OFFERED, SHADOW, SKIP_REASONS, UNSTORED_REASONS
from gateway.evidence.accounting import Accounting, account, counted_challengers

LABELS = ("flight-delay", "2")
ENDS = ("ok", "error", "timeout", "cancelled")
# Every way of one request, as the fields it is counted in: by the worker, then by the shadow process.
WORKER_SKIPS = [((reason,), ()) for reason in SKIP_REASONS]
SHADOW_SKIPS = [((), (f"skipped_{reason}",)) for reason in SKIP_REASONS]
FAILURES = [((), ("sent", end, kept)) for end in ENDS[1:] for kept in ("failure_stored", "failure_unstored")]
ANSWERS = [((), ("sent", "ok", kept)) for kept in ("stored", *(f"unstored_{one}" for one in UNSTORED_REASONS))]
WAYS = [*WORKER_SKIPS, *SHADOW_SKIPS, *FAILURES, *ANSWERS, ((), ("sampled_out",))]
UNFINISHED = [((), ()), ((), ("sent",)), ((), ("sent", "ok"))]


def totals_of(ways: list[tuple[tuple[str, ...], tuple[str, ...]]]) -> dict[tuple[str, tuple[str, ...]], dict[str, int]]:
    offered = Counter(field for by_worker, _ in ways for field in ("eligible", *by_worker))
    shadow = Counter(field for _, by_shadow in ways for field in by_shadow)
    return {(OFFERED.name, LABELS): dict(offered), (SHADOW.name, LABELS): dict(shadow)}


def parts(one: Accounting) -> tuple[int, int]:
    skipped = sum(one.skipped.values())
    return one.sampled_out + skipped + one.sent, one.ok + one.error + one.timeout + one.cancelled


@given(st.lists(st.sampled_from(WAYS), max_size=60))
def test_at_rest_every_eligible_request_is_somewhere(ways: list[tuple[tuple[str, ...], tuple[str, ...]]]) -> None:
    one = account(totals_of(ways), *LABELS)
    assert one.balanced
    assert one.eligible == len(ways)
    assert parts(one) == (one.eligible, one.sent)
    assert one.stored + sum(one.unstored.values()) == one.ok
    assert (one.in_flight, one.to_store) == (0, 0)
    assert tuple(one.skipped) == SKIP_REASONS
    assert tuple(one.unstored) == UNSTORED_REASONS


@given(st.lists(st.sampled_from(WAYS), max_size=30), st.lists(st.sampled_from(UNFINISHED), min_size=1, max_size=30))
def test_what_has_not_ended_is_in_flight_or_to_store(
    ways: list[tuple[tuple[str, ...], tuple[str, ...]]], unfinished: list[tuple[tuple[str, ...], tuple[str, ...]]]
) -> None:
    one = account(totals_of([*ways, *unfinished]), *LABELS)
    assert not one.balanced
    assert one.in_flight == sum("ok" not in by_shadow for _, by_shadow in unfinished)
    assert one.to_store == sum("ok" in by_shadow for _, by_shadow in unfinished)


def test_a_request_counted_twice_is_not_balanced() -> None:
    twice = {(OFFERED.name, LABELS): {"eligible": 1, "too_large": 1}, (SHADOW.name, LABELS): {"sampled_out": 1}}
    one = account(twice, *LABELS)
    assert (one.balanced, one.in_flight) == (False, -1)


def test_nothing_counted_is_balanced() -> None:
    one = account({}, *LABELS)
    assert one.balanced
    assert (one.eligible, one.sent, one.stored) == (0, 0, 0)


def test_workers_are_summed_and_other_challengers_left_out(tmp_path: Path) -> None:
    for name, eligible in (("worker-0", 5), ("worker-1", 7)):
        worker = Counters(tmp_path, name, 4096)
        at = worker.group(OFFERED, LABELS)
        worker.cells[at + OFFERED.at("eligible")] += eligible
        worker.cells[at + OFFERED.at("client_gone")] += 1
        worker.cells[worker.group(OFFERED, ("flight-delay", "3")) + OFFERED.at("eligible")] += 100
        worker.group(OFFERED, ("flight-delay", "never"))
        worker.cells[worker.group(OFFERED, ("other", "4")) + OFFERED.at("eligible")] += 100
    shadow = Counters(tmp_path, "shadow", 4096)
    at = shadow.group(SHADOW, LABELS)
    for field, count in (("skipped_client_gone", 2), ("sent", 8), ("ok", 8), ("stored", 6), ("unstored_storage", 2)):
        shadow.cells[at + SHADOW.at(field)] += count
    totals = counters.totals(tmp_path)

    one = account(totals, *LABELS)

    assert (one.eligible, one.skipped["client_gone"], one.sent, one.stored) == (12, 4, 8, 6)
    assert one.unstored == {"storage": 2, "shadow_lost": 0, "shutdown": 0}
    assert one.balanced
    assert counted_challengers(totals, "flight-delay") == ["2", "3"]
