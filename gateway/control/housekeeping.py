"""Takes over what the journal has closed, and deletes what is too old or too much.

Runs in a thread of the control process that yields the core to everything else: on a busy machine pairs are rolled
later, and neither an answer nor an operator waits for it. What fails is tried again at the next turn; it is said once,
and once more when it works again.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Protocol

from gateway.core.config import Pairs
from gateway.core.logs import log
from gateway.core.ports import Retained, Rolled

EVERY_S: Final = 5.0
NICENESS: Final = 10
"""Of the thread: rolling a segment keeps a core busy for a tenth of a second. Not more, because the thread holds the
interpreter now and then, and an operator's request waits for that."""


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
        self._thread = ThreadPoolExecutor(1, "housekeeping", initializer=_yield_to_others)

    async def run(self) -> None:
        """Turn after turn until `stop`; a turn that has begun is finished."""
        while not await self._stopped_within(EVERY_S):
            await self.turn()
        self._thread.shutdown(wait=False)

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
        loop = asyncio.get_running_loop()
        try:
            rolled = await loop.run_in_executor(self._thread, self._store.roll)
            kept = await loop.run_in_executor(self._thread, self._store.retain, settings.keep_age, settings.keep_bytes)
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


def _yield_to_others() -> None:
    """Give this thread (on Linux, niceness is a thread's own) the low priority of work that nobody waits for."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
