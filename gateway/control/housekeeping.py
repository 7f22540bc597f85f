"""Takes over what the journal has closed, and deletes what is too old or too much.

Runs in a thread of the control process, so that neither serving nor shadowing ever waits for it. What fails is tried
again at the next turn; it is said once, and once more when it works again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from gateway.core.config import Pairs
from gateway.core.logs import log
from gateway.core.ports import Retained, Rolled

EVERY_S: Final = 5.0


class Rolling(Protocol):
    """What of a PairStore is used here."""

    def roll(self) -> Rolled:
        """Take over what the journal has closed."""
        ...

    def retain(self, keep_age_s: float, keep_bytes: int) -> Retained:
        """Delete what is too old, then what is too much."""
        ...


class Housekeeping:
    """Keeps one pair store in order; `settings` gives the configuration in force at each turn."""

    def __init__(self, store: Rolling, settings: Callable[[], Pairs]):
        self._store = store
        self._settings = settings
        self._failure = ""
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Turn after turn until `stop`; a turn that has begun is finished."""
        while not await self._stopped_within(EVERY_S):
            await self.turn()

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()

    async def _stopped_within(self, patience_s: float) -> bool:
        try:
            async with asyncio.timeout(patience_s):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    async def turn(self) -> None:
        """Roll, then retain."""
        settings = self._settings()
        try:
            rolled = await asyncio.to_thread(self._store.roll)
            kept = await asyncio.to_thread(self._store.retain, settings.keep_age, settings.keep_bytes)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises, the admin listener must go on
            self._report(f"{type(error).__name__}: {error}")
            return
        self._report(rolled.failure)
        if rolled.damaged:
            log("pairs-damaged", "warning", lines=rolled.damaged, segments=rolled.set_aside)
        if kept.files_by_bytes:
            log("pairs-over-limit", "warning", files=kept.files_by_bytes, bytes=kept.bytes_deleted)

    def _report(self, failure: str) -> None:
        if failure and failure != self._failure:
            log("pairs-not-rolled", "error", reason=failure)
        if self._failure and not failure:
            log("pairs-rolled-again")
        self._failure = failure
