"""The hand-off upward: each request the champion has answered is offered to the shadow process, if there is room.

The data plane's promise stands here: `offer` never waits, never raises, and holds at most `queue_items` offers and
`queue_bytes` bytes; when full it drops the newest, and counts it. Offers leave in batches every few milliseconds.

Nothing is lost uncounted: what is handed over is `eligible` minus what this side skipped minus what still waits, and
each new connection opens by saying that number (see `core.offer.Hello`); the shadow process counts the difference to
what it took. The cells outlive this process, so that holds over `kill -9` of either side.

A challenger sees all of a sequence or none, so the offer after a loss says which sequences have lost a request.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from contextlib import suppress
from typing import cast

from gateway.core.counters import Counters
from gateway.core.metrics import OFFERED, SKIP_REASONS
from gateway.core.offer import MAX_MESSAGE_BYTES, Hello, Lost, Offer, Route, encode
from gateway.core.snapshot import Model

FLUSH_AFTER_S = 0.002
RECONNECT_AFTER_S = 0.05
MAX_LOST_SEQUENCES = 1000
"""Sequences named per model as having lost a request; beyond that, all count as broken."""
_BATCH_BYTES = 256 * 1024
_ELIGIBLE = OFFERED.at("eligible")
_REASONS = {reason: OFFERED.at(reason) for reason in SKIP_REASONS}


class Tapped:
    """One model under one snapshot as the tap knows it: its route number, and its challengers' cells."""

    __slots__ = ("cells_at", "challengers", "connection", "model", "number", "route")

    def __init__(self, number: int, snapshot_id: str, model: Model, counters: Counters):
        self.number = number
        self.model = model.name
        self.challengers = tuple(challenger.version.name for challenger in model.challengers)
        self.route = encode(Route(number, snapshot_id, model.name, model.champion.name, self.challengers))
        self.cells_at = tuple(counters.group(OFFERED, (model.name, name)) for name in self.challengers)
        self.connection = 0
        """The connection on which the shadow process was last told of this route."""


class Tap(asyncio.Protocol):
    """The hand-off queue of one worker and its connection to the shadow process."""

    def __init__(self, worker: str, path: str, counters: Counters, queue_items: int, queue_bytes: int):
        self._worker = worker
        self._path = path
        self._counters = counters
        self._cells = counters.cells
        self._queue: deque[tuple[Tapped, bytes]] = deque()
        self._queued_bytes = 0
        self._lost: dict[str, set[str] | None] = {}
        self.queue_items = queue_items
        self.queue_bytes = queue_bytes
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._connections = 0
        self._connected_us = 0
        self._routes = 0
        self._paused = False
        self._scheduled = False
        self._closing = False
        self._connecting: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()

    # -- the request's side ----------------------------------------------------------------------------------------

    def tapped(self, snapshot_id: str, model: Model) -> Tapped:
        """Number a model's route under a snapshot."""
        self._routes += 1
        return Tapped(self._routes, snapshot_id, model, self._counters)

    def skip(self, tapped: Tapped, reason: str, sequence: str | None = "") -> None:
        """Count a request that challengers could have seen and will not; None says that nobody knows its sequence."""
        place = _REASONS[reason]
        cells = self._cells
        for at in tapped.cells_at:
            cells[at + _ELIGIBLE] += 1
            cells[at + place] += 1
        if sequence != "":
            self._lose(tapped.model, sequence)

    def offer(self, tapped: Tapped, offer: Offer) -> None:
        """Queue an offer, or drop and count it."""
        if self._closing or len(self._queue) >= self.queue_items:
            self._drop(tapped, offer, "shutdown" if self._closing else "queue_full")
            return
        frame = encode(offer)
        if len(frame) > MAX_MESSAGE_BYTES:
            self._drop(tapped, offer, "too_large")
            return
        if self._lost and tapped.model in self._lost:
            frame = encode(Lost(tapped.number, _named(self._lost[tapped.model]))) + frame
        if self._queued_bytes + len(frame) > self.queue_bytes:
            self._drop(tapped, offer, "queue_bytes")
            return
        if self._lost:
            self._lost.pop(tapped.model, None)
        cells = self._cells
        for at in tapped.cells_at:
            cells[at + _ELIGIBLE] += 1
        self._queue.append((tapped, frame))
        self._queued_bytes += len(frame)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_later(FLUSH_AFTER_S, self._flush)

    def _drop(self, tapped: Tapped, offer: Offer, reason: str) -> None:
        self.skip(tapped, reason, None if b'"sequence_id"' in offer.body else "")

    def _lose(self, model: str, sequence: str | None) -> None:
        lost = self._lost.setdefault(model, set())
        if lost is None:
            return
        if sequence is None or len(lost) >= MAX_LOST_SEQUENCES:
            self._lost[model] = None
        else:
            lost.add(sequence)

    # -- the connection's side -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, and go on connecting whenever the connection is lost."""
        self._connecting = self._loop.create_task(self._connect())

    async def close(self, within_s: float) -> None:
        """Hand over what waits, for at most `within_s` seconds; the rest is counted as `shutdown`."""
        self._closing = True
        if self._queue and self._transport is not None:
            self._idle.clear()
            self._flush()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), within_s)
        for tapped, _ in self._queue:
            place = _REASONS["shutdown"]
            for at in tapped.cells_at:
                self._cells[at + place] += 1
        self._queue.clear()
        self._queued_bytes = 0
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            # Closing in order: what the transport still holds is written first.
            self._idle.clear()
            self._transport.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), within_s)

    async def _connect(self) -> None:
        # At once, unless the last connection was closed as soon as it was made.
        await asyncio.sleep(max(0.0, self._connected_us / 1e6 + RECONNECT_AFTER_S - time.monotonic()))
        while self._transport is None and not self._closing:
            try:
                await self._loop.create_unix_connection(lambda: self, self._path)
            except OSError:
                await asyncio.sleep(RECONNECT_AFTER_S)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected: say who we are and what was handed over before, then go on."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_BATCH_BYTES)
        self._connections += 1
        self._paused = False
        self._connected_us = int(time.monotonic() * 1e6)
        self._transport.write(encode(Hello(self._worker, self._connected_us, self._handed_over())))
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        """The shadow process is gone or has closed; connect again."""
        self._transport = None
        self._idle.set()
        connecting = self._connecting is not None and not self._connecting.done()
        if not self._closing and not connecting:
            self.start()

    def pause_writing(self) -> None:
        """The shadow process does not keep up; offers wait here."""
        self._paused = True

    def resume_writing(self) -> None:
        """It takes offers again."""
        self._paused = False
        self._flush()

    def _handed_over(self) -> tuple[tuple[str, str, int], ...]:
        waiting: Counter[tuple[str, str]] = Counter()
        for tapped, _ in self._queue:
            for challenger in tapped.challengers:
                waiting[tapped.model, challenger] += 1
        totals = []
        for labels, at in self._counters.groups(OFFERED):
            skipped = sum(self._cells[at + place] for place in _REASONS.values())
            model, challenger = labels
            total = self._cells[at + _ELIGIBLE] - skipped - waiting[model, challenger]
            totals.append((model, challenger, total))
        return tuple(totals)

    def _flush(self) -> None:
        """Write batches until the queue is empty or the shadow process does not keep up."""
        self._scheduled = False
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        queue = self._queue
        while queue and not self._paused:
            batch: list[bytes] = []
            size = 0
            while queue and size < _BATCH_BYTES:
                tapped, frame = queue.popleft()
                if tapped.connection != self._connections:
                    tapped.connection = self._connections
                    batch.append(tapped.route)
                batch.append(frame)
                size += len(frame)
                self._queued_bytes -= len(frame)
            transport.write(b"".join(batch))
        if not queue:
            self._idle.set()


def _named(lost: set[str] | None) -> tuple[str, ...] | None:
    return None if lost is None else tuple(lost)
