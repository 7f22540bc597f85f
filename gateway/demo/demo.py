"""The demo from start to end: a gateway with real models, real flights as its traffic, and what comes of it.

Order: files, gateway, invitation, replay. When the flights are through, the gateway keeps serving until Ctrl-C; then
the replay ends first, the last report is asked for at rest, and the gateway is stopped. Ctrl-C again does not wait.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from gateway.demo.caller import Caller
from gateway.demo.flights import Flight, read_flights
from gateway.demo.gateway_process import GatewayFailed, GatewayProcess
from gateway.demo.place import Place, Ports
from gateway.demo.replay import ANSWER_S, CONNECTIONS, Replay, set_course
from gateway.demo.screen import Screen, Section
from gateway.demo.show import Show
from gateway.demo.standing import Standing
from gateway.demo.words import farewell, invitation, remedy
from gateway.runtime.places import PlaceTaken, Record

EXAMPLE_ID: Final = "B6507-EWR-20130401T1000Z"
"""A flight the champion takes for late and version 2 does not; it arrived a minute early."""

DONE: Final = 0
FAILED: Final = 1


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. `flights` is how many to replay, None for all; `once` ends the demo with them."""

    place: Place
    ports: Ports
    rate: float
    flights: int | None = None
    once: bool = False
    from_start: bool = False


class Signals:
    """Ctrl-C, SIGTERM and a closed terminal: the first sets `stop`, another one calls `again`."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.again: Callable[[], None] = lambda: None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._caught)

    def _caught(self) -> None:
        if self.stop.is_set():
            self.again()
        self.stop.set()


async def run_demo(options: Options, screen: Screen) -> int:
    """Show everything; the exit status."""
    signals = Signals()
    try:
        options.place.prepare(options.ports, example_flight())
        async with await GatewayProcess.start(options.place) as gateway:
            signals.again = gateway.hurry
            show = await _show(options, screen, gateway, signals.stop)
    except (PlaceTaken, GatewayFailed) as refused:
        advice = remedy(str(refused), options.place, options.ports)
        screen.say(Section(f"tiltyard demo: {refused}", advice))
        return FAILED
    if show is None:
        return DONE
    tally = show.replay.tally
    screen.say(*farewell(options.place, tally, list(show.troubles()), list(show.versions())))
    return FAILED if options.once and tally.failed else DONE


def example_flight() -> Flight:
    """The flight of the printed `curl`."""
    return next(flight for flight in read_flights() if flight.id == EXAMPLE_ID)


async def _show(options: Options, screen: Screen, gateway: GatewayProcess, stop: asyncio.Event) -> Show | None:
    """The show from the gateway's readiness to its rest; None when told to stop before it began."""
    began = monotonic()
    screen.say(Section("Starting a gateway and three models ...", []))
    first = 0 if options.from_start else options.place.next_flight()
    setting = asyncio.create_task(asyncio.to_thread(set_course, first, options.flights))
    record = await _ready_or_stopped(gateway, stop)
    course = await setting
    if record is None:
        return None
    replay = Replay(Caller(record.inference, CONNECTIONS, ANSWER_S), course.flights, options.rate)
    show = Show(replay, course, Standing(Caller(record.admin, 1, ANSWER_S)), screen, options.place)
    screen.say(*invitation(options.place, record, course, example_flight(), monotonic() - began))
    try:
        await show.run(stop, gateway.ended, once=options.once)
    finally:
        screen.close()
    return show


async def _ready_or_stopped(gateway: GatewayProcess, stop: asyncio.Event) -> Record | None:
    starting = asyncio.create_task(gateway.until_ready())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        return starting.result()
    starting.cancel()
    return None
