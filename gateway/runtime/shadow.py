"""The shadow process: takes offers from the workers, calls challengers, compares, and writes pairs to the journal."""

from __future__ import annotations

import asyncio
import time

from gateway.core.logs import log
from gateway.core.snapshot import Snapshot
from gateway.evidence.dispatch import Dispatch
from gateway.evidence.intake import Intake
from gateway.evidence.ledger import Ledger
from gateway.evidence.pairs import PairWriter, settle_journal
from gateway.evidence.shadow_call import ShadowCaller
from gateway.http1.deadlines import Deadlines
from gateway.runtime.child import ChildContext
from gateway.stores.pair_files import open_pair_journal, rolling_held

HOUSEKEEPING_EVERY_S = 1.0
DRAIN_WITHIN_S = 5.0
_DRAIN_LOOK_S = 0.01


class Shadow:
    """The role of the shadow process."""

    def __init__(self, context: ChildContext):
        self._context = context
        self._remembered: list[Snapshot] = []
        self._dispatch: Dispatch | None = None
        self._intake: Intake | None = None
        self._server: asyncio.Server | None = None
        self._housekeeping: asyncio.Task[None] | None = None

    async def remember(self, snapshot: Snapshot) -> None:
        """Know a former snapshot."""
        if self._dispatch is not None:
            self._dispatch.remember(snapshot)
        else:
            self._remembered.append(snapshot)

    async def start(self, snapshot: Snapshot) -> None:
        """Settle the books of a former process, then listen to the workers."""
        context, config = self._context, snapshot.config
        loop = asyncio.get_running_loop()
        ledger = Ledger(context.counters)
        with rolling_held(context.state):
            journal = open_pair_journal(context.state, config.pairs.segment)
            found = settle_journal(journal, ledger)
        ledger.settle_start()
        if journal.recoveries:
            log("journal-recovered", records_found=found, torn_bytes=sum(r.torn_bytes for r in journal.recoveries))
        self._pairs = PairWriter(journal, ledger, _report)
        caller = ShadowCaller(context.counters, self._pairs, Deadlines(loop), _report_crash)
        self._dispatch = Dispatch(ledger, caller)
        for former in self._remembered:
            self._dispatch.remember(former)
        await self.apply(snapshot)
        self._intake = Intake(self._dispatch, ledger, _report)
        self._server = await loop.create_unix_server(self._intake.connection, sock=context.sockets["shadow"])
        self._housekeeping = loop.create_task(self._keep_house())

    async def apply(self, snapshot: Snapshot) -> None:
        """Know a snapshot before any worker serves on it."""
        if self._dispatch is not None:
            self._dispatch.use(snapshot)
            self._roll_every_s = snapshot.config.pairs.roll

    async def drain(self) -> None:
        """Let calls in flight end, give up the rest, write the last pairs."""
        dispatch = self._dispatch
        if dispatch is None or self._server is None or self._intake is None:
            return
        ends = time.monotonic() + DRAIN_WITHIN_S
        # The workers have closed by now: what they handed over is read to its end first.
        while (self._intake.voices or not dispatch.idle) and time.monotonic() < ends:  # noqa: ASYNC110 - two owners
            await asyncio.sleep(_DRAIN_LOOK_S)
        self._server.close()
        for voice in list(self._intake.voices):
            voice.close()
        dispatch.stop()
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        self._pairs.roll()

    def status(self) -> dict[str, object]:
        """How many workers are connected."""
        return {"workers": len(self._intake.voices)} if self._intake is not None else {}

    async def _keep_house(self) -> None:
        """Close what has been idle for long; close the journal's segment from time to time, to be taken over."""
        assert self._dispatch is not None
        rolled = time.monotonic()
        while True:
            await asyncio.sleep(HOUSEKEEPING_EVERY_S)
            now = time.monotonic()
            self._dispatch.expire_idle(now)
            if now - rolled >= self._roll_every_s:
                rolled = now
                self._pairs.roll()


def make(context: ChildContext) -> Shadow:
    """The role of this process."""
    return Shadow(context)


def _report(event: str, facts: dict[str, object]) -> None:
    log(event, "warning", **facts)


def _report_crash(request_id: str, error: Exception) -> None:
    log("shadow-call-crashed", "error", request_id=request_id, error=repr(error))
