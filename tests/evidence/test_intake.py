"""Workers come, go and are killed, and so does the shadow process: every offer is taken, or counted as lost, once."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.counters import Counters
from gateway.core.offer import Hello, Lost, Message, encode
from gateway.core.offer import Route as RouteMessage
from gateway.core.snapshot import Snapshot
from gateway.edge.tap import Tap, Tapped
from gateway.evidence.dispatch import Dispatch
from gateway.evidence.intake import KEPT_ROUTES, Intake, Voice
from gateway.evidence.lane import Job
from gateway.evidence.ledger import Ledger
from gateway.evidence.shadow_call import ShadowCaller
from tests.support.pipe import End, Pipe
from tests.support.shadowing import (
    AT_REST,
    a_route,
    accounting,
    an_offer,
    books,
    counted,
    imbalance,
    offered,
    snapshot_of,
    taken,
)

pytestmark = pytest.mark.interpreted  # its doubles stand in for compiled classes

SNAPSHOT = snapshot_of("2", "3", settings={"concurrency": 60_000})


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine on the loop that workers and the shadow process run on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(cast("asyncio.Coroutine[None, None, None]", test()))


class Ear:
    """The shadow process's side: everything up to the call of a challenger, which is over at once."""

    def __init__(self, directory: Path, *snapshots: Snapshot):
        self.directory = directory
        self.counters = books(directory)
        self.ledger = Ledger(self.counters)
        self.ledger.settle_start()
        self.dispatch = Dispatch(self.ledger, cast(ShadowCaller, self))
        for snapshot in snapshots or (SNAPSHOT,):
            self.dispatch.use(snapshot)
        self.said: list[tuple[str, dict[str, object]]] = []
        self.intake = Intake(self.dispatch, self.ledger, lambda event, facts: self.said.append((event, facts)))

    def launch(self, job: Job) -> None:
        """Stands where the caller stands."""
        for field in ("sent", "ok", "stored"):
            job.plan.lane.account.add(field)
        job.plan.lane.ended(job)

    def connection(self) -> tuple[Voice, End]:
        voice, end = self.intake.connection(), End()
        voice.connection_made(end)
        return voice, end


def hello(*handed_over: tuple[str, str, int], worker: str = "worker-0", at: int = 1) -> Hello:
    return Hello(worker, at, handed_over)


def say(voice: Voice, *messages: Message) -> None:
    voice.data_received(b"".join(map(encode, messages)))


ROUTE = a_route(SNAPSHOT)


def test_offers_are_taken_and_brought_to_their_lanes(tmp_path: Path) -> None:
    ear = Ear(tmp_path)
    voice, _ = ear.connection()

    say(voice, hello(), ROUTE, an_offer(), an_offer())

    assert taken(tmp_path, "2") == taken(tmp_path, "3") == 2
    assert counted(tmp_path, "3") == {"sent": 2, "ok": 2, "stored": 2}


def test_messages_may_come_in_any_pieces(tmp_path: Path) -> None:
    ear = Ear(tmp_path)
    voice, _ = ear.connection()
    data = b"".join(map(encode, (hello(), ROUTE, an_offer(), an_offer())))

    for place in range(len(data)):
        voice.data_received(data[place : place + 1])

    assert taken(tmp_path) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\0\0\0\1\xc1",
        encode(ROUTE),
        encode(an_offer()),
        encode(hello()) + encode(an_offer(route=7)),
        encode(hello()) + b"\0\0\0\0",
    ],
)
def test_what_is_no_conversation_is_ended_with_a_word(tmp_path: Path, data: bytes) -> None:
    ear = Ear(tmp_path)
    voice, end = ear.connection()

    voice.data_received(data)

    assert end.closing
    assert [event for event, _ in ear.said] == ["offers-unreadable"]
    voice.connection_lost(None)
    assert not ear.intake.voices
    assert taken(tmp_path) == 0


def test_a_new_connection_of_a_worker_waits_for_the_end_of_the_former(tmp_path: Path) -> None:
    ear = Ear(tmp_path)
    former, _ = ear.connection()
    say(former, hello(at=1), ROUTE, an_offer())
    later, end = ear.connection()

    # What the former connection still holds is not lost yet, though the later one counts it as handed over.
    say(later, hello(("m", "2", 3), ("m", "3", 3), at=2), ROUTE, an_offer())
    assert not end.reading
    say(former, an_offer())
    former.connection_lost(None)

    assert end.reading
    assert counted(tmp_path) == {"skipped_shadow_lost": 1, "sent": 3, "ok": 3, "stored": 3}
    assert taken(tmp_path) == 4
    assert ear.said == [("offers-lost", {"worker": "worker-0", "count": 2})]


def test_a_connection_that_ended_while_it_waited_still_counts(tmp_path: Path) -> None:
    ear = Ear(tmp_path)
    voices = []
    for number in range(3):
        voice, _ = ear.connection()
        voices.append(voice)
        say(voice, hello(("m", "2", number), at=number), ROUTE, an_offer())

    voices[1].connection_lost(None)
    assert taken(tmp_path) == 1
    voices[0].connection_lost(None)

    assert taken(tmp_path) == 3
    assert counted(tmp_path)["sent"] == 3
    voices[2].connection_lost(None)
    assert not ear.intake.voices


def test_a_connection_heard_after_its_successor_is_not_taken(tmp_path: Path) -> None:
    """Both waited while the shadow process was down, and the later one was read first."""
    ear = Ear(tmp_path)
    former, former_end = ear.connection()
    later, _ = ear.connection()

    say(later, hello(("m", "2", 2), ("m", "3", 2), at=20), ROUTE, an_offer())
    say(former, hello(at=10), ROUTE, an_offer(), an_offer())

    assert former_end.closing
    assert taken(tmp_path) == 3
    assert counted(tmp_path) == {"skipped_shadow_lost": 2, "sent": 1, "ok": 1, "stored": 1}


def test_workers_do_not_wait_for_each_other(tmp_path: Path) -> None:
    ear = Ear(tmp_path)
    for number in range(3):
        voice, end = ear.connection()
        say(voice, hello(worker=f"worker-{number}"), ROUTE, an_offer())
        assert end.reading

    assert taken(tmp_path) == 3


def test_a_snapshot_that_comes_late_is_used_once_it_is_there(tmp_path: Path) -> None:
    """A shadow process that was slow to take a configuration must not lose all offers made under it."""
    late = snapshot_of("2")
    ear = Ear(tmp_path)
    voice, _ = ear.connection()
    say(voice, hello(), a_route(late), an_offer())
    assert counted(tmp_path) == {"skipped_shadow_lost": 1}

    ear.dispatch.use(late)
    say(voice, an_offer())

    assert counted(tmp_path) == {"skipped_shadow_lost": 1, "sent": 1, "ok": 1, "stored": 1}


def test_former_routes_are_forgotten(tmp_path: Path) -> None:
    ear = Ear(tmp_path)
    voice, end = ear.connection()
    say(voice, hello(), *(a_route(SNAPSHOT, number) for number in range(1, KEPT_ROUTES + 2)))

    say(voice, an_offer(route=2), an_offer(route=KEPT_ROUTES + 1))
    assert taken(tmp_path) == 2
    say(voice, an_offer(route=1))

    assert end.closing
    assert taken(tmp_path) == 2


def test_a_worker_that_connects_ends_what_was_followed_of_sequences(tmp_path: Path) -> None:
    def request(*, starts: bool = False) -> bytes:
        return b'{"parameters":{"sequence_id":5%b}}' % (b',"sequence_start":true' if starts else b"")

    ear = Ear(tmp_path)
    voice, _ = ear.connection()
    say(voice, hello(), ROUTE, an_offer(body=request(starts=True)), an_offer(body=request()))
    assert counted(tmp_path)["sent"] == 2

    say(ear.connection()[0], hello(worker="worker-1"), ROUTE, an_offer(body=request()))
    assert counted(tmp_path)["skipped_shadow_lost"] == 1

    say(voice, an_offer(body=request(starts=True)), an_offer(body=request()))
    assert counted(tmp_path)["sent"] == 4
    say(voice, Lost(1, ("5",)), an_offer(body=request()))
    assert counted(tmp_path)["skipped_shadow_lost"] == 2
    say(voice, Lost(99, None), an_offer())
    assert counted(tmp_path)["sent"] == 5


class World:
    """One worker's tap and the shadow process, joined by pipes; either may be killed at any time."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.pipes: list[Pipe] = []
        self.ear = Ear(directory)
        self.be_born()

    def be_born(self) -> None:
        self.counters = Counters(self.directory, "worker-0", 4096)
        self.tap = Tap("worker-0", "/nowhere/at/all", self.counters, queue_items=4, queue_bytes=2000)
        self.tapped: Tapped = self.tap.tapped(SNAPSHOT.id, SNAPSHOT.models["m"])

    def connect(self) -> None:
        if self.tap._transport is None:
            self.pipes.append(Pipe(self.tap, self.ear.intake.connection()))

    def offer(self, size: int) -> None:
        self.tap.offer(self.tapped, an_offer(route=self.tapped.number, body=b"x" * size))

    def skip(self, reason: str) -> None:
        self.tap.skip(self.tapped, reason)

    def flush(self) -> None:
        self.tap._flush()

    def deliver(self, which: int, size: int | None = None) -> None:
        open_ones = [pipe for pipe in self.pipes if pipe.heard]
        if open_ones:
            open_ones[which % len(open_ones)].deliver(size)

    def cut(self) -> None:
        for pipe in self.pipes:
            pipe.listener_gone(told=True)

    def kill_worker(self) -> None:
        for pipe in self.pipes:
            pipe.speaker_gone()
        self.tap._closing = True
        self.counters.close()
        self.be_born()

    def kill_shadow(self) -> None:
        for pipe in self.pipes:
            pipe.listener_gone()
        self.ear.counters.close()
        self.ear = Ear(self.directory)

    def rest(self) -> None:
        """Let everything end that can."""
        self.connect()
        self.resume()
        for _ in range(len(self.pipes) + 1):
            for pipe in self.pipes:
                pipe.deliver()

    def pause(self) -> None:
        self.tap.pause_writing()

    def resume(self) -> None:
        self.tap.resume_writing()


STEPS = st.one_of(
    st.tuples(st.just("offer"), st.sampled_from([1, 100, 900, 3000])),
    st.tuples(st.just("offer"), st.just(1)),
    st.tuples(st.just("skip"), st.sampled_from(["too_large", "client_gone", "champion_failed"])),
    st.tuples(st.sampled_from(["connect", "connect", "flush", "flush", "pause", "resume"])),
    st.tuples(st.just("deliver"), st.integers(0, 2), st.sampled_from([None, None, 1, 40, 300])),
    st.tuples(st.sampled_from(["cut", "kill_worker", "kill_shadow"])),
)


@given(st.lists(STEPS, max_size=40))
@settings(max_examples=150)
def test_whatever_dies_when_every_offer_is_accounted_for_once(steps: list[tuple[object, ...]]) -> None:
    async def play() -> None:
        with tempfile.TemporaryDirectory() as scratch:
            world = World(Path(scratch))
            eligible = 0
            for name, *arguments in steps:
                getattr(world, str(name))(*arguments)
                eligible += name in ("offer", "skip")
                assert min(imbalance(world.directory).values()) >= 0
                assert accounting(world.directory).in_flight >= 0
            world.rest()
            for challenger in ("2", "3"):
                found = accounting(world.directory, challenger)
                assert found.eligible == eligible
                assert found.balanced, found
                assert imbalance(world.directory, challenger) == AT_REST
                assert found.stored <= eligible
                assert found.skipped["too_large"] == offered(world.directory).get("too_large", 0)
            await world.tap.close(0)

    in_loop(play)


def test_a_real_tap_and_a_real_ear_over_a_real_socket(tmp_path: Path) -> None:
    """The same, once, over a Unix socket that is closed under the tap again and again."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        path = str(tmp_path / "s")
        ear = Ear(tmp_path / "books")
        server = await loop.create_unix_server(ear.intake.connection, path)
        counters = Counters(tmp_path / "books", "worker-0", 4096)
        tap = Tap("worker-0", path, counters, queue_items=1000, queue_bytes=1 << 26)
        tapped = tap.tapped(SNAPSHOT.id, SNAPSHOT.models["m"])
        tap.start()
        for round_ in range(10):
            for _ in range(200):
                tap.offer(tapped, an_offer(route=tapped.number, body=b"x" * 3000))
            await asyncio.sleep(0.003)
            if round_ % 3 == 2:
                for voice in list(ear.intake.voices):
                    voice.close()
        await tap.close(5.0)
        deadline = loop.time() + 20
        # The last connection's greeting may have to tell of losses that only one more greeting settles.
        last = Tap("worker-0", path, counters, queue_items=10, queue_bytes=1 << 20)
        last.start()
        while not accounting(tmp_path / "books").balanced:
            assert loop.time() < deadline, accounting(tmp_path / "books")
            await asyncio.sleep(0.01)
        await last.close(1.0)
        server.close()
        found = accounting(tmp_path / "books")
        assert found.eligible == 2000
        assert found.stored + sum(found.skipped.values()) == 2000
        assert found.stored > 0

    in_loop(play)


def test_routes_name_their_challengers_in_the_order_of_the_cells() -> None:
    assert RouteMessage(1, SNAPSHOT.id, "m", "champion", ("2", "3")) == ROUTE
