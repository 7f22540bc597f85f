"""The seams: what a plane needs of an engine it does not know, as Protocols, and the values that cross them.

An engine behind a port lives in `gateway.stores`; `gateway.runtime` and `gateway.cli` choose one. Every engine passes
the suite of its seam in tests/contracts/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.core.pair import Pair


@dataclass(frozen=True, slots=True)
class Quantiles:
    """What a number was like over `count` pairs; each quantile is a value that occurred."""

    count: int
    p50: float
    p90: float
    p99: float
    maximum: float


@dataclass(frozen=True, slots=True)
class SliceCount:
    """How many pairs of one slice were compared, and how many of them agreed."""

    dimension: str
    value: str
    compared: int
    agree: int


@dataclass(frozen=True, slots=True)
class PairSummary:
    """What the kept pairs of one challenger say beside one champion.

    `pairs` counts all that are kept of this challenger; `other_champions` those of them whose champion was another
    version, of which nothing else here speaks. `incomparable` pairs were answered by both and yet not compared.
    Latencies are those of pairs whose challenger answered. `slices_left_out` says, per dimension, how many rare values
    are not listed.
    """

    pairs: int
    other_champions: int
    first_at_us: int | None
    last_at_us: int | None
    compared: int
    agree: int
    incomparable: int
    difference: Quantiles | None
    champion_us: Quantiles | None
    challenger_us: Quantiles | None
    slices: tuple[SliceCount, ...]
    slices_left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One pair that does not agree, without its bodies."""

    request_id: str
    at_us: int
    difference: float | None
    paths: tuple[str, ...]
    slices: Mapping[str, str]
    champion_status: int
    challenger_status: int


@dataclass(frozen=True, slots=True)
class Rolled:
    """What one call of `roll` did. `damaged` counts lines that were no whole record; `set_aside` the journal segments
    kept because of them; `failure` says why it stopped early, to be tried again, or is empty.
    """

    segments: int = 0
    pairs: int = 0
    files_written: int = 0
    files_merged: int = 0
    damaged: int = 0
    set_aside: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Retained:
    """What one call of `retain` deleted and what is left."""

    files_by_age: int
    files_by_bytes: int
    bytes_deleted: int
    bytes_kept: int


class PairStoreError(Exception):
    """Pairs cannot be read now; the text says why and which file."""


class PairStore(Protocol):
    """Where pairs are kept. One process rolls and retains, any number of them read at the same time."""

    def roll(self) -> Rolled:
        """Take over what the journal has closed: every pair once, whatever is killed meanwhile."""
        ...

    def retain(self, keep_age_s: float, keep_bytes: int) -> Retained:
        """Delete files older than that, then the oldest beyond that total; never the newest file."""
        ...

    def find(self, request_id: str) -> list[Pair]:
        """All pairs of one request, by challenger. Raises PairStoreError."""
        ...

    def summary(self, model: str, challenger: str, champion: str) -> PairSummary:
        """What the kept pairs of a challenger say beside this champion. Raises PairStoreError."""
        ...

    def worst(self, model: str, challenger: str, champion: str, limit: int) -> list[Mismatch]:
        """Pairs that do not agree: those that differ in more than numbers first, then by difference, then the newest.

        Raises PairStoreError.
        """
        ...

    def close(self) -> None:
        """Give back what the store holds in this process."""
        ...
