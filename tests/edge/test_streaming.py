"""Large bodies pass in both directions as fast as their slowest reader, and never pile up here."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.edge.conftest import StartEdge
from tests.support.backends import echoes
from tests.support.fixtures import StartBackend, StartGateway
from tests.support.gateway_process import Json, config
from tests.support.polling import eventually
from tests.support.sinks import Sink
from tests.support.wire_client import WireClient, chunked, get, post

PATH = "/models/m/x"
MEGABYTE = 1_000_000
LARGE = 200 * MEGABYTE


def unlimited(url: str, **keys: object) -> Json:
    """One plain JSON model without a body cap."""
    model = {"protocol": "json", "versions": {"1": {"urls": [url]}}, "champion": "1", "timeout": "60s"}
    return config({"m": model}, guards={"sizes": {"mode": "off"}}, **keys)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


@pytest.mark.parametrize("size", [256 * 1024, 256 * 1024 + 1, 3 * MEGABYTE])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_large_body_arrives_byte_for_byte(
    start_edge: StartEdge, start_backend: StartBackend, size: int, framing: str
) -> None:
    backend = start_backend(echoes())
    edge = start_edge(unlimited(backend.url))
    body = bytes(range(251)) * (size // 251) + b"x" * (size % 251)
    pieces = [body[at : at + 70_001] for at in range(0, size, 70_001)]
    with edge.connects() as client:
        for _ in range(2):
            client.sends(post(PATH, body) if framing == "length" else chunked(PATH, *pieces))
            answer = client.answer()
            assert answer.body == body
            assert answer.field("content-length") == str(size)


def test_a_large_body_keeps_its_framing(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend()
    edge = start_edge(unlimited(backend.url))
    edge.asked(post(PATH, b"a" * MEGABYTE))
    edge.asked(chunked(PATH, *[b"a" * 100_000] * 10))
    first, second = backend.requests
    assert (first.field("content-length"), first.field("transfer-encoding")) == (str(MEGABYTE), None)
    assert (second.field("content-length"), second.field("transfer-encoding")) == (None, "chunked")
    assert len(first.body) == len(second.body) == MEGABYTE


def test_a_body_over_the_cap_is_refused_while_it_streams(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend()
    settings = unlimited(backend.url)
    edge = start_edge({**settings, "guards": {"sizes": {"body": 600_000}}})
    with edge.connects() as client:
        sending = threading.Thread(target=_send_what_is_taken, args=(client, chunked(PATH, *[b"a" * 50_000] * 20)))
        sending.start()
        answer = client.answer()
        sending.join(30)
    assert (answer.status, answer.code) == (413, "body-too-large")
    assert backend.count == 0
    assert edge.requests("m", "1") == {"refused": 1}


def _send_what_is_taken(client: WireClient, data: bytes) -> None:
    try:
        client.sends(data)
    except OSError:
        return


def test_a_backend_may_answer_before_it_has_read_the_body(start_edge: StartEdge, sink: Sink) -> None:
    edge = start_edge(unlimited(sink.url))
    with edge.connects() as client:
        sending = threading.Thread(target=_send_what_is_taken, args=(client, post("/models/m/early", b"a" * LARGE)))
        sending.start()
        answer = client.answer()
        sending.join(30)
    assert (answer.status, answer.body) == (422, b"early")
    assert answer.field("connection") == "close"
    assert edge.requests("m", "1") == {"4xx": 1}


def test_a_client_that_waits_is_asked_for_a_large_body_too(start_edge: StartEdge, start_backend: StartBackend) -> None:
    edge = start_edge(unlimited(start_backend(echoes()).url))
    with edge.connects() as client:
        head, _, body = post(PATH, b"a" * 400_000, "Expect: 100-continue").partition(b"\r\n\r\n")
        assert client.asks(head + b"\r\n\r\n").status == 100
        client.sends(body)
        assert client.answer().body == b"a" * 400_000


def test_a_slow_reader_slows_the_backend_and_nobody_else(start_edge: StartEdge, sink: Sink) -> None:
    edge = start_edge(unlimited(sink.url))
    slow = edge.connects()
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    slow.sends(get(f"/models/m/bytes/{100 * MEGABYTE}"))
    assert slow.socket.recv(1000)

    def stalled() -> bool:
        before = sink.written
        edge.does(lambda: None)
        for _ in range(20):
            assert edge.asked(get("/models/m/bytes/10")).body == b"x" * 10
        return sink.written - before < 1000

    eventually(stalled, "the backend is stalled")
    assert sink.written < 30 * MEGABYTE
    slow.socket.close()
    eventually(lambda: edge.used == 0, "the call is given up")


def test_a_slow_backend_slows_the_client_and_nobody_else(start_edge: StartEdge, sink: Sink) -> None:
    edge = start_edge(unlimited(sink.url))
    with edge.connects() as client:
        client.socket.setblocking(False)
        request = post("/models/m/stall", b"a" * (50 * MEGABYTE))
        sent = 0

        def stalled() -> bool:
            nonlocal sent
            before = sent
            try:
                while True:
                    sent += client.socket.send(request[sent : sent + 65536])
            except BlockingIOError:
                assert edge.asked(get("/models/m/bytes/10")).status == 200
            return sent == before

        eventually(stalled, "the client is stalled")
        assert sent < 30 * MEGABYTE

        sink.goes_on()
        client.socket.settimeout(30)
        client.sends(request[sent:])
        assert client.answer().body == b"%d" % (50 * MEGABYTE)


# -- memory ------------------------------------------------------------------------------------------------------------

MEBIBYTE = 1024 * 1024


def resident(pid: int) -> tuple[int, int]:
    """Bytes of memory that a process holds, and the most it ever held."""
    with open(f"/proc/{pid}/status") as status:
        found = dict(line.split(":", 1) for line in status)
    return tuple(int(found[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


@contextmanager
def connected(url: str) -> Iterator[WireClient]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    with WireClient(host, int(port)) as client:
        client.socket.settimeout(120)
        yield client


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_200_megabytes_pass_in_flat_memory(start_gateway: StartGateway, sink: Sink, direction: str) -> None:
    gateway = start_gateway(unlimited(sink.url))
    pid = gateway.pids()["worker 0"]
    with connected(gateway.inference) as client:
        # Whatever the first large body costs once is not growth.
        for size in (10 * MEGABYTE, LARGE):
            if size == LARGE:
                before, _ = resident(pid)
            if direction == "upload":
                client.sends(get("/models/m/count", f"Content-Length: {size}", method="POST"))
                piece = b"a" * MEGABYTE
                for _ in range(size // MEGABYTE):
                    client.sends(piece)
                assert client.answer().body == b"%d" % size
            else:
                client.sends(get(f"/models/m/bytes/{size}"))
                _read_body(client, size)

    after, most = resident(pid)
    assert most - before < 20 * MEBIBYTE
    assert after - before < 20 * MEBIBYTE


def _read_body(client: WireClient, size: int) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.socket.recv(4096)
    assert b"content-length: %d\r\n" % size in head.lower()
    left = size - len(head.partition(b"\r\n\r\n")[2])
    while left:
        part = len(client.socket.recv(MEGABYTE))
        assert part, "cut"
        left -= part
