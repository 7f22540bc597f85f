"""The report: counts and pairs put together, nothing invented where there is nothing."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest

from gateway.core.config import Gateway
from gateway.core.counters import Counters
from gateway.core.metrics import DURATION, OFFERED, REQUESTS, SHADOW
from gateway.core.ports import Mismatch, PairSummary, Quantiles, SliceCount
from gateway.core.snapshot import Snapshot, compile_snapshot
from gateway.evidence.report import Facts, Kept, UnknownModel, assemble, build_report
from gateway.evidence.report_document import ChallengerReport, Differences, Latency, Report, Requests
from gateway.evidence.stats.wilson import wilson
from gateway.stores.parquet import ParquetPairs
from tests.support.pairs import TYPICAL, Shadow

NOW = datetime(2026, 3, 14, 13, 0, 0, 123456, tzinfo=UTC)
FACTS = Facts("flight-delay", "5d41402abc4b", "1", ("2",))
NO_PAIRS = PairSummary(
    pairs=0,
    other_champions=0,
    first_at_us=None,
    last_at_us=None,
    compared=0,
    agree=0,
    incomparable=0,
    difference=None,
    champion_us=None,
    challenger_us=None,
    slices=(),
    slices_left_out={},
)
Totals = Mapping[tuple[str, tuple[str, ...]], Mapping[str, int]]


def a_report(
    summary: PairSummary = NO_PAIRS,
    worst: list[Mismatch] | None = None,
    totals: Totals = MappingProxyType({}),
    facts: Facts = FACTS,
) -> Report:
    return assemble(facts, totals, {"2": Kept(summary, worst or []), "0": Kept(NO_PAIRS, [])}, NOW)


def challenger_of(report: Report, version: str = "2") -> ChallengerReport:
    return report.challengers[version]


def test_nothing_counted_gives_a_report_without_shares() -> None:
    report = a_report()
    one = challenger_of(report)
    assert (report.model, report.config_id, report.champion) == ("flight-delay", "5d41402abc4b", "1")
    assert report.generated_at == "2026-03-14T13:00:00.123Z"
    assert report.requests == Requests(total=0, outcomes=dict.fromkeys(REQUESTS.fields, 0), by_version={})
    assert report.latency is None
    assert (one.agreement.share, one.agreement.lower, one.agreement.upper) == (None, None, None)
    assert (one.error_share, one.timeout_share, one.difference) == (None, None, None)
    assert (one.latency.champion, one.latency.challenger) == (None, None)
    assert (one.pairs_from, one.pairs_to, one.slices, one.worst) == (None, None, {}, ())
    assert one.balanced


def test_requests_are_told_apart_by_version_and_outcome() -> None:
    report = a_report(
        totals={
            (REQUESTS.name, ("flight-delay", "1")): {"2xx": 90, "5xx": 2},
            (REQUESTS.name, ("flight-delay", "2")): {"2xx": 7, "client_gone": 1},
            (REQUESTS.name, ("other", "1")): {"2xx": 1000},
            (DURATION.name, ("flight-delay", "1")): {"0.001": 92, "sum_us": 9200},
        }
    )
    assert report.requests.total == 100
    assert {outcome: count for outcome, count in report.requests.outcomes.items() if count} == {
        "2xx": 97,
        "5xx": 2,
        "client_gone": 1,
    }
    assert {version: one.total for version, one in report.requests.by_version.items()} == {"1": 92, "2": 8}
    assert report.latency is not None
    assert (report.latency.count, report.latency.mean_us) == (92, 100)


def test_agreement_has_its_wilson_interval() -> None:
    agreement = challenger_of(a_report(replace(NO_PAIRS, pairs=205, compared=200, agree=190))).agreement
    assert (agreement.compared, agreement.agree, agreement.share) == (200, 190, 0.95)
    assert (agreement.lower, agreement.upper) == wilson(190, 200, 0.95)
    assert agreement.confidence == 0.95


def test_shares_of_errors_are_of_calls_that_ended() -> None:
    shadow = {"sent": 12, "ok": 5, "error": 3, "timeout": 1, "cancelled": 1, "stored": 5}
    totals = {
        (OFFERED.name, ("flight-delay", "2")): {"eligible": 12},
        (SHADOW.name, ("flight-delay", "2")): shadow,
    }
    one = challenger_of(a_report(totals=totals))
    assert (one.error_share, one.timeout_share, one.in_flight) == (0.3, 0.1, 2)


def test_what_pairs_say_is_said() -> None:
    summary = replace(
        NO_PAIRS,
        pairs=150,
        other_champions=40,
        incomparable=3,
        first_at_us=TYPICAL.at_us,
        last_at_us=TYPICAL.at_us + 1_500_000,
        difference=Quantiles(100, 0.0, 0.5, 1.5, 2.5),
        champion_us=Quantiles(110, 1000, 2000, 3000, 9000),
        challenger_us=Quantiles(110, 1500, 2500, 3500, 9999),
    )
    one = challenger_of(a_report(summary))
    assert (one.pairs, one.pairs_other_champions, one.incomparable) == (150, 40, 3)
    assert (one.pairs_from, one.pairs_to) == ("2026-03-14T12:00:00.000Z", "2026-03-14T12:00:01.500Z")
    assert one.difference == Differences(count=100, p50=0.0, p90=0.5, p99=1.5, max=2.5)
    assert one.latency.champion == Latency(count=110, p50_us=1000, p90_us=2000, p99_us=3000)
    assert one.latency.challenger == Latency(count=110, p50_us=1500, p90_us=2500, p99_us=3500)


def test_a_slice_of_few_pairs_says_so() -> None:
    slices = (SliceCount("carrier", "UA", 30, 30), SliceCount("carrier", "AA", 29, 0), SliceCount("origin", "UA", 1, 1))
    one = challenger_of(a_report(replace(NO_PAIRS, slices=slices, slices_left_out={"carrier": 7})))
    lower, upper = wilson(30, 30, 0.95)
    few = {"share": None, "lower": None, "upper": None, "note": "too few"}
    assert msgspec.to_builtins(one.slices) == {
        "carrier": {
            "UA": {"compared": 30, "agree": 30, "share": 1.0, "lower": lower, "upper": upper},
            "AA": {"compared": 29, "agree": 0, **few},
        },
        "origin": {"UA": {"compared": 1, "agree": 1, **few}},
    }
    assert one.slices_left_out == {"carrier": 7}


def test_paths_of_a_mismatch_are_bounded() -> None:
    paths = tuple(f"$.data[{number}]" for number in range(25))
    mismatch = Mismatch("r", TYPICAL.at_us, None, paths, {"carrier": "UA"}, 200, 201)
    one = challenger_of(a_report(worst=[mismatch, replace(mismatch, paths=paths[:20], difference=2.0)]))
    assert [(len(worst.paths), worst.paths_left_out, worst.difference) for worst in one.worst] == [
        (20, 5, None),
        (20, 0, 2.0),
    ]
    assert one.worst[0].at == "2026-03-14T12:00:00.000Z"
    assert (one.worst[0].champion_status, one.worst[0].challenger_status) == (200, 201)


def test_a_time_of_no_calendar_is_no_crash() -> None:
    assert challenger_of(a_report(replace(NO_PAIRS, first_at_us=2**62, last_at_us=2**62))).pairs_from is None


def test_challengers_of_before_follow_those_configured() -> None:
    totals = {
        (OFFERED.name, ("flight-delay", version)): {"eligible": count}
        for version, count in (("0", 5), ("2", 1), ("9", 0))
    }
    report = a_report(totals=totals)
    assert {version: one.active for version, one in report.challengers.items()} == {"2": True, "0": False}
    assert challenger_of(report, "0").eligible == 5


ACCOUNTING_KEYS = [
    "eligible",
    "sampled_out",
    "skipped",
    "sent",
    "ok",
    "error",
    "timeout",
    "cancelled",
    "stored",
    "unstored",
    "in_flight",
    "balanced",
]


def test_accounting_keys_stand_flat_beside_the_evidence() -> None:
    document = msgspec.to_builtins(a_report())["challengers"]["2"]
    assert set(ACCOUNTING_KEYS) <= set(document)
    assert {"agreement", "incomparable", "difference", "latency", "error_share", "slices", "worst"} <= set(document)


def test_a_report_is_read_back_from_its_json() -> None:
    slices = (SliceCount("carrier", "UA", 40, 39), SliceCount("carrier", "AA", 1, 1))
    mismatch = Mismatch("r", TYPICAL.at_us, 1.5, ("$.a",), {}, 200, 200)
    report = a_report(replace(NO_PAIRS, slices=slices), [mismatch])
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


SETTINGS = {
    "models": {
        "flight-delay": {
            "versions": {version: {"urls": [f"http://127.0.0.1:900{version}"]} for version in "123"},
            "champion": "1",
            "challengers": {"2": {}, "3": {}},
        }
    }
}


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    return compile_snapshot(Gateway.model_validate_json(json.dumps(SETTINGS)), tmp_path)


def test_a_report_is_built_from_a_state_directory(tmp_path: Path, snapshot: Snapshot) -> None:
    shadow = Shadow(tmp_path)
    shadow.append({}, {"agree": False, "difference": 2.0}, {"challenger": "3"}, {"champion": "0"})
    counted = Counters(tmp_path / "counters", "shadow", 4096)
    at = counted.group(SHADOW, ("flight-delay", "2"))
    for field in ("sent", "ok", "stored"):
        counted.cells[at + SHADOW.at(field)] += 3
    worker = Counters(tmp_path / "counters", "worker-0", 4096)
    worker.cells[worker.group(OFFERED, ("flight-delay", "2")) + OFFERED.at("eligible")] += 3
    store = ParquetPairs(tmp_path)

    report = build_report(snapshot, "flight-delay", tmp_path, store)

    store.close()
    two, three = report.challengers["2"], report.challengers["3"]
    assert (report.config_id, list(report.challengers)) == (snapshot.id, ["2", "3"])
    assert (two.eligible, two.stored, two.balanced) == (3, 3, True)
    assert (two.agreement.compared, two.agreement.agree, two.pairs_other_champions) == (2, 1, 1)
    assert [worst.request_id for worst in two.worst] == [shadow.appended[1].request_id]
    assert (three.eligible, three.agreement.compared) == (0, 1)


def test_a_model_that_is_not_configured_is_said_to_be_unknown(tmp_path: Path, snapshot: Snapshot) -> None:
    store = ParquetPairs(tmp_path)
    with pytest.raises(UnknownModel, match="other"):
        build_report(snapshot, "other", tmp_path, store)
    store.close()
