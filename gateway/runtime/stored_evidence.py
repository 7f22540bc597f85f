"""The pairs of the state directory as the control plane asks for them: the embedded store behind the ports."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from gateway.core.pair import Pair
from gateway.core.ports import PairStore, Retained, Rolled
from gateway.core.snapshot import Snapshot
from gateway.evidence.report import build_report
from gateway.evidence.report_document import Report


class StoredEvidence:
    """Opens the store at its first use, in a thread: the admin listener serves before, and without it."""

    def __init__(self, state: Path):
        self._state = state
        self._opening = threading.Lock()
        self._opened: PairStore | None = None

    def report(self, snapshot: Snapshot, model: str) -> Report:
        """The report on one model."""
        return build_report(snapshot, model, self._state, self._store())

    def pairs(self, request_id: str) -> Sequence[Pair]:
        """The pairs of one request."""
        return self._store().find(request_id)

    def roll(self) -> Rolled:
        """Take over what the journal has closed."""
        return self._store().roll()

    def retain(self, keep_age_s: float, keep_bytes: int) -> Retained:
        """Delete what is too old or too much."""
        return self._store().retain(keep_age_s, keep_bytes)

    def close(self) -> None:
        """Give back what the store holds."""
        with self._opening:
            if self._opened is not None:
                self._opened.close()

    def _store(self) -> PairStore:
        from gateway.stores.parquet import ParquetPairs

        with self._opening:
            if self._opened is None:
                self._opened = ParquetPairs(self._state)
            return self._opened
