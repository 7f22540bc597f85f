"""One call of a challenger: what it is sent, what becomes of its answer, and the record that is left of both."""

import asyncio
import gc
import gzip
import zlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from gateway.core import counters
from gateway.core.journal import Journal, read, segments
from gateway.core.metrics import CHALLENGER_DURATION
from gateway.core.pair import Pair
from gateway.core.snapshot import Snapshot
from gateway.evidence import shadow_call
from gateway.evidence.dispatch import Dispatch
from gateway.evidence.lane import Job
from gateway.evidence.ledger import Ledger
from gateway.evidence.pairs import PREFIX, PairWriter
from gateway.evidence.shadow_call import CREDENTIALS, ShadowCaller, without_credentials
from gateway.http1.deadlines import Deadlines
from tests.support.backends import (
    Backend,
    Behaviour,
    Connection,
    Seen,
    answers,
    echoes,
    hangs,
    in_turn,
    never_ends,
    resets,
    resets_within_body,
    response,
    says_garbage,
)
from tests.support.fixtures import StartBackend, start_backend
from tests.support.shadowing import AT_REST, a_route, an_offer, books, counted, imbalance, snapshot_of

__all__ = ["start_backend"]


class Desk:
    """Everything of the shadow process behind its ear, on the loop it runs on."""

    def __init__(self, directory: Path, snapshot: Snapshot):
        self.directory = directory
        self.snapshot = snapshot
        self.counters = books(directory / "counters")
        ledger = Ledger(self.counters)
        self.journal = Journal(directory / "journal", PREFIX, 1 << 24)
        self.pairs = PairWriter(self.journal, ledger, lambda event, facts: None)
        self.crashes: list[tuple[str, Exception]] = []
        self.caller = ShadowCaller(
            self.counters,
            self.pairs,
            Deadlines(asyncio.get_running_loop()),
            lambda request_id, error: self.crashes.append((request_id, error)),
        )
        self.dispatch = Dispatch(ledger, self.caller)
        self.dispatch.use(snapshot)
        self.ledger = ledger

    def take(self, **changes: Any) -> None:
        self.ledger.cells[self.ledger.taken_at("worker-0", "m", "2")] += 1
        self.dispatch.take(an_offer(**changes), self.dispatch.plans(a_route(self.snapshot)))

    async def rest(self) -> list[Pair]:
        """Wait until nothing is in flight; every record in the journal."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + 30
        while not self.dispatch.idle:
            assert loop.time() < ends, "calls do not end"
            await asyncio.sleep(0.002)
        self.pairs.roll()
        return [
            msgspec.json.decode(line, type=Pair)
            for segment in segments(self.directory / "journal", PREFIX)
            for line in read(segment)
        ]

    def counted(self) -> dict[str, int]:
        return counted(self.directory / "counters")

    async def close(self) -> None:
        """Leave no connection open: a loop cannot be closed over one."""
        self.dispatch.stop()
        for pool in self.dispatch._registry.pools():
            pool.close()
        await asyncio.sleep(0.01)


def play(directory: Path, snapshot: Snapshot, test: Callable[[Desk], Coroutine[None, None, None]]) -> None:
    async def whole() -> None:
        desk = Desk(directory, snapshot)
        try:
            await test(desk)
        finally:
            await desk.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


def one_call(directory: Path, backend: Backend, offer: dict[str, Any] | None = None, **keys: Any) -> Pair:
    """One offer, brought to a challenger at `backend`; the record it leaves."""
    found: list[Pair] = []

    async def call(desk: Desk) -> None:
        desk.take(**(offer or {}))
        found.extend(await desk.rest())
        assert imbalance(directory / "counters") == AT_REST
        assert not desk.crashes
        assert desk.counted()["sent"] == 1
        assert desk.counted()[found[0].outcome] == 1

    play(directory, snapshot_of("2", urls={"2": keys.pop("url", backend.url)}, **keys), call)
    (pair,) = found
    return pair


def test_the_request_goes_as_it_came_but_for_its_secrets_and_with_a_mark(
    tmp_path: Path, start_backend: StartBackend
) -> None:
    backend = start_backend(echoes())
    fields = (
        b"content-type: application/json\r\ncookie: a=1\r\nauthorization: Bearer x\r\nx-request-id: r-1\r\nx-a: b\r\n"
    )

    one_call(
        tmp_path,
        backend,
        {"fields": fields, "path": "/score/it?deep=1", "body": b'{"x":1}'},
        url=f"{backend.url}/base",
    )

    (seen,) = backend.requests
    assert (seen.method, seen.path, seen.body) == ("POST", "/base/score/it?deep=1", b'{"x":1}')
    assert dict(seen.fields) == {
        "host": backend.url.removeprefix("http://"),
        "content-type": "application/json",
        "x-request-id": "r-1",
        "x-a": "b",
        "x-shadow": "1",
        "content-length": "7",
    }


@pytest.mark.parametrize("name", CREDENTIALS)
@pytest.mark.parametrize("where", [0, 1, 2])
def test_no_credential_goes_to_a_challenger(name: bytes, where: int) -> None:
    others = [b"accept: */*\r\n", b"x-%b-not: 1\r\n" % name]
    secrets = [b"%b: s3cr3t\r\n" % name] * 2
    lines = [*others[:where], *secrets, *others[where:]]

    assert without_credentials(b"".join(lines)) == b"".join(others)


def test_a_value_that_looks_like_a_credential_field_stays() -> None:
    section = b"x-a: cookie: b\r\nx-cookie: c\r\n"

    assert without_credentials(section) == section
    assert without_credentials(b"") == b""


def test_a_pair_says_all_there_is_to_say(tmp_path: Path, start_backend: StartBackend) -> None:
    backend = start_backend(answers(b'{"y":2}'))

    pair = one_call(
        tmp_path,
        backend,
        {"tenant": "UA", "champion_us": 777, "body": b'{"x":1,"origin":"JFK"}', "answer": b'{"y":1}', "status": 201},
        slices={"carrier": "tenant", "origin": "input:origin"},
        pairs={"payload": "body"},
        settings={"percent": 100},
    )

    assert pair.sequence == 1
    assert (pair.model, pair.champion, pair.challenger) == ("m", "champion", "2")
    assert (pair.outcome, pair.detail, pair.agree, pair.difference, pair.paths) == ("ok", "", False, 1.0, ("$.y",))
    assert pair.slices == {"carrier": "UA", "origin": "JFK"}
    assert (pair.tenant, pair.client, pair.path, pair.probability) == ("UA", "192.0.2.7", "/score", 1.0)
    assert (pair.champion_status, pair.champion_us, pair.challenger_status) == (201, 777, 200)
    assert pair.challenger_us > 0
    assert (pair.request, pair.champion_answer, pair.challenger_answer) == (
        '{"x":1,"origin":"JFK"}',
        '{"y":1}',
        '{"y":2}',
    )
    assert pair.request_form == pair.champion_form == pair.challenger_form == "text"
    assert len(pair.config_id) == 12


def hangs_in_body(request_head: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf") -> Behaviour:
    async def behave(request: Seen, connection: Connection) -> None:
        await connection.send(request_head)
        await asyncio.Event().wait()

    return behave


def says(data: bytes) -> Behaviour:
    async def behave(request: Seen, connection: Connection) -> None:
        connection.keep = False
        await connection.send(data)

    return behave


BOMB = zlib.compress(bytes(50_000_000), 9)
GZIP = [("content-encoding", "gzip")]


@pytest.mark.parametrize(
    ("behaviour", "outcome", "detail", "status"),
    [
        (answers(b'{"y":1}'), "ok", "", 200),
        (answers(b'{"y":1}', status=201), "ok", "", 201),
        (answers(gzip.compress(b'{"y":1}'), fields=GZIP), "ok", "", 200),
        (answers(b'{"y":1}', status=500), "error", "status 500", 500),
        (answers(b"", status=302, fields=[("location", "/elsewhere")]), "error", "status 302", 302),
        (answers(b"not gzip", status=503, fields=GZIP), "error", "status 503", 503),
        (answers(b"not gzip", fields=GZIP), "error", "the content is not gzip: ", 200),
        (answers(b"x", fields=[("content-encoding", "br")]), "error", "content coding 'br' is not", 200),
        (answers(BOMB, fields=[("content-encoding", "deflate")]), "error", "is larger than 60000 bytes when", 200),
        (answers(b"x" * 60_001), "error", "the answer is larger than 60000 bytes", 0),
        (never_ends(), "error", "the answer is larger than 60000 bytes", 0),
        (answers(b"not JSON"), "error", "the answer cannot be compared: ", 200),
        (answers(b""), "error", "the answer cannot be compared: ", 200),
        (answers(b"[" * 50_000), "error", "the answer cannot be compared: ", 200),
        (answers(b'{"y":"\xff"}'), "error", "the answer cannot be compared: ", 200),
        (hangs(), "timeout", "no whole answer within 0.3 s", 0),
        (hangs_in_body(), "timeout", "no whole answer within 0.3 s", 0),
        (resets(), "error", "closed the connection without an answer", 0),
        (resets_within_body(), "error", "ended before its end", 0),
        (says_garbage(), "error", "not valid HTTP/1.1", 0),
        (says(b"HTTP/1.1 200 OK\r\ncontent-le"), "error", "ended within its head", 0),
        (says(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), "error", "", 0),
        (says(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000), "error", "", 0),
        (says(b""), "error", "closed the connection without an answer", 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whatever_a_challenger_does_is_an_outcome(
    tmp_path: Path, start_backend: StartBackend, behaviour: Behaviour, outcome: str, detail: str, status: int
) -> None:
    pair = one_call(
        tmp_path, start_backend(behaviour), settings={"timeout": "300ms", "answer": 60_000}, pairs={"payload": "body"}
    )

    assert (pair.outcome, pair.challenger_status) == (outcome, status), pair
    assert detail in pair.detail
    assert pair.agree is (True if outcome == "ok" else None)


def test_a_challenger_that_is_not_there_is_an_error(tmp_path: Path, start_backend: StartBackend) -> None:
    backend = start_backend()
    backend.close()

    pair = one_call(tmp_path, backend)

    assert pair.outcome == "error"
    assert pair.detail.endswith("Connection refused") or "refused" in pair.detail.lower()


@pytest.mark.parametrize("payload", ["body", "digest", "none"])
def test_an_answer_is_kept_without_its_content_coding(
    tmp_path: Path, start_backend: StartBackend, payload: str
) -> None:
    """Equal answers have equal records, however they came over the wire."""
    text = b'{"y":[1,2,3]}'
    backend = start_backend(answers(text))

    pair = one_call(
        tmp_path,
        backend,
        {"answer": gzip.compress(text), "content_encoding": "gzip"},
        pairs={"payload": payload},
    )

    assert pair.agree is True
    assert (pair.champion_form, pair.champion_answer) == (pair.challenger_form, pair.challenger_answer)
    assert (pair.champion_answer == text.decode()) == (payload == "body")


@pytest.mark.parametrize(
    ("answer", "coding", "says"),
    [
        (b"not JSON", "", "the champion's answer cannot be compared: "),
        (b"not gzip", "gzip", "the champion's answer cannot be compared: the content is not gzip"),
        (BOMB, "deflate", "is larger than 1048576 bytes when decoded"),
    ],
    ids=["no JSON", "no gzip", "bomb"],
)
def test_a_champion_that_cannot_be_compared_is_not_held_against_the_challenger(
    tmp_path: Path, start_backend: StartBackend, answer: bytes, coding: str, says: str
) -> None:
    pair = one_call(tmp_path, start_backend(answers(b'{"y":1}')), {"answer": answer, "content_encoding": coding})

    assert (pair.outcome, pair.agree, pair.difference) == ("ok", None, None)
    assert says in pair.detail


def test_tensors_are_compared_in_json_and_in_binary(tmp_path: Path, start_backend: StartBackend) -> None:
    head = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}'
    backend = start_backend(
        answers(head + b"\0\0\x80\x3f", fields=[("inference-header-content-length", str(len(head)))])
    )
    champion = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1.5]}]}'

    pair = one_call(
        tmp_path,
        backend,
        {"answer": champion, "path": "/v2/models/m/infer"},
        protocol="open-inference",
        compare={"kind": "number", "output": "y", "tolerance": {"absolute": 0.5}},
    )

    assert (pair.outcome, pair.agree, pair.difference) == ("ok", True, 0.5)


def test_connections_are_used_again(tmp_path: Path, start_backend: StartBackend) -> None:
    backend = start_backend(echoes())

    async def calls(desk: Desk) -> None:
        for _ in range(20):
            desk.take()
        await desk.rest()
        assert desk.counted() == {"sent": 20, "ok": 20, "stored": 20}

    play(tmp_path, snapshot_of("2", urls={"2": backend.url}, settings={"concurrency": 1}), calls)
    assert backend.connections == 1


def test_a_call_that_met_a_stale_connection_is_made_again(tmp_path: Path, start_backend: StartBackend) -> None:
    def closing(status: int = 200) -> Behaviour:
        async def behave(request: Seen, connection: Connection) -> None:
            await connection.send(response(b'{"y":1}', status, [("content-type", "application/json")]))
            connection.keep = False

        return behave

    backend = start_backend(closing())

    async def calls(desk: Desk) -> None:
        for _ in range(5):
            desk.take()
            await desk.rest()
        assert desk.counted() == {"sent": 5, "ok": 5, "stored": 5}

    play(tmp_path, snapshot_of("2", urls={"2": backend.url}, settings={"concurrency": 1}), calls)


def test_no_call_is_made_twice_for_an_answer_that_failed(tmp_path: Path, start_backend: StartBackend) -> None:
    backend = start_backend(in_turn(resets(), answers(b'{"y":1}')))

    pair = one_call(tmp_path, backend)

    assert pair.outcome == "error"
    assert backend.count == 1


def test_failures_in_a_row_open_the_breaker_and_a_probe_closes_it(tmp_path: Path, start_backend: StartBackend) -> None:
    backend = start_backend(answers(b"", status=500))
    rules = {"concurrency": 1, "breaker": {"failures": 3, "open": "200ms"}}

    async def calls(desk: Desk) -> None:
        for _ in range(10):
            desk.take()
        await desk.rest()
        assert desk.counted() == {"sent": 3, "error": 3, "failure_stored": 3, "skipped_breaker_open": 7}
        backend.behave(answers(b'{"y":1}'))
        await asyncio.sleep(0.25)
        for _ in range(4):
            desk.take()
        await desk.rest()
        assert desk.counted()["ok"] == 4
        assert imbalance(tmp_path / "counters") == AT_REST

    play(tmp_path, snapshot_of("2", urls={"2": backend.url}, settings=rules), calls)


def test_what_is_in_flight_when_the_process_stops_is_cancelled_and_recorded(
    tmp_path: Path, start_backend: StartBackend
) -> None:
    backend = start_backend(hangs())

    async def calls(desk: Desk) -> None:
        for _ in range(5):
            desk.take()
        await asyncio.sleep(0.05)
        desk.dispatch.stop()
        found = await desk.rest()
        assert desk.counted() == {"sent": 2, "cancelled": 2, "failure_stored": 2, "skipped_shutdown": 3}
        assert {pair.outcome for pair in found} == {"cancelled"}
        assert imbalance(tmp_path / "counters") == AT_REST

    play(tmp_path, snapshot_of("2", urls={"2": backend.url}, settings={"concurrency": 2, "timeout": "60s"}), calls)


@pytest.mark.interpreted
@pytest.mark.parametrize("place", ["judge", "kept", "shadow_request"])
def test_a_defect_of_ours_is_one_error_and_never_a_hole_in_the_books(
    tmp_path: Path, start_backend: StartBackend, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    backend = start_backend(echoes())

    def breaks(*arguments: object) -> None:
        raise RuntimeError("a defect")

    async def calls(desk: Desk) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(shadow_call, place, breaks)
            desk.take()
            await desk.rest()
        assert [(request_id, str(error)) for request_id, error in desk.crashes] == [
            ("0192f3a0-0000-7000-8000-000000000001", "a defect")
        ]
        assert imbalance(tmp_path / "counters") == AT_REST
        # The probe of the breaker must not be lost either.
        for _ in range(2):
            await asyncio.sleep(0.01)
            desk.take()
            await desk.rest()
        assert desk.counted()["stored"] == 2
        assert imbalance(tmp_path / "counters") == AT_REST

    play(
        tmp_path, snapshot_of("2", urls={"2": backend.url}, settings={"breaker": {"failures": 1, "open": "1ms"}}), calls
    )


def test_durations_are_counted_in_buckets(tmp_path: Path, start_backend: StartBackend) -> None:
    one_call(tmp_path, start_backend(echoes()))

    fields = counters.totals(tmp_path / "counters")[CHALLENGER_DURATION.name, ("m", "2")]
    assert sum(value for field, value in fields.items() if field != "sum_us") == 1
    assert fields["sum_us"] > 0


@pytest.mark.parametrize(
    "behaviour",
    [echoes(), hangs(), resets(), resets_within_body(), says_garbage(), never_ends(), answers(status=500)],
    ids=["answers", "hangs", "resets", "breaks off", "garbage", "endless", "fails"],
)
def test_what_is_over_is_let_go_at_once(tmp_path: Path, start_backend: StartBackend, behaviour: Behaviour) -> None:
    """A mirrored request may hold megabytes: they must not wait for the garbage collector to look for cycles."""
    backend = start_backend(behaviour)

    async def calls(desk: Desk) -> None:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                desk.take()
            await desk.rest()
            await asyncio.sleep(0.05)
            left = [thing for thing in gc.get_objects() if isinstance(thing, Job)]
        finally:
            gc.enable()
        assert not left

    play(tmp_path, snapshot_of("2", urls={"2": backend.url}, settings={"timeout": "200ms"}), calls)
