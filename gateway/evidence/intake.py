"""The shadow process's ear: workers' connections, and the messages on them.

It reads as fast as messages come and lets each offer find its lane at once, so that what piles up piles up in bounded,
counted queues and never in the socket. A new connection of a worker is not read before the former one has ended,
because what is still in the former one is not lost; a former one that is heard only after it was counted as lost (two
connections that waited while this process was down) is not taken any more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

from gateway.core.offer import Decoder, FrameError, Hello, Lost, Message, Offer, Route
from gateway.evidence.dispatch import KEPT_SNAPSHOTS, Dispatch
from gateway.evidence.lane import Plan
from gateway.evidence.ledger import Account, Ledger

Report = Callable[[str, dict[str, object]], None]

KEPT_ROUTES: Final = KEPT_SNAPSHOTS
"""Routes known per model and connection; one more makes the oldest unknown."""


@dataclass(slots=True)
class _Known:
    """A route as this process serves it: `taken` are the cells that count its offers."""

    route: Route
    taken: list[int]
    plans: list[Plan | Account] = field(default_factory=list)
    planned: bool = False


class Intake:
    """All connections of workers."""

    def __init__(self, dispatch: Dispatch, ledger: Ledger, report: Report):
        self.dispatch = dispatch
        self.ledger = ledger
        self.report = report
        self.speaking: dict[str, Voice] = {}
        self.waiting: dict[str, list[Voice]] = {}
        self.voices: set[Voice] = set()
        self.connected_us: dict[str, int] = {}
        """When the connection of each worker was made that was heard last."""

    def connection(self) -> Voice:
        """A protocol for a new connection."""
        return Voice(self)

    def left(self, voice: Voice) -> None:
        """A connection has ended: the worker's next one may be read."""
        self.voices.discard(voice)
        worker = voice.worker
        if self.speaking.get(worker) is not voice:
            return
        del self.speaking[worker]
        waiting = self.waiting.pop(worker, [])
        if waiting:
            following = waiting.pop(0)
            if waiting:
                self.waiting[worker] = waiting
            following.begin()


class Voice(asyncio.Protocol):
    """One connection of one worker."""

    def __init__(self, intake: Intake):
        self._intake = intake
        self._decoder = Decoder()
        self._held: list[Message] = []
        self._routes: dict[int, _Known] = {}
        self._numbers: dict[str, deque[int]] = {}
        self._cells = intake.ledger.cells
        self._speaking = False
        self._transport = cast(asyncio.Transport, None)
        self.worker = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A worker connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._intake.voices.add(self)

    def data_received(self, data: bytes) -> None:
        """Take the messages that are whole."""
        try:
            messages = self._decoder.feed(data)
        except FrameError as error:
            self._intake.report("offers-unreadable", {"worker": self.worker, "cause": str(error)})
            self._transport.abort()
            return
        if not self.worker and messages:
            self._greet(messages)
        elif self._speaking:
            self._take(messages)
        else:
            self._held += messages

    def connection_lost(self, error: Exception | None) -> None:
        """The worker is gone, or connects anew."""
        if self._held and not self._speaking:
            # It ended while it waited for its predecessor: what it said still counts.
            self._transport = cast(asyncio.Transport, None)
            return
        self._intake.left(self)

    def begin(self) -> None:
        """The worker's former connection has ended: this one is read now."""
        self._intake.speaking[self.worker] = self
        self._speaking = True
        held, self._held = self._held, []
        self._take(held)
        if cast(object, self._transport) is None:
            self._intake.left(self)
        elif not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Take no more."""
        if cast(object, self._transport) is not None:
            self._transport.close()

    def _greet(self, messages: list[Message]) -> None:
        hello = messages[0]
        if not isinstance(hello, Hello):
            self._refuse("the first message is no greeting")
            return
        self.worker = hello.worker
        if hello.connected_us < self._intake.connected_us.get(hello.worker, 0):
            self._refuse("a later connection has been heard before this one")
            return
        self._held = messages
        if hello.worker in self._intake.speaking:
            self._intake.waiting.setdefault(hello.worker, []).append(self)
            self._transport.pause_reading()
        else:
            self.begin()

    def _refuse(self, cause: str) -> None:
        """Hear no more of it; its worker connects anew, and what is lost is counted then."""
        self._intake.report("offers-unreadable", {"worker": self.worker, "cause": cause})
        self._transport.abort()

    def _take(self, messages: list[Message]) -> None:
        dispatch, cells, routes = self._intake.dispatch, self._cells, self._routes
        for message in messages:
            if isinstance(message, Offer):
                known = routes.get(message.route)
                if known is None:
                    self._refuse(f"route {message.route} is not known")
                    return
                for at in known.taken:
                    cells[at] += 1
                if not known.planned:
                    self._plan(known)
                dispatch.take(message, known.plans)
            elif isinstance(message, Route):
                self._learn(message)
            elif isinstance(message, Lost):
                if message.route in routes:
                    dispatch.lose(routes[message.route].plans, message.sequences)
            else:
                self._settle(message)

    def _learn(self, route: Route) -> None:
        ledger = self._intake.ledger
        taken = [ledger.taken_at(self.worker, route.model, name) for name in route.challengers]
        known = self._routes[route.number] = _Known(route, taken)
        self._plan(known)
        numbers = self._numbers.setdefault(route.model, deque())
        numbers.append(route.number)
        if len(numbers) > KEPT_ROUTES:
            del self._routes[numbers.popleft()]

    def _plan(self, known: _Known) -> None:
        """Plan a route; again and again while its snapshot is not known here, because it may come late."""
        dispatch = self._intake.dispatch
        known.planned = dispatch.knows(known.route.snapshot_id)
        if known.planned or not known.plans:
            known.plans = dispatch.plans(known.route)

    def _settle(self, hello: Hello) -> None:
        intake = self._intake
        intake.connected_us[self.worker] = hello.connected_us
        intake.dispatch.lose_any()
        lost = intake.ledger.settle_connection(self.worker, hello.handed_over)
        if lost:
            intake.report("offers-lost", {"worker": self.worker, "count": lost})
