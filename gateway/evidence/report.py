"""The report on one model: what became of its requests, and how each challenger compares with the champion.

`assemble` is pure: counts, what the kept pairs say and the facts of the configuration in, a report out. `build_report`
gathers these and calls it; it reads files and is for a thread. Counts are since the state directory was made; what
pairs say is about those still kept, and about the present champion only. A report never gives a share of nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from gateway.core import counters
from gateway.core.metrics import DURATION, REQUESTS
from gateway.core.ports import Mismatch, PairStore, PairSummary, Quantiles, SliceCount
from gateway.core.snapshot import Snapshot
from gateway.evidence.accounting import Accounting, Totals, account, counted_challengers
from gateway.evidence.latency import estimate
from gateway.evidence.report_document import (
    CONFIDENCE,
    Agreement,
    ChallengerReport,
    Differences,
    Latencies,
    Latency,
    Report,
    Requests,
    SliceAgreement,
    VersionRequests,
    WorstMismatch,
)
from gateway.evidence.stats.wilson import wilson

FEWEST_IN_SLICE: Final = 30
"""Below this, a slice says "too few" instead of a share."""
MOST_WORST: Final = 10
MOST_PATHS: Final = 20
"""Differing paths listed of one mismatch."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class UnknownModel(LookupError):
    """The configuration has no such model."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the configuration in force says of the model."""

    model: str
    config_id: str
    champion: str
    challengers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """What the kept pairs of one challenger say."""

    summary: PairSummary
    worst: list[Mismatch]


def build_report(snapshot: Snapshot, model: str, state: Path, store: PairStore) -> Report:
    """The report as of now. Raises UnknownModel, PairStoreError."""
    known = snapshot.models.get(model)
    if known is None:
        raise UnknownModel(model)
    champion = known.champion.name
    facts = Facts(model, snapshot.id, champion, tuple(one.version.name for one in known.challengers))
    kept = {
        challenger: Kept(
            store.summary(model, challenger, champion), store.worst(model, challenger, champion, MOST_WORST)
        )
        for challenger in _all_challengers(facts, counters.totals(state / "counters"))
    }
    # Counted after the pairs were read, so that under load no more is compared than was eligible.
    return assemble(facts, counters.totals(state / "counters"), kept, datetime.now(UTC))


def assemble(facts: Facts, totals: Totals, kept: Mapping[str, Kept], now: datetime) -> Report:
    """The report; `kept` has every challenger that is configured or was ever counted."""
    return Report(
        model=facts.model,
        config_id=facts.config_id,
        champion=facts.champion,
        generated_at=_time_text(now),
        requests=_requests(facts.model, totals),
        latency=estimate(totals.get((DURATION.name, (facts.model, facts.champion)), {})),
        challengers={
            challenger: _challenger(facts, account(totals, facts.model, challenger), challenger, kept[challenger])
            for challenger in kept
        },
    )


def _all_challengers(facts: Facts, totals: Totals) -> list[str]:
    """Those of the configuration, then those it had."""
    former = (one for one in counted_challengers(totals, facts.model) if one not in facts.challengers)
    return [*facts.challengers, *former]


def _requests(model: str, totals: Totals) -> Requests:
    by_version = {
        labels[1]: VersionRequests(total=sum(outcomes.values()), outcomes=dict(outcomes))
        for (family, labels), outcomes in sorted(totals.items())
        if family == REQUESTS.name and labels[0] == model
    }
    outcomes = {
        outcome: sum(version.outcomes.get(outcome, 0) for version in by_version.values()) for outcome in REQUESTS.fields
    }
    return Requests(total=sum(outcomes.values()), outcomes=outcomes, by_version=by_version)


def _challenger(facts: Facts, counted: Accounting, challenger: str, kept: Kept) -> ChallengerReport:
    summary = kept.summary
    ended = counted.ok + counted.error + counted.timeout + counted.cancelled
    return ChallengerReport(
        **msgspec.structs.asdict(counted),
        active=challenger in facts.challengers,
        error_share=_share(counted.error, ended),
        timeout_share=_share(counted.timeout, ended),
        pairs=summary.pairs,
        pairs_other_champions=summary.other_champions,
        pairs_from=_at_text(summary.first_at_us),
        pairs_to=_at_text(summary.last_at_us),
        agreement=_agreement(summary),
        incomparable=summary.incomparable,
        difference=_differences(summary.difference),
        latency=Latencies(champion=_latency(summary.champion_us), challenger=_latency(summary.challenger_us)),
        slices=_slices(summary.slices),
        slices_left_out=summary.slices_left_out,
        worst=tuple(map(_worst, kept.worst)),
    )


def _agreement(summary: PairSummary) -> Agreement:
    compared, agree = summary.compared, summary.agree
    if not compared:
        return Agreement(compared=0, agree=0, share=None, lower=None, upper=None)
    lower, upper = wilson(agree, compared, CONFIDENCE)
    return Agreement(compared=compared, agree=agree, share=agree / compared, lower=lower, upper=upper)


def _slices(counts: tuple[SliceCount, ...]) -> dict[str, dict[str, SliceAgreement]]:
    slices: dict[str, dict[str, SliceAgreement]] = {}
    for one in counts:
        slices.setdefault(one.dimension, {})[one.value] = _slice(one.compared, one.agree)
    return slices


def _slice(compared: int, agree: int) -> SliceAgreement:
    if compared < FEWEST_IN_SLICE:
        return SliceAgreement(compared=compared, agree=agree, share=None, lower=None, upper=None, note="too few")
    lower, upper = wilson(agree, compared, CONFIDENCE)
    return SliceAgreement(compared=compared, agree=agree, share=agree / compared, lower=lower, upper=upper)


def _differences(found: Quantiles | None) -> Differences | None:
    if found is None:
        return None
    return Differences(count=found.count, p50=found.p50, p90=found.p90, p99=found.p99, max=found.maximum)


def _latency(found: Quantiles | None) -> Latency | None:
    if found is None:
        return None
    return Latency(count=found.count, p50_us=round(found.p50), p90_us=round(found.p90), p99_us=round(found.p99))


def _worst(found: Mismatch) -> WorstMismatch:
    return WorstMismatch(
        request_id=found.request_id,
        at=_at_text(found.at_us) or "",
        difference=found.difference,
        paths=found.paths[:MOST_PATHS],
        paths_left_out=max(len(found.paths) - MOST_PATHS, 0),
        champion_status=found.champion_status,
        challenger_status=found.challenger_status,
        slices=found.slices,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _at_text(at_us: int | None) -> str | None:
    try:
        return None if at_us is None else _time_text(_EPOCH + timedelta(microseconds=at_us))
    except OverflowError:
        return None


def _time_text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
