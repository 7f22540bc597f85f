"""The hand-off of a worker: it never waits, never raises, holds no more than it may, and counts what it drops."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.core.metrics import SKIP_REASONS
from gateway.core.offer import Decoder, Hello, Lost, Message, Offer, Route
from gateway.edge.tap import MAX_LOST_SEQUENCES, Tap, Tapped
from tests.support.pipe import End
from tests.support.shadowing import an_offer, books, offered, snapshot_of

SNAPSHOT = snapshot_of("2", "3")


class Bench:
    """A tap with a connection whose other end the test reads."""

    def __init__(self, directory: Path, items: int = 5, size: int = 1 << 20):
        self.directory = directory
        self.counters = books(directory, "worker-0")
        self.tap = Tap("worker-0", str(directory / "s"), self.counters, items, size)
        self.tapped: Tapped = self.tap.tapped(SNAPSHOT.id, SNAPSHOT.models["m"])
        self.end = End()

    def connect(self) -> None:
        self.end = End()
        self.tap.connection_made(self.end)

    def offer(self, **changes: Any) -> None:
        self.tap.offer(self.tapped, an_offer(route=self.tapped.number, **changes))

    def said(self) -> list[Message]:
        """What has been written to the connection since it was last asked."""
        data, self.end.sent = bytes(self.end.sent), bytearray()
        return Decoder().feed(data)

    def flush(self) -> list[Message]:
        self.tap._flush()
        return self.said()

    def offered(self, challenger: str = "2") -> dict[str, int]:
        return offered(self.directory, challenger)


def play(test: Callable[[], Coroutine[None, None, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())


def test_it_greets_names_the_route_once_and_offers(tmp_path: Path) -> None:
    async def talk() -> None:
        bench = Bench(tmp_path)
        bench.connect()
        bench.offer(body=b"1")
        bench.offer(body=b"2")

        hello, route, *offers = bench.flush()

        assert isinstance(hello, Hello)
        assert (hello.worker, hello.handed_over) == ("worker-0", (("m", "2", 0), ("m", "3", 0)))
        assert route == Route(1, SNAPSHOT.id, "m", "champion", ("2", "3"))
        assert [offer.body for offer in offers if isinstance(offer, Offer)] == [b"1", b"2"]
        bench.offer(body=b"3")
        (third,) = bench.flush()
        assert isinstance(third, Offer)
        assert bench.offered("2") == bench.offered("3") == {"eligible": 3}

    play(talk)


def test_offers_leave_soon_by_themselves(tmp_path: Path) -> None:
    async def talk() -> None:
        bench = Bench(tmp_path)
        bench.connect()
        bench.said()
        bench.offer()

        await asyncio.sleep(0.05)

        assert [type(message) for message in bench.said()] == [Route, Offer]

    play(talk)


def test_a_new_connection_says_what_was_handed_over_and_names_routes_anew(tmp_path: Path) -> None:
    async def talk() -> None:
        bench = Bench(tmp_path)
        bench.connect()
        bench.offer()
        bench.offer()
        bench.flush()
        bench.tap.skip(bench.tapped, "too_large")
        bench.tap.connection_lost(None)
        bench.offer()
        bench.connect()

        hello, route, offer = bench.said()

        assert isinstance(hello, Hello)
        # What waits here is not handed over, and what was skipped never will be.
        assert hello.handed_over == (("m", "2", 2), ("m", "3", 2))
        assert isinstance(route, Route)
        assert isinstance(offer, Offer)
        assert bench.offered() == {"eligible": 4, "too_large": 1}
        await bench.tap.close(0)

    play(talk)


def test_a_later_connection_is_known_as_later(tmp_path: Path) -> None:
    async def talk() -> None:
        bench = Bench(tmp_path)
        times = []
        for _ in range(2):
            bench.connect()
            hello = bench.said()[0]
            assert isinstance(hello, Hello)
            times.append(hello.connected_us)
            bench.tap.connection_lost(None)
            await asyncio.sleep(0.001)
        assert times[0] < times[1]
        await bench.tap.close(0)

    play(talk)


@pytest.mark.parametrize("reason", SKIP_REASONS)
def test_what_is_skipped_is_eligible_and_counted_by_reason(tmp_path: Path, reason: str) -> None:
    async def talk() -> None:
        bench = Bench(tmp_path)

        bench.tap.skip(bench.tapped, reason)

        assert bench.offered("2") == bench.offered("3") == {"eligible": 1, reason: 1}

    play(talk)


def test_a_full_queue_drops_the_newest(tmp_path: Path) -> None:
    async def talk() -> None:
        bench = Bench(tmp_path, items=3)
        for number in range(5):
            bench.offer(body=b"%d" % number)
        bench.connect()

        assert [message.body for message in bench.said() if isinstance(message, Offer)] == [b"0", b"1", b"2"]
        assert bench.offered() == {"eligible": 5, "queue_full": 2}

    play(talk)


def test_bytes_are_bounded_too_and_given_back(tmp_path: Path) -> None:
    async def talk() -> None:
        bench = Bench(tmp_path, items=1000, size=2500)
        for _ in range(4):
            bench.offer(body=b"x" * 1000)
        assert bench.offered() == {"eligible": 4, "queue_bytes": 2}

        bench.connect()
        for _ in range(2):
            bench.offer(body=b"x" * 1000)

        assert bench.offered() == {"eligible": 6, "queue_bytes": 2}

    play(talk)


def test_bounds_of_a_new_configuration_hold_at_once(tmp_path: Path) -> None:
    async def talk() -> None:
        bench = Bench(tmp_path, items=100)
        for _ in range(3):
            bench.offer()
        bench.tap.queue_items = 2
        bench.offer()

        assert bench.offered() == {"eligible": 4, "queue_full": 1}

    play(talk)


def test_while_the_shadow_process_does_not_keep_up_offers_wait_here(tmp_path: Path) -> None:
    async def talk() -> None:
        bench = Bench(tmp_path)
        bench.connect()
        bench.said()
        bench.tap.pause_writing()
        bench.offer()
        assert bench.flush() == []

        bench.tap.resume_writing()

        assert [type(message) for message in bench.said()] == [Route, Offer]

    play(talk)


def test_the_offer_after_a_loss_names_the_sequences_that_lost_a_request(tmp_path: Path) -> None:
    async def talk() -> None:
        bench = Bench(tmp_path)
        bench.connect()
        bench.said()
        bench.tap.skip(bench.tapped, "champion_failed", "a")
        bench.tap.skip(bench.tapped, "client_gone", "b")
        bench.tap.skip(bench.tapped, "client_gone")
        bench.offer()
        bench.offer()

        route, lost, *offers = bench.flush()

        assert isinstance(route, Route)
        assert isinstance(lost, Lost)
        assert lost.sequences is not None
        assert set(lost.sequences) == {"a", "b"}
        assert [type(offer) for offer in offers] == [Offer, Offer]

    play(talk)


@pytest.mark.parametrize("many", [False, True])
def test_where_nobody_knows_which_sequences_lost_one_all_have(tmp_path: Path, many: bool) -> None:
    async def talk() -> None:
        bench = Bench(tmp_path)
        bench.connect()
        bench.said()
        if many:
            for number in range(MAX_LOST_SEQUENCES + 1):
                bench.tap.skip(bench.tapped, "champion_failed", f"s{number}")
        else:
            bench.tap.skip(bench.tapped, "champion_failed", "a")
            bench.tap.skip(bench.tapped, "too_large", None)
        bench.tap.skip(bench.tapped, "champion_failed", "b")
        bench.offer()

        assert Lost(1, None) in bench.flush()
        assert bench.tap._lost == {}

    play(talk)


@pytest.mark.parametrize(("items", "size"), [(1, 1 << 20), (100, 600)])
def test_a_dropped_request_of_a_sequence_is_told_with_the_next_offer(tmp_path: Path, items: int, size: int) -> None:
    async def talk() -> None:
        bench = Bench(tmp_path, items=items, size=size)
        bench.connect()
        bench.tap.pause_writing()
        bench.said()
        bench.offer()
        bench.offer(body=b'{"parameters":{"sequence_id":1}}' + b"x" * 500)
        bench.tap.resume_writing()
        assert [type(message) for message in bench.said()] == [Route, Offer]
        bench.offer()

        lost, offer = bench.flush()

        assert lost == Lost(1, None)
        assert isinstance(offer, Offer)

    play(talk)


def test_closing_hands_over_what_waits(tmp_path: Path) -> None:
    async def talk() -> None:
        loop = asyncio.get_running_loop()
        heard = bytearray()

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.extend(await reader.read(-1))
            writer.close()

        server = await asyncio.start_unix_server(listen, tmp_path / "s")
        bench = Bench(tmp_path)
        bench.tap.start()
        ends = loop.time() + 10
        while bench.tap._transport is None:
            assert loop.time() < ends
            await asyncio.sleep(0.005)
        for _ in range(5):
            bench.offer(body=b"x" * 100_000)
        await bench.tap.close(5.0)
        server.close()
        await server.wait_closed()

        assert sum(isinstance(message, Offer) for message in Decoder().feed(bytes(heard))) == 5
        assert bench.offered() == {"eligible": 5}

    play(talk)


def test_closing_counts_what_cannot_be_handed_over(tmp_path: Path) -> None:
    async def talk() -> None:
        bench = Bench(tmp_path)
        bench.tap.start()
        for _ in range(3):
            bench.offer()

        await bench.tap.close(0.01)
        bench.offer()

        assert bench.offered() == {"eligible": 4, "shutdown": 4}

    play(talk)


def test_it_connects_as_soon_as_somebody_listens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def talk() -> None:
        loop = asyncio.get_running_loop()
        bench = Bench(tmp_path)
        bench.tap.start()
        await asyncio.sleep(0.02)
        assert bench.tap._transport is None
        connected = asyncio.Event()

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected.set()
            writer.close()

        server = await asyncio.start_unix_server(listen, tmp_path / "s")
        await asyncio.wait_for(connected.wait(), 10)
        connected.clear()
        # Closed by the other side: once more.
        await asyncio.wait_for(connected.wait(), 10)
        await bench.tap.close(1.0)
        server.close()
        assert loop.time() > 0

    with caplog.at_level(logging.ERROR):
        play(talk)
    assert not caplog.records
