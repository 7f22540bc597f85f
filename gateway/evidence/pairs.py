"""From an answered challenger call to a pair record in the journal.

Records are gathered for a moment and appended in one write; only then is a pair counted as stored. When the disk does
not take them they are counted as `unstored.storage`, said once in the log, and serving goes on.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Literal

import msgspec

from gateway.core.journal import Journal, read, segments
from gateway.core.pair import Form, Pair
from gateway.evidence.ledger import Account, Ledger

PREFIX = "pairs"
FLUSH_AFTER_S = 0.05
FLUSH_BYTES = 256 * 1024

Report = Callable[[str, dict[str, object]], None]


def kept(body: bytes, payload: Literal["body", "digest", "none"]) -> tuple[str, Form]:
    """A body as a record keeps it, and in which form."""
    if payload == "none":
        return "", "none"
    if payload == "digest":
        return sha256(body).hexdigest(), "sha256"
    try:
        return body.decode("utf-8"), "text"
    except UnicodeDecodeError:
        return b64encode(body).decode("ascii"), "base64"


class _Waiting:
    """An encoded record on its way to the journal."""

    __slots__ = ("account", "data", "ok", "sequence")

    def __init__(self, data: bytes, account: Account, ok: bool, sequence: int):
        self.data = data
        self.account = account
        self.ok = ok
        self.sequence = sequence


class PairWriter:
    """Numbers, encodes and appends pair records. `report` hears of the journal failing and of it working again."""

    def __init__(self, journal: Journal, ledger: Ledger, report: Report):
        self._journal = journal
        self._ledger = ledger
        self._report = report
        self._encoder = msgspec.json.Encoder()
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._next = ledger.sequence + 1
        self._scheduled = False
        self._missing_bytes = 0
        """What did not fit when the journal failed last: once as much has fitted since, the disk has room again, and
        not only a few bytes here and there."""
        self._loop = asyncio.get_running_loop()

    def next_sequence(self) -> int:
        """The number for the next record."""
        number = self._next
        self._next += 1
        return number

    def write(self, pair: Pair, account: Account) -> None:
        """Take a record; it is appended within `FLUSH_AFTER_S`."""
        data = self._encoder.encode(pair)
        self._waiting.append(_Waiting(data, account, pair.outcome == "ok", pair.sequence))
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= FLUSH_BYTES:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_later(FLUSH_AFTER_S, self._flush_later)

    def flush(self) -> None:
        """Append what waits, now."""
        waiting, self._waiting = self._waiting, []
        size, self._waiting_bytes = self._waiting_bytes, 0
        if not waiting:
            return
        try:
            self._journal.append([record.data for record in waiting])
        except OSError as error:
            for record in waiting:
                record.account.add("unstored_storage" if record.ok else "failure_unstored")
            if not self._missing_bytes:
                self._report("pairs-not-stored", {"cause": str(error)})
            self._missing_bytes = size
            return
        for record in waiting:
            self._ledger.sequence = record.sequence
            record.account.add("stored" if record.ok else "failure_stored")
        if self._missing_bytes:
            self._missing_bytes = max(0, self._missing_bytes - size)
            if not self._missing_bytes:
                self._report("pairs-stored-again", {})
        self._roll()

    def roll(self) -> None:
        """Close the open segment, so that it can be taken over."""
        self.flush()
        self._roll(always=True)

    def _roll(self, *, always: bool = False) -> None:
        try:
            if always:
                self._journal.roll()
            else:
                self._journal.roll_if_full()
        except OSError as error:
            self._report("journal-not-closed", {"cause": str(error)})

    def _flush_later(self) -> None:
        self._scheduled = False
        self.flush()


def settle_journal(journal: Journal, ledger: Ledger) -> int:
    """Count records that a former process appended and did not live to count. Returns how many.

    They are the last ones of the last segment, because counting follows every append.
    """
    decoder = msgspec.json.Decoder(Pair)
    closed = segments(journal.directory, PREFIX)
    counted = 0
    for payload in read(closed[-1]) if closed else ():
        try:
            pair = decoder.decode(payload)
        except msgspec.MsgspecError:
            continue
        if pair.sequence > ledger.sequence:
            ledger.account(pair.model, pair.challenger).add("stored" if pair.outcome == "ok" else "failure_stored")
            ledger.sequence = pair.sequence
            counted += 1
    return counted
