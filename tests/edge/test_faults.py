"""What a client gets when a backend, the way to it, or the client itself fails; and that nothing is left behind."""

import asyncio
import socket

import pytest

from tests.edge.conftest import StartEdge
from tests.support.answers import Answer
from tests.support.backends import (
    Behaviour,
    Connection,
    Seen,
    answers,
    echoes,
    hangs,
    in_turn,
    resets,
    resets_within_body,
    says_garbage,
)
from tests.support.edges import EdgeUnderTest
from tests.support.fixtures import StartBackend
from tests.support.gateway_process import Json, config, one_model
from tests.support.polling import eventually
from tests.support.wire_client import get, post

PATH = "/models/echo/x"
LARGE = b"a" * 300_000


def timed(url: str, **keys: object) -> Json:
    """One plain JSON model, with these keys of its version."""
    model = {"protocol": "json", "versions": {"1": {"urls": [url], **keys}}, "champion": "1"}
    return config({"echo": model})


def writes(*parts: bytes, then: str = "close") -> Behaviour:
    """Writes these bytes and closes, resets or hangs."""

    async def behave(request: Seen, connection: Connection) -> None:
        for part in parts:
            await connection.send(part)
        if then == "hang":
            await asyncio.Event().wait()
        elif then == "reset":
            await connection.reset()
        connection.keep = False

    return behave


def fails(edge: EdgeUnderTest, sent: bytes, status: int, code: str) -> Answer:
    answer = edge.asked(sent)
    assert (answer.status, answer.code) == (status, code), answer
    assert edge.used == 0
    return answer


# -- the backend fails before its answer has begun --------------------------------------------------------------------


def test_a_backend_that_is_down_is_502(start_edge: StartEdge) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        edge = start_edge(one_model(f"http://127.0.0.1:{probe.getsockname()[1]}"))
        answer = fails(edge, post(PATH), 502, "upstream-unreachable")
    assert answer.field("x-model-version") == "1"
    assert edge.requests("echo", "1") == {"upstream_failed": 1}


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (resets(), "upstream-invalid"),
        (writes(), "upstream-invalid"),
        (says_garbage(), "upstream-invalid"),
        (writes(b"HTTP/1.1 200 OK\r\nContent-Le"), "upstream-invalid"),
        (writes(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), "upstream-invalid"),
        (writes(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", then="reset"), "upstream-invalid"),
        (writes(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"), "upstream-invalid"),
        (
            writes(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"),
            "upstream-invalid",
        ),
        (resets_within_body(), "upstream-invalid"),
    ],
)
def test_an_answer_that_breaks_before_its_first_byte_is_passed_on_is_502(
    start_edge: StartEdge, start_backend: StartBackend, behaviour: Behaviour, code: str
) -> None:
    edge = start_edge(one_model(start_backend(behaviour).url))
    fails(edge, post(PATH), 502, code)
    assert edge.requests("echo", "1") == {"upstream_failed": 1}


def test_the_connection_of_the_client_survives_a_failed_backend(
    start_edge: StartEdge, start_backend: StartBackend
) -> None:
    edge = start_edge(one_model(start_backend(in_turn(resets(), answers(b"well"))).url))
    with edge.connects() as client:
        assert client.asks(post(PATH)).status == 502
        assert client.asks(post(PATH)).body == b"well"


@pytest.mark.parametrize("body", [b"{}", b"a" * 100_000])
def test_a_stale_connection_is_not_seen_by_the_client(
    start_edge: StartEdge, start_backend: StartBackend, body: bytes
) -> None:
    backend = start_backend()
    edge = start_edge(one_model(backend.url))
    with edge.connects() as client:
        for _ in range(5):
            backend.behave(answers(b"first"))
            assert client.asks(post(PATH, body)).body == b"first"
            backend.behave(in_turn(resets(), answers(b"again")))
            answer = client.asks(post(PATH, body))
            assert (answer.status, answer.body) == (200, b"again")
    assert edge.requests("echo", "1") == {"2xx": 10}


def test_a_large_body_is_not_sent_twice(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend()
    edge = start_edge(one_model(backend.url))
    assert edge.asked(post(PATH)).status == 200
    backend.behave(in_turn(resets(), answers()))
    assert edge.asked(post(PATH, LARGE)).status == 502
    assert backend.count == 2


def test_a_head_request_is_replayed_as_one(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend()
    edge = start_edge(one_model(backend.url))
    assert edge.asked(post(PATH)).status == 200
    backend.behave(in_turn(resets(), writes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")))
    answer = edge.asked(get(PATH, method="HEAD"))
    assert (answer.status, answer.field("content-length"), answer.body) == (200, "5", b"")


def test_too_many_who_wait_for_a_connection_are_told_to_come_again(
    start_edge: StartEdge, start_backend: StartBackend
) -> None:
    backend = start_backend(hangs())
    edge = start_edge(timed(backend.url, connections=1))
    (pool,) = edge.does(lambda: list(edge.edge.pools()))
    edge.does(lambda: setattr(pool, "_pending", 1))
    with edge.connects() as running, edge.connects() as waiting:
        running.sends(post(PATH))
        eventually(lambda: backend.count == 1, "one runs")
        waiting.sends(post(PATH))
        eventually(lambda: edge.does(lambda: len(pool._waiting)) == 1, "one waits")

        answer = edge.asked(post(PATH))

        assert (answer.status, answer.code, answer.field("retry-after")) == (503, "overloaded", "1")
        assert edge.requests("echo", "1") == {"upstream_failed": 1}


# -- the answer breaks after its first byte ---------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello",
    ],
)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_answer_that_breaks_later_is_visibly_cut(
    start_edge: StartEdge, start_backend: StartBackend, wire: bytes, then: str, version: str
) -> None:
    edge = start_edge(one_model(start_backend(writes(wire, then=then)).url))
    with edge.connects() as client:
        client.sends(post(PATH).replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
        try:
            seen = client.until_closed()
        except AssertionError:
            seen = b""
        assert not seen.endswith(b"0\r\n\r\n")
        if b"Content-Length: 1000000" in wire:
            assert len(seen) < 1_000_000
    outcome = eventually(lambda: edge.requests("echo", "1"), "it is counted")
    assert outcome == {"upstream_failed": 1}
    assert edge.used == 0


def test_an_http_1_0_client_sees_a_cut_as_a_reset(start_edge: StartEdge, start_backend: StartBackend) -> None:
    """Where the end of the connection is the end of the answer, only a reset says that it came too early."""
    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    edge = start_edge(one_model(start_backend(writes(wire)).url))
    with edge.connects() as client:
        client.sends(post(PATH).replace(b"HTTP/1.1", b"HTTP/1.0"))
        with pytest.raises(ConnectionResetError):
            _read_to_the_end(client.socket)


def _read_to_the_end(connection: socket.socket) -> None:
    while connection.recv(65536):
        continue


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behaviour",
    [
        hangs(),
        writes(b"HTTP/1.1 200 OK\r\nContent-", then="hang"),
        writes(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", then="hang"),
        writes(b"HTTP/1.1 100 Continue\r\n\r\n", then="hang"),
    ],
)
def test_a_backend_that_takes_too_long_is_504(
    start_edge: StartEdge, start_backend: StartBackend, behaviour: Behaviour
) -> None:
    edge = start_edge(timed(start_backend(behaviour).url, timeout="100ms"))
    fails(edge, post(PATH), 504, "upstream-timeout")
    assert edge.requests("echo", "1") == {"upstream_timeout": 1}


def test_an_answer_that_stops_within_its_body_is_cut_in_time(
    start_edge: StartEdge, start_backend: StartBackend
) -> None:
    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    edge = start_edge(timed(start_backend(writes(wire, then="hang")).url, timeout="100ms"))
    with edge.connects() as client:
        client.sends(post(PATH))
        assert not client.until_closed().endswith(b"0\r\n\r\n")
    assert edge.requests("echo", "1") == {"upstream_timeout": 1}


@pytest.mark.parametrize(
    ("wished", "status"),
    [("50", 504), ("0", 504), ("60000", 200), ("x", 200), ("-1", 200), ("1.5", 200), ("999999999", 200)],
)
def test_a_client_may_give_less_time(
    start_edge: StartEdge, start_backend: StartBackend, wished: str, status: int
) -> None:
    backend = start_backend(hangs() if status == 504 else answers())
    edge = start_edge(one_model(backend.url))
    answer = edge.asked(post(PATH, b"{}", f"x-request-timeout-ms: {wished}"))
    assert answer.status == status


def test_a_client_may_not_take_more_time(start_edge: StartEdge, start_backend: StartBackend) -> None:
    edge = start_edge(timed(start_backend(hangs()).url, timeout="100ms"))
    assert edge.asked(post(PATH, b"{}", "x-request-timeout-ms: 60000")).status == 504


def test_a_body_that_does_not_come_in_time_is_the_clients_fault(
    start_edge: StartEdge, start_backend: StartBackend
) -> None:
    backend = start_backend()
    edge = start_edge(one_model(backend.url))
    with edge.connects() as client:
        client.sends(post(PATH, b"12345", "x-request-timeout-ms: 100")[:-1])
        answer = client.answer()
        assert (answer.status, answer.code) == (408, "request-timeout")
    assert backend.connections == 0
    assert edge.requests("echo", "1") == {"refused": 1}


def test_a_backend_that_does_not_read_a_large_body_is_504(start_edge: StartEdge) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        edge = start_edge(timed(f"http://127.0.0.1:{deaf.getsockname()[1]}"))
        with edge.connects() as client:
            client.socket.setblocking(False)
            request = post(PATH, b"a" * 4_000_000, "x-request-timeout-ms: 1000")
            sent = 0
            while not _readable(client.socket):
                try:
                    sent += client.socket.send(request[sent : sent + 65536])
                except BlockingIOError:
                    continue
            client.socket.settimeout(30)
            answer = client.answer()
            assert (answer.status, answer.code) == (504, "upstream-timeout")
    assert edge.requests("echo", "1") == {"upstream_timeout": 1}


def _readable(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def test_the_backends_time_does_not_run_while_the_client_sends(
    start_edge: StartEdge, start_backend: StartBackend
) -> None:
    edge = start_edge(timed(start_backend(echoes()).url, timeout="300ms"))
    with edge.connects() as client:
        request = post(PATH, LARGE)
        client.sends(request[:280_000])
        eventually(lambda: edge.used == 1, "the upload has begun")
        # Longer than the backend has for its answer.
        waited = asyncio.run(asyncio.wait_for(asyncio.sleep(0.6, True), 10))
        assert waited
        client.sends(request[280_000:])
        assert client.answer().body == LARGE


def test_a_slow_request_leaves_the_next_its_whole_time(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend(in_turn(hangs(), answers(b"well")))
    edge = start_edge(timed(backend.url, timeout="100ms"))
    with edge.connects() as client:
        assert client.asks(post(PATH)).status == 504
        assert client.asks(post(PATH)).body == b"well"


# -- the client is gone ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [post(PATH), post(PATH, LARGE), post(PATH, LARGE)[:-10]])
def test_the_call_of_a_client_that_is_gone_is_given_up(
    start_edge: StartEdge, start_backend: StartBackend, sent: bytes
) -> None:
    backend = start_backend(hangs())
    edge = start_edge(one_model(backend.url))
    client = edge.connects()
    client.sends(sent)
    eventually(lambda: edge.used == 1, "the call runs")

    client.resets()

    eventually(lambda: edge.used == 0, "the call is given up")
    assert edge.requests("echo", "1") == {"client_gone": 1}


def test_a_client_that_goes_while_its_answer_comes_ends_the_call(
    start_edge: StartEdge, start_backend: StartBackend
) -> None:
    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    edge = start_edge(one_model(start_backend(writes(wire, then="hang")).url))
    client = edge.connects()
    client.sends(post(PATH))
    assert client.socket.recv(65536)
    client.resets()
    eventually(lambda: edge.used == 0, "the call is given up")
    assert edge.requests("echo", "1") == {"client_gone": 1}


def test_a_client_that_goes_before_its_body_is_there_reaches_no_backend(
    start_edge: StartEdge, start_backend: StartBackend
) -> None:
    backend = start_backend()
    edge = start_edge(one_model(backend.url))
    client = edge.connects()
    client.sends(post(PATH, b"12345")[:-1])
    client.resets()
    eventually(lambda: edge.requests("echo", "1") == {"client_gone": 1}, "it is counted")
    assert backend.connections == 0


def test_many_clients_that_go_leave_nothing_behind(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend(hangs())
    edge = start_edge(timed(backend.url, connections=20))
    for _ in range(300):
        client = edge.connects()
        client.sends(post(PATH))
        client.resets()
    eventually(lambda: edge.used == 0, "every call is given up")
    eventually(lambda: not edge.edge.connections, "every connection is closed")
    backend.behave(answers(b"well"))
    assert edge.asked(post(PATH)).body == b"well"


# -- defects of ours ---------------------------------------------------------------------------------------------------


@pytest.mark.interpreted
def test_a_defect_is_a_500_and_is_told_as_what_it_is(
    start_edge: StartEdge, start_backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.edge import request

    def defect(*arguments: object) -> None:
        raise RuntimeError("a defect")

    edge = start_edge(one_model(start_backend().url))
    monkeypatch.setattr(request, "send_at_once", defect)

    answer = edge.asked(post(PATH))

    assert (answer.status, answer.code, answer.field("connection")) == (500, "internal", "close")
    ((request_id, error),) = edge.crashes
    assert str(error) == "a defect"
    assert edge.requests("echo", "1") == {"5xx": 1}
    assert request_id
    edge.crashes.clear()
