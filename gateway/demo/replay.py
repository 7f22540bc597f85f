"""Replays flights as live traffic: in time order, at a steady pace, each from its own client for its own tenant.

The pace is kept by the clock, not by the answers, until `CONNECTIONS` requests wait at a time; then the gateway sets
the pace, and what is late is not hurried after. Every request is counted: answered by a version, or failed by a reason.

Nothing here knows the labels: a `Flight` has `late` and `label_known_at`, for whoever sends them back as feedback.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Final

import msgspec

from gateway.demo.caller import Caller, CallFailed, Reply
from gateway.demo.flights import FLIGHTS_FILE, Flight, read_flights

MODEL: Final = "flight-delay"
INFER_PATH: Final = f"/v2/models/{MODEL}/infer"
CONNECTIONS: Final = 8
ANSWER_S: Final = 10.0
MOST_LATE_S: Final = 0.25
"""How far behind its pace the replay may fall before it forgives itself the rest."""
RECENT: Final = 2000
"""Answers whose latency is remembered."""
_PROBLEM: Final = b"application/problem+json"


class _Problem(msgspec.Struct):
    """The part of a refusal that says what it is."""

    code: str = ""


@dataclass(frozen=True, slots=True)
class Course:
    """The flights of one run: those from `first` on. `before` and `total` are for showing how far it is.

    `anew` says that an earlier run came to the end of the file.
    """

    flights: Iterator[Flight]
    first: int
    before: int
    total: int
    anew: bool = False


def set_course(first: int, most: int | None) -> Course:
    """A course from the `first` flight, or from the very first where the file has no more; takes up to a second."""
    count = count_flights()
    anew = first >= count
    first %= count
    wanted = itertools.islice(read_flights(), first, count if most is None else first + most)
    # What is read over to get to the first one is read now, and not while clients wait.
    flights = itertools.chain(list(itertools.islice(wanted, 1)), wanted)
    before, total = (first, count) if most is None else (0, min(most, count - first))
    return Course(flights, first, before, total, anew)


@dataclass(slots=True)
class Tally:
    """What became of the requests so far. `at` is when the flight asked about last was due to leave."""

    sent: int = 0
    at: datetime | None = None
    answered_by: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    recent_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    @property
    def answered(self) -> int:
        """Requests with a 200 answer."""
        return self.answered_by.total()

    def latency_s(self, quantile: float) -> float | None:
        """A quantile of the recent answers' times as the client saw them; each is a time that occurred."""
        ordered = sorted(self.recent_s)
        return ordered[max(0, math.ceil(quantile * len(ordered)) - 1)] if ordered else None


class Schedule:
    """When each request is due. Pure: the time is given, in seconds."""

    def __init__(self, rate: float, now: float):
        self._step_s = 1.0 / rate
        self._due = now

    def wait_s(self, now: float) -> float:
        """How long the next request has to wait; zero if it is late."""
        due = max(self._due, now - MOST_LATE_S)
        self._due = due + self._step_s
        return max(0.0, due - now)


class Replay:
    """One pass over some flights. `run` it; `stop` lets it end with what is in flight."""

    def __init__(self, caller: Caller, flights: Iterator[Flight], rate: float):
        self.tally = Tally()
        self._caller = caller
        self._flights = flights
        self._schedule = Schedule(rate, perf_counter())
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Ask about every flight, or until stopped."""
        async with asyncio.TaskGroup() as clients:
            for _ in range(CONNECTIONS):
                clients.create_task(self._client())

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()

    async def _client(self) -> None:
        while True:
            await self._turn()
            if self._stop.is_set() or (flight := next(self._flights, None)) is None:
                return
            await self._ask(flight)

    async def _turn(self) -> None:
        """Wait until the next request is due."""
        if wait_s := self._schedule.wait_s(perf_counter()):
            try:
                async with asyncio.timeout(wait_s):
                    await self._stop.wait()
            except TimeoutError:
                return

    async def _ask(self, flight: Flight) -> None:
        tally = self.tally
        tally.sent += 1
        tally.at = flight.scheduled
        began = perf_counter()
        try:
            reply = await self._caller.call(infer_request(flight, self._caller.authority))
        except CallFailed as failed:
            tally.failed[str(failed)] += 1
            return
        if reply.status == 200:
            tally.recent_s.append(perf_counter() - began)
            tally.answered_by[reply.fields.get(b"x-model-version", b"?").decode("latin-1")] += 1
        else:
            tally.failed[refusal(reply)] += 1


def infer_request(flight: Flight, authority: bytes) -> bytes:
    """The whole request of a client that asks about a flight through a proxy of its own machine."""
    body = flight.request_body()
    head = (
        f"POST {INFER_PATH} HTTP/1.1\r\nhost: {authority.decode()}\r\ncontent-type: application/json\r\n"
        f"x-tenant: {flight.tenant}\r\nx-forwarded-for: {flight.client}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def count_flights(path: Path = FLIGHTS_FILE) -> int:
    """How many flights the file has, without reading any of them."""
    with gzip.open(path) as file:
        lines = sum(part.count(b"\n") for part in iter(lambda: file.read(2**20), b""))
    return lines - 1


def reasons(failed: Counter[str], most: int = 3) -> Sequence[str]:
    """The most frequent reasons of failure, each with how often it was."""
    return [f"{count:,} requests: {reason}" for reason, count in failed.most_common(most)]


def refusal(reply: Reply) -> str:
    """What an answer that is not the one asked for says of itself."""
    code = ""
    if reply.fields.get(b"content-type", b"").startswith(_PROBLEM):
        try:
            code = msgspec.json.decode(reply.body, type=_Problem).code
        except msgspec.MsgspecError:
            code = ""
    return f"status {reply.status} {code}".rstrip()
