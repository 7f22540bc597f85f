"""Every request that challengers could see is offered or counted; the tap never waits and holds no more than it may."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.core.counters import Counters
from gateway.core.metrics import OFFERED, SKIP_REASONS
from gateway.core.offer import Decoder, Hello, Lost, Message, Offer, Route
from gateway.edge import tap as module
from gateway.edge.tap import FLUSH_AFTER_S, MAX_LOST_SEQUENCES, RECONNECT_AFTER_S, Tap, Tapped
from tests.edge.conftest import StartEdge
from tests.support.backends import Behaviour, Connection, Seen, answers, hangs, resets
from tests.support.configurations import snapshot
from tests.support.edges import EdgeUnderTest
from tests.support.fixtures import StartBackend
from tests.support.gateway_process import Json, config
from tests.support.loops import becomes, on_event_loop
from tests.support.polling import eventually
from tests.support.shadows import ListeningShadow
from tests.support.transports import FakeTransport
from tests.support.wire_client import chunked, get, post

INFER = "/v2/models/m/infer"
NOWHERE = "http://127.0.0.1:9"


def challenged(url: str, **keys: object) -> Json:
    """One model with champion 1 and the challengers 2 and 3."""
    versions = {name: {"urls": [url if name == "1" else NOWHERE]} for name in ("1", "2", "3")}
    return config({"m": {"versions": versions, "champion": "1", "challengers": {"2": {}, "3": {}}}}, **keys)


def offer_of(tapped: Tapped, body: bytes = b"{}", answer: bytes = b"{}") -> Offer:
    return Offer(tapped.number, "id", 1, 2, 3, "", "", "POST", INFER, b"", body, 200, "", "", "", answer)


@pytest.fixture
def counters(tmp_path: Path) -> Iterator[Counters]:
    counters = Counters(tmp_path / "counters", "worker-0")
    yield counters
    counters.close()


def counted(counters: Counters, challenger: str = "2") -> dict[str, int]:
    fields = {field: counters.value(OFFERED, ("m", challenger), field) for field in OFFERED.fields}
    return {field: value for field, value in fields.items() if value}


def tap_at(path: Path, counters: Counters, items: int = 1000, size: int = 10**6) -> tuple[Tap, Tapped]:
    tap = Tap("worker-0", str(path), counters, items, size)
    found = snapshot({**challenged(NOWHERE), "state": "/state"})
    return tap, tap.tapped(found.id, found.models["m"])


# -- the hand-over -----------------------------------------------------------------------------------------------------


@on_event_loop
async def test_offers_arrive_in_order_behind_a_greeting_and_their_route(tmp_path: Path, counters: Counters) -> None:
    with ListeningShadow(tmp_path / "shadow.sock") as shadow:
        tap, tapped = tap_at(tmp_path / "shadow.sock", counters)
        tap.start()
        sent = [offer_of(tapped, b"%d" % number) for number in range(100)]
        for offer in sent:
            tap.offer(tapped, offer)
        await becomes(lambda: len(shadow.offers) == 100, "all offers arrive")
        await tap.close(5)

        (messages,) = shadow.heard
        assert isinstance(messages[0], Hello)
        assert messages[0].worker == "worker-0"
        route = messages[1]
        assert isinstance(route, Route)
        assert (route.model, route.champion, route.challengers) == ("m", "1", ("2", "3"))
        assert messages[2:] == sent
    assert counted(counters) == counted(counters, "3") == {"eligible": 100}


@on_event_loop
async def test_offers_wait_for_a_shadow_that_starts_later(tmp_path: Path, counters: Counters) -> None:
    tap, tapped = tap_at(tmp_path / "shadow.sock", counters)
    tap.start()
    tap.offer(tapped, offer_of(tapped))
    await asyncio.sleep(3 * RECONNECT_AFTER_S)

    with ListeningShadow(tmp_path / "shadow.sock") as shadow:
        await becomes(lambda: len(shadow.offers) == 1, "the offer arrives")
        assert shadow.hellos[0].handed_over == (("m", "2", 0), ("m", "3", 0))
        await tap.close(5)


@on_event_loop
async def test_each_new_connection_says_what_was_handed_over_before(tmp_path: Path, counters: Counters) -> None:
    with ListeningShadow(tmp_path / "shadow.sock") as shadow:
        tap, tapped = tap_at(tmp_path / "shadow.sock", counters)
        tap.start()
        for _ in range(7):
            tap.offer(tapped, offer_of(tapped))
        tap.skip(tapped, "too_large")
        await becomes(lambda: len(shadow.offers) == 7, "they arrive")

        shadow.drops_connections()
        await becomes(lambda: len(shadow.hellos) == 2, "it connects again")
        tap.offer(tapped, offer_of(tapped))
        await becomes(lambda: len(shadow.offers) == 8, "the next arrives")
        await tap.close(5)

        assert [{(m, c): n for m, c, n in hello.handed_over} for hello in shadow.hellos] == [
            {("m", "2"): 0, ("m", "3"): 0},
            {("m", "2"): 7, ("m", "3"): 7},
        ]
        assert shadow.hellos[0].connected_us < shadow.hellos[1].connected_us
        assert len(shadow.routes) == 2
    assert counted(counters) == {"eligible": 9, "too_large": 1}


@on_event_loop
async def test_a_worker_that_comes_back_knows_what_its_predecessor_handed_over(tmp_path: Path) -> None:
    for number in range(2):
        counters = Counters(tmp_path / "counters", "worker-0")
        with ListeningShadow(tmp_path / "shadow.sock") as shadow:
            tap, tapped = tap_at(tmp_path / "shadow.sock", counters)
            tap.start()
            await becomes(lambda: len(shadow.hellos) == 1, "it greets")
            assert {(m, c): n for m, c, n in shadow.hellos[0].handed_over}.get(("m", "2"), 0) == 3 * number
            for _ in range(3):
                tap.offer(tapped, offer_of(tapped))
            await becomes(lambda: len(shadow.offers) == 3, "they arrive")
            await tap.close(5)
        counters.close()


@on_event_loop
async def test_a_connection_that_ends_at_once_leaves_no_second_one(tmp_path: Path, counters: Counters) -> None:
    tap, _ = tap_at(tmp_path / "shadow.sock", counters)
    tap.start()
    made, lost = FakeTransport(tap), FakeTransport(tap)
    tap.connection_made(lost)
    tap.connection_lost(None)
    tap.connection_made(made)
    tap.connection_lost(None)

    with ListeningShadow(tmp_path / "shadow.sock") as shadow:
        await becomes(lambda: shadow.heard, "it connects")
        await asyncio.sleep(4 * RECONNECT_AFTER_S)
        assert len(shadow.heard) == 1
        await tap.close(5)


# -- bounds ------------------------------------------------------------------------------------------------------------


@on_event_loop
async def test_the_queue_is_bounded_in_items_and_drops_the_newest(tmp_path: Path, counters: Counters) -> None:
    tap, tapped = tap_at(tmp_path / "shadow.sock", counters, items=5)
    for number in range(8):
        tap.offer(tapped, offer_of(tapped, b"%d" % number))
    assert counted(counters) == {"eligible": 8, "queue_full": 3}

    with ListeningShadow(tmp_path / "shadow.sock") as shadow:
        tap.start()
        await becomes(lambda: len(shadow.offers) == 5, "what was kept arrives")
        assert [offer.body for offer in shadow.offers] == [b"0", b"1", b"2", b"3", b"4"]
        await tap.close(5)


@on_event_loop
async def test_the_queue_is_bounded_in_bytes_too(tmp_path: Path, counters: Counters) -> None:
    tap, tapped = tap_at(tmp_path / "shadow.sock", counters, size=10_000)
    for _ in range(5):
        tap.offer(tapped, offer_of(tapped, b"x" * 3000))
    tap.offer(tapped, offer_of(tapped))
    assert counted(counters) == {"eligible": 6, "queue_bytes": 2}


@on_event_loop
async def test_a_shadow_that_does_not_read_costs_no_more_than_the_bounds(tmp_path: Path, counters: Counters) -> None:
    with ListeningShadow(tmp_path / "shadow.sock", reads=False) as shadow:
        tap, tapped = tap_at(tmp_path / "shadow.sock", counters, items=50)
        tap.start()
        await becomes(lambda: shadow.heard, "it connects")
        for _ in range(2000):
            tap.offer(tapped, offer_of(tapped, b"x" * 10_000))
            await asyncio.sleep(0)
        full = counted(counters)
        assert full["eligible"] == 2000
        assert full["queue_full"] > 1000

        shadow.reads_on()
        await becomes(lambda: len(shadow.offers) == 2000 - full["queue_full"], "the others arrive")
        tap.offer(tapped, offer_of(tapped))
        await becomes(lambda: len(shadow.offers) == 2001 - full["queue_full"], "it takes on")
        await tap.close(5)


@on_event_loop
async def test_a_reload_may_change_the_bounds(tmp_path: Path, counters: Counters) -> None:
    tap, tapped = tap_at(tmp_path / "shadow.sock", counters, items=1)
    tap.offer(tapped, offer_of(tapped))
    tap.offer(tapped, offer_of(tapped))
    tap.queue_items = 3
    tap.offer(tapped, offer_of(tapped))
    assert counted(counters) == {"eligible": 3, "queue_full": 1}


# -- the end -----------------------------------------------------------------------------------------------------------


@on_event_loop
async def test_what_waits_at_the_end_is_handed_over(tmp_path: Path, counters: Counters) -> None:
    with ListeningShadow(tmp_path / "shadow.sock") as shadow:
        tap, tapped = tap_at(tmp_path / "shadow.sock", counters, size=10**8)
        tap.start()
        await becomes(lambda: shadow.heard, "it connects")
        for _ in range(500):
            tap.offer(tapped, offer_of(tapped, b"x" * 5000))
        await tap.close(20)
        await becomes(lambda: len(shadow.offers) == 500, "all arrive")
    assert counted(counters) == {"eligible": 500}


@pytest.mark.parametrize("listening", [True, False])
@on_event_loop
async def test_what_cannot_be_handed_over_at_the_end_is_counted(
    tmp_path: Path, counters: Counters, listening: bool
) -> None:
    shadow = ListeningShadow(tmp_path / "shadow.sock", reads=False) if listening else None
    tap, tapped = tap_at(tmp_path / "shadow.sock", counters, size=10**8)
    tap.start()
    if shadow:
        await becomes(lambda: shadow.heard, "it connects")
    for _ in range(500):
        tap.offer(tapped, offer_of(tapped, b"x" * 20_000))
    await tap.close(0.1)

    found = counted(counters)
    assert found["eligible"] == 500
    assert 0 < found["shutdown"] <= 500
    assert (found["shutdown"] == 500) is not listening
    if shadow:
        shadow.reads_on()
        await becomes(lambda: len(shadow.offers) == 500 - found["shutdown"], "the others arrive")
        shadow.close()


@on_event_loop
async def test_offers_after_the_end_are_counted_as_such(tmp_path: Path, counters: Counters) -> None:
    tap, tapped = tap_at(tmp_path / "shadow.sock", counters)
    await tap.close(0.1)
    tap.offer(tapped, offer_of(tapped))
    assert counted(counters) == {"eligible": 1, "shutdown": 1}


# -- sequences ---------------------------------------------------------------------------------------------------------


async def _offered_after(tmp_path: Path, counters: Counters, *lost: str | None) -> list[Message]:
    """What the shadow hears of a request that follows the loss of requests of these sequences."""
    with ListeningShadow(tmp_path / "shadow.sock") as shadow:
        tap, tapped = tap_at(tmp_path / "shadow.sock", counters)
        for sequence in lost:
            tap.skip(tapped, "too_large", sequence)
        tap.offer(tapped, offer_of(tapped))
        tap.offer(tapped, offer_of(tapped))
        tap.start()
        await becomes(lambda: len(shadow.offers) == 2, "the offers arrive")
        await tap.close(5)
        return shadow.heard[0][2:]


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ((), None),
        (("",), None),
        (("a", "b", "a", ""), ("a", "b")),
        ((None,), ()),
        (("a", None, "b"), ()),
        (tuple(map(str, range(MAX_LOST_SEQUENCES + 1))), ()),
    ],
)
@on_event_loop
async def test_the_offer_after_a_loss_says_which_sequences_lost_a_request(
    tmp_path: Path, counters: Counters, lost: tuple[str | None, ...], told: tuple[str, ...] | None
) -> None:
    first, *others = await _offered_after(tmp_path, counters, *lost)
    if told is None:
        assert isinstance(first, Offer)
        return
    assert isinstance(first, Lost)
    assert first.sequences == told or (not told and first.sequences is None) or set(first.sequences or ()) == set(told)
    assert [type(message) for message in others] == [Offer, Offer]


@on_event_loop
async def test_a_loss_is_told_until_an_offer_has_room(tmp_path: Path, counters: Counters) -> None:
    tap, tapped = tap_at(tmp_path / "shadow.sock", counters, items=1)
    tap.offer(tapped, offer_of(tapped))
    tap.offer(tapped, offer_of(tapped, b'{"parameters":{"sequence_id":"s"}}'))
    tap.queue_items = 10
    tap.offer(tapped, offer_of(tapped))
    with ListeningShadow(tmp_path / "shadow.sock") as shadow:
        tap.start()
        await becomes(lambda: len(shadow.offers) == 2, "the offers arrive")
        assert [type(message).__name__ for message in shadow.heard[0]] == ["Hello", "Route", "Offer", "Lost", "Offer"]
        await tap.close(5)


# -- at every instant --------------------------------------------------------------------------------------------------


class ManualLoop:
    """An event loop whose timers run when the test says so."""

    def __init__(self) -> None:
        self.timers: list[object] = []
        self.connects = 0

    def call_later(self, delay: float, callback: object) -> None:
        assert delay == FLUSH_AFTER_S
        self.timers.append(callback)

    def create_task(self, coroutine: object) -> object:
        coroutine.close()  # type: ignore[attr-defined]
        self.connects += 1
        return SimpleNamespace(done=lambda: True)


class HandOver(RuleBasedStateMachine):
    """Whatever happens in whatever order: eligible = skipped + handed over + waiting, and no bound is passed."""

    @initialize(items=st.integers(1, 6), size=st.integers(200, 2000))
    def begin(self, items: int, size: int) -> None:
        self.directory = TemporaryDirectory()
        self.counters = Counters(Path(self.directory.name), "worker-0", capacity=10_000)
        self.loop = ManualLoop()

        async def make() -> Tap:
            return Tap("worker-0", "unused", self.counters, items, size)

        runner = asyncio.Runner()
        self.tap = runner.run(make())
        runner.close()
        self.tap._loop = self.loop  # type: ignore[assignment]
        self.size = size
        self.items = items
        found = snapshot({**challenged(NOWHERE), "state": "/state"})
        self.tapped = [self.tap.tapped(found.id, found.models["m"]) for _ in range(2)]
        self.transport: FakeTransport | None = None
        self.handed_over = 0
        self.eligible = 0
        self.skipped: Counter[str] = Counter()

    @rule(which=st.integers(0, 1), size=st.integers(0, 900), sequence=st.booleans())
    def offer(self, which: int, size: int, sequence: bool) -> None:
        tapped = self.tapped[which]
        before = counted(self.counters)
        self.tap.offer(tapped, offer_of(tapped, b'"sequence_id"' * sequence + b"x" * size))
        self.eligible += 1
        for reason in ("queue_full", "queue_bytes"):
            self.skipped[reason] += counted(self.counters).get(reason, 0) - before.get(reason, 0)

    @rule(
        which=st.integers(0, 1),
        reason=st.sampled_from(SKIP_REASONS),
        sequence=st.sampled_from(["", "a", None]),
    )
    def skip(self, which: int, reason: str, sequence: str | None) -> None:
        self.tap.skip(self.tapped[which], reason, sequence)
        self.eligible += 1
        self.skipped[reason] += 1

    @precondition(lambda self: self.transport is None)
    @rule()
    def connect(self) -> None:
        self.transport = FakeTransport(self.tap)
        self.decoder = Decoder()
        self.known: set[int] = set()
        self.greeted = False
        before = self.handed_over
        self.tap.connection_made(self.transport)
        self.take(before)

    @precondition(lambda self: self.transport is not None)
    @rule()
    def lose(self) -> None:
        assert self.transport is not None
        self.transport.lose()
        self.transport = None

    @precondition(lambda self: self.transport is not None)
    @rule()
    def stop_reading(self) -> None:
        self.tap.pause_writing()

    @precondition(lambda self: self.transport is not None)
    @rule()
    def read_on(self) -> None:
        self.tap.resume_writing()
        self.take(self.handed_over)

    @rule()
    def time_passes(self) -> None:
        timers, self.loop.timers = self.loop.timers, []
        for callback in timers:
            callback()  # type: ignore[operator]
        if self.transport is not None:
            self.take(self.handed_over)

    def take(self, before: int) -> None:
        assert self.transport is not None
        for message in self.decoder.feed(self.transport.taken()):
            if isinstance(message, Hello):
                assert not self.greeted
                self.greeted = True
                assert {(m, c): n for m, c, n in message.handed_over}.get(("m", "2"), 0) == before
            elif isinstance(message, Route):
                self.known.add(message.number)
            elif isinstance(message, Offer):
                assert self.greeted
                assert message.route in self.known
                self.handed_over += 1

    @invariant()
    def every_request_is_somewhere(self) -> None:
        waiting = len(self.tap._queue)
        found = counted(self.counters)
        assert found.pop("eligible", 0) == self.eligible
        assert found == {reason: count for reason, count in self.skipped.items() if count}
        assert self.eligible == sum(self.skipped.values()) + self.handed_over + waiting
        assert counted(self.counters) == counted(self.counters, "3")

    @invariant()
    def the_bounds_hold(self) -> None:
        frames = [frame for _, frame in self.tap._queue]
        assert len(frames) <= self.items
        assert sum(map(len, frames)) == self.tap._queued_bytes <= self.size

    def teardown(self) -> None:
        self.counters.close()
        self.directory.cleanup()


TestHandOver = HandOver.TestCase
TestHandOver.settings = settings(max_examples=60, stateful_step_count=40)


# -- what the edge offers ----------------------------------------------------------------------------------------------


@pytest.fixture
def shadow_of(request: pytest.FixtureRequest) -> Iterator[list[ListeningShadow]]:
    shadows: list[ListeningShadow] = []
    yield shadows
    for shadow in shadows:
        shadow.close()


def offered_by(edge: EdgeUnderTest, shadows: list[ListeningShadow], count: int) -> list[Offer]:
    """The first `count` offers of an edge."""
    shadows.append(ListeningShadow(edge.directory / "shadow.sock"))
    return eventually(lambda: len(shadows[-1].offers) >= count and shadows[-1].offers, "the offers arrive")


def test_a_request_is_offered_with_its_answer(
    start_edge: StartEdge, start_backend: StartBackend, shadow_of: list[ListeningShadow]
) -> None:
    fields = [("inference-header-content-length", "7"), ("content-encoding", "br")]
    backend = start_backend(answers(b"\x00answer", fields=fields))
    edge = start_edge(challenged(backend.url, tenant_header="X-Tenant", trusted_proxies=["127.0.0.0/8"]))

    answer = edge.asked(
        post(INFER + "?a=b", b'{"inputs": []}', "X-Tenant: acme", "Cookie: c", "Connection: x-hop", "X-Hop: 1")
    )

    (offer,) = offered_by(edge, shadow_of, 1)
    (route,) = shadow_of[0].routes
    assert (route.number, route.snapshot_id, route.champion) == (offer.route, edge.config_id, "1")
    assert offer.request_id == answer.field("x-request-id")
    assert (offer.tenant, offer.client, offer.method, offer.path) == ("acme", "127.0.0.1", "POST", INFER + "?a=b")
    assert (offer.body, offer.answer, offer.status) == (b'{"inputs": []}', b"\x00answer", 200)
    assert (offer.content_type, offer.content_encoding, offer.head_length) == ("application/json", "br", "7")
    assert 0 < offer.champion_us < 60 * 10**6
    seen = backend.requests[0].head
    assert offer.fields in seen
    assert b"cookie: c\r\n" in offer.fields
    assert b"x-hop" not in offer.fields
    assert edge.offered("m", "2") == edge.offered("m", "3") == {"eligible": 1}


def chunks_of(body: bytes, status: int = 200) -> Behaviour:
    """Answers in chunks that come one after the other."""

    async def behave(request: Seen, connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 %d OK\r\nTransfer-Encoding: chunked\r\n\r\n" % status)
        for byte in body:
            await connection.send(b"1\r\n%c\r\n" % byte)
            await asyncio.sleep(0.005)
        await connection.send(b"0\r\n\r\n")

    return behave


def test_bodies_in_parts_are_offered_whole_at_their_end(
    start_edge: StartEdge, start_backend: StartBackend, shadow_of: list[ListeningShadow]
) -> None:
    edge = start_edge(challenged(start_backend(chunks_of(b"answer")).url))
    body = b"a" * 400_000
    edge.asked(chunked(INFER, body[:250_000], body[250_000:]))
    (offer,) = offered_by(edge, shadow_of, 1)
    assert (offer.body, offer.answer) == (body, b"answer")


@pytest.mark.parametrize(
    ("sent", "behaviour", "offered"),
    [
        (post(INFER), answers(status=299), {"eligible": 1}),
        (post(INFER), answers(status=404), {"eligible": 1, "champion_failed": 1}),
        (post(INFER), answers(status=500), {"eligible": 1, "champion_failed": 1}),
        (post(INFER), resets(), {"eligible": 1, "champion_failed": 1}),
        (post(INFER, b"{}", "x-request-timeout-ms: 50"), hangs(), {"eligible": 1, "champion_failed": 1}),
        (post(INFER, b"a" * 1001), answers(), {"eligible": 1, "too_large": 1}),
        (post(INFER, b"a" * 1000), answers(b"b" * 1000), {"eligible": 1}),
        (post(INFER), answers(b"b" * 1001), {"eligible": 1, "too_large": 1}),
        (post(INFER), chunks_of(b"b" * 20), {"eligible": 1}),
        (chunked(INFER, b"a" * 1001), answers(), {"eligible": 1, "too_large": 1}),
        (post("/v2/models/m/versions/1/infer"), answers(), {}),
        (post("/v2/models/m/versions/2/infer"), answers(), {}),
        (get("/v2/models/m"), answers(), {}),
        (get(INFER), answers(), {}),
        (post("/v2/models/m/unknown"), answers(), {}),
        (post(INFER, b"{}", "x-shadow: 1"), answers(), {}),
    ],
)
def test_what_challengers_could_see(
    start_edge: StartEdge,
    start_backend: StartBackend,
    sent: bytes,
    behaviour: Behaviour,
    offered: dict[str, int],
) -> None:
    edge = start_edge(challenged(start_backend(behaviour).url, shadow={"body": 1000}))
    edge.asked(sent)
    assert edge.offered("m", "2") == edge.offered("m", "3") == offered


def test_a_request_whose_client_is_gone_is_counted_as_such(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend(hangs())
    edge = start_edge(challenged(backend.url))
    client = edge.connects()
    client.sends(post(INFER))
    eventually(lambda: backend.count, "the champion is asked")
    client.resets()
    eventually(lambda: edge.offered("m", "2") == {"eligible": 1, "client_gone": 1}, "it is counted")


def test_without_challengers_nothing_is_offered(start_edge: StartEdge, start_backend: StartBackend) -> None:
    model = {"versions": {"1": {"urls": [start_backend().url]}}, "champion": "1"}
    edge = start_edge(config({"m": model}))
    assert edge.asked(post(INFER)).status == 200
    assert edge.offered("m", "2") == {}


def test_a_reload_numbers_its_routes_anew_and_requests_keep_theirs(
    start_edge: StartEdge, start_backend: StartBackend, shadow_of: list[ListeningShadow]
) -> None:
    backend = start_backend()
    edge = start_edge(challenged(backend.url))
    first = edge.config_id
    edge.asked(post(INFER))
    edge.applies(challenged(backend.url, shadow={"body": 5000}))
    second = edge.config_id
    edge.asked(post(INFER))

    offers = offered_by(edge, shadow_of, 2)
    of_route = {route.number: route.snapshot_id for route in shadow_of[0].routes}
    assert [of_route[offer.route] for offer in offers] == [first, second]


@pytest.mark.interpreted
@on_event_loop
async def test_an_offer_larger_than_the_shadow_takes_is_counted_and_not_sent(
    tmp_path: Path, counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message that the shadow refuses would cost it the whole connection, and all that is on it."""
    monkeypatch.setattr(module, "MAX_MESSAGE_BYTES", 10_000)
    tap, tapped = tap_at(tmp_path / "shadow.sock", counters)
    tap.offer(tapped, offer_of(tapped, b"x" * 5000, b"y" * 5000))
    tap.offer(tapped, offer_of(tapped, b"x" * 5000, b"y" * 4500))
    assert counted(counters) == {"eligible": 2, "too_large": 1}


@on_event_loop
async def test_a_shadow_that_closes_every_connection_at_once_is_not_stormed(tmp_path: Path, counters: Counters) -> None:
    times: list[float] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        times.append(asyncio.get_running_loop().time())
        writer.close()

    server = await asyncio.start_unix_server(listen, tmp_path / "shadow.sock")
    tap, _ = tap_at(tmp_path / "shadow.sock", counters)
    tap.start()
    await becomes(lambda: len(times) == 4, "it connects again and again")
    await tap.close(1)
    server.close()

    assert min(later - former for former, later in pairwise(times)) > RECONNECT_AFTER_S / 2
