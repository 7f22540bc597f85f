"""The shadow process's ear: workers' connections, and the messages on them.

It reads as fast as messages come and lets each offer find its lane at once, so that what piles up piles up in bounded,
counted queues and never in the socket. A new connection of a worker is not read before the former one has ended,
because what is still in the former one is not lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from gateway.core.offer import Decoder, FrameError, Hello, Message, Offer, Route
from gateway.evidence.dispatch import Dispatch
from gateway.evidence.lane import Plan
from gateway.evidence.ledger import Account, Ledger

Report = Callable[[str, dict[str, object]], None]


class Intake:
    """All connections of workers."""

    def __init__(self, dispatch: Dispatch, ledger: Ledger, report: Report):
        self.dispatch = dispatch
        self.ledger = ledger
        self.report = report
        self.speaking: dict[str, Voice] = {}
        self.waiting: dict[str, list[Voice]] = {}
        self.voices: set[Voice] = set()

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
        self._plans: dict[int, tuple[list[int], list[Plan | Account]]] = {}
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
        else:
            self._transport.resume_reading()

    def close(self) -> None:
        """Take no more."""
        if cast(object, self._transport) is not None:
            self._transport.close()

    def _greet(self, messages: list[Message]) -> None:
        hello = messages[0]
        if not isinstance(hello, Hello):
            self._intake.report("offers-unreadable", {"worker": "", "cause": "the first message is no greeting"})
            self._transport.abort()
            return
        self.worker = hello.worker
        self._held = messages
        if hello.worker in self._intake.speaking:
            self._intake.waiting.setdefault(hello.worker, []).append(self)
            self._transport.pause_reading()
        else:
            self.begin()

    def _take(self, messages: list[Message]) -> None:
        dispatch, cells, plans = self._intake.dispatch, self._cells, self._plans
        for message in messages:
            if isinstance(message, Offer):
                taken, to_do = plans[message.route]
                for at in taken:
                    cells[at] += 1
                dispatch.take(message, to_do)
            elif isinstance(message, Route):
                ledger = self._intake.ledger
                taken = [ledger.taken_at(self.worker, message.model, name) for name in message.challengers]
                plans[message.number] = (taken, dispatch.plans(message))
            else:
                lost = self._intake.ledger.settle_connection(self.worker, message.handed_over)
                if lost:
                    self._intake.report("offers-lost", {"worker": self.worker, "count": lost})
