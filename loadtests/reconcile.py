"""Whether the gateway's counts are the clients' counts: pure comparison of two tallies, and the reading of one.

Every difference is one sentence. Nothing is tolerated: a request that was answered is counted once, by outcome, by
refusal code, and as eligible for each challenger that could have seen it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from loadtests.traffic import Request

Key = tuple[str, ...]


@dataclass(slots=True)
class Tally:
    """Counts by model, version and outcome; by refusal code; and offered requests by model."""

    outcomes: Counter[Key] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    offered: Counter[str] = field(default_factory=Counter)
    failed_offers: Counter[str] = field(default_factory=Counter)

    def add(self, request: Request, status: int) -> None:
        """Count one answered request as the gateway should have."""
        if request.code:
            self.refusals[request.code] += 1
        if request.model:
            outcome = "refused" if request.code else f"{status // 100}xx"
            self.outcomes[request.model, request.version, outcome] += 1
        if request.offered:
            self.offered[request.model] += 1
            if status // 100 != 2:
                self.failed_offers[request.model] += 1


def read_metrics(exposition: str) -> Tally:
    """The gateway's own tally of requests and refusals, from `/metrics`."""
    tally = Tally()
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == "tiltyard_requests_total":
                key = labels["model"], labels["version"], labels["outcome"]
                tally.outcomes[key] += int(sample.value)
            elif sample.name == "tiltyard_refusals_total":
                tally.refusals[labels["code"]] += int(sample.value)
    return tally


def differences(sent: Tally, before: Tally, after: Tally) -> list[str]:
    """Where the gateway's counts since `before` are not what clients sent."""
    found = []
    for what, ours, earlier, theirs in (
        ("requests", sent.outcomes, before.outcomes, after.outcomes),
        ("refusals", sent.refusals, before.refusals, after.refusals),
    ):
        for key in sorted({*ours, *theirs}, key=str):
            counted = theirs[key] - earlier[key]
            if counted != ours[key]:
                found.append(f"{what} {key}: clients count {ours[key]}, the gateway {counted}")
    return found


def identity_faults(sent: Tally, model: str, report: dict[str, Any]) -> list[str]:
    """Where a model's report does not add up, in itself or with what clients sent (a fresh gateway is assumed)."""
    found = []
    for version, counts in report["challengers"].items():
        name = f"{model}, challenger {version}"
        skipped, unstored = sum(counts["skipped"].values()), sum(counts["unstored"].values())
        equations = (
            ("eligible", counts["eligible"], "offered by clients", sent.offered[model]),
            ("champion_failed", counts["skipped"]["champion_failed"], "failed", sent.failed_offers[model]),
            ("eligible", counts["eligible"], "accounted for", counts["sampled_out"] + skipped + counts["sent"]),
            ("sent", counts["sent"], "ended", sum(counts[end] for end in ("ok", "error", "timeout", "cancelled"))),
            ("ok", counts["ok"], "stored or unstored", counts["stored"] + unstored),
        )
        found += [f"{name}: {left} {one}, {right} {other}" for left, one, right, other in equations if one != other]
    return found
