"""The document of `tiltyard report MODEL --json` and `GET /api/models/{model}/report`: its types and nothing else.

Its keys are a contract: alerts and load tests read them. Shares are between 0 and 1, durations in microseconds, times
RFC 3339 in UTC; what there is nothing to say of is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.evidence.accounting import Accounting
from gateway.evidence.latency import EstimatedLatency

CONFIDENCE: Final = 0.95


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Share of compared pairs that agree, with its Wilson interval; no share of no pairs."""

    compared: int
    agree: int
    share: float | None
    lower: float | None
    upper: float | None
    confidence: float = CONFIDENCE


class SliceAgreement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The same of one slice, at the same confidence; with a `note` instead of a share where there are too few pairs."""

    compared: int
    agree: int
    share: float | None
    lower: float | None
    upper: float | None
    note: str = ""


class Differences(msgspec.Struct, frozen=True, kw_only=True):
    """How far answers were apart, where that is a number."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Exact quantiles of kept pairs, in microseconds."""

    count: int
    p50_us: int
    p90_us: int
    p99_us: int


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """Champion and challenger on the same requests: those that the challenger answered."""

    champion: Latency | None
    challenger: Latency | None


class WorstMismatch(msgspec.Struct, frozen=True, kw_only=True):
    """One pair that does not agree. `tiltyard pairs show REQUEST_ID` has the answers."""

    request_id: str
    at: str
    difference: float | None
    paths: tuple[str, ...]
    paths_left_out: int
    champion_status: int
    challenger_status: int
    slices: Mapping[str, str]


class ChallengerReport(Accounting, frozen=True, kw_only=True):
    """One challenger. `active` says whether the configuration in force still has it."""

    active: bool
    error_share: float | None
    timeout_share: float | None
    pairs: int
    pairs_other_champions: int
    pairs_from: str | None
    pairs_to: str | None
    agreement: Agreement
    incomparable: int
    difference: Differences | None
    latency: Latencies
    slices: Mapping[str, Mapping[str, SliceAgreement]]
    slices_left_out: Mapping[str, int]
    worst: tuple[WorstMismatch, ...]


class VersionRequests(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that one version answered, or that named it."""

    total: int
    outcomes: Mapping[str, int]


class Requests(VersionRequests, frozen=True, kw_only=True):
    """Requests of the model by what became of them, in all and by version."""

    by_version: Mapping[str, VersionRequests]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `tiltyard report MODEL --json` says."""

    model: str
    config_id: str
    champion: str
    generated_at: str
    requests: Requests
    latency: EstimatedLatency | None
    challengers: Mapping[str, ChallengerReport]
