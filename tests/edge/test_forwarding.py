"""What of a request reaches the backend, and what of the answer reaches the client."""

import uuid

import pytest

from tests.edge.conftest import StartEdge
from tests.support.backends import Behaviour, Connection, Seen, answers, computes, echoes
from tests.support.edges import EdgeUnderTest
from tests.support.fixtures import StartBackend
from tests.support.gateway_process import Json, config
from tests.support.wire_client import chunked, get, post

INFER = "/v2/models/m/infer"


def open_inference(url: str, **keys: object) -> Json:
    """A configuration of one model `m` of the Open Inference Protocol."""
    return config({"m": {"versions": {"1": {"urls": [url]}}, "champion": "1", **keys}})


def writes(wire: bytes) -> Behaviour:
    """Answers with exactly these bytes, and closes where they say so."""

    async def behave(request: Seen, connection: Connection) -> None:
        await connection.send(wire)
        connection.keep = b"connection: close" not in wire.lower()

    return behave


def fields_of(seen: Seen) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in seen.fields]


# -- the request -------------------------------------------------------------------------------------------------------


def test_a_request_reaches_the_champion_as_it_was_sent(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend(answers(b'{"ok": true}'))
    edge = start_edge(open_inference(backend.url))

    answer = edge.asked(post(INFER + "?a=b%20c", b'{ "inputs" :[] }', "Content-Type: application/json", "X-Two: 1"))

    assert (answer.status, answer.body) == (200, b'{"ok": true}')
    (seen,) = backend.requests
    assert (seen.method, seen.path, seen.body) == ("POST", INFER + "?a=b%20c", b'{ "inputs" :[] }')
    assert seen.field("host") == f"127.0.0.1:{backend.port}"
    assert seen.field("content-length") == "16"
    assert seen.field("content-type") == "application/json"
    assert seen.field("x-two") == "1"
    assert seen.field("via") == "1.1 tiltyard"
    assert seen.field("x-request-id") == answer.field("x-request-id")


def test_the_path_of_the_backends_url_goes_before(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend()
    edge = start_edge(open_inference(f"{backend.url}/base/"))
    edge.asked(post(INFER))
    edge.asked(get("/v2/models/m"))
    assert [seen.path for seen in backend.requests] == [f"/base{INFER}", "/base/v2/models/m"]


@pytest.mark.parametrize(
    "fields",
    [
        ("Connection: keep-alive",),
        ("Keep-Alive: timeout=5",),
        ("Proxy-Authenticate: x", "Proxy-Authorization: secret", "Proxy-Connection: keep-alive"),
        ("TE: trailers",),
        ("Trailer: X-Late",),
        ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__"),
        ("Connection: X-Secret, x-other", "X-Secret: s", "X-Other: o", "x-secret: again"),
        ("Content_Length: 7", "Transfer_Encoding: chunked", "x_request_id: forged"),
        ("x-request-timeout-ms: 9000",),
        ("Expect: 100-continue",),
        ("X-Client-Request-Id: forged",),
    ],
)
def test_what_is_for_this_hop_goes_no_further(
    start_edge: StartEdge, start_backend: StartBackend, fields: tuple[str, ...]
) -> None:
    backend = start_backend()
    edge = start_edge(open_inference(backend.url))

    assert edge.asked(post(INFER, b"{}", "X-Kept: 1", *fields)).status == 200

    names = {name for name, _ in fields_of(backend.requests[0])}
    assert names == {"host", "content-length", "via", "x-request-id", "x-kept"}


def test_fields_keep_their_order_and_number(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend()
    edge = start_edge(open_inference(backend.url))
    edge.asked(post(INFER, b"{}", "X-B: 1", "X-A: 2", "x-b: 3", "Via: 1.0 other", "Cookie: a=b"))
    seen = [pair for pair in fields_of(backend.requests[0]) if pair[0] not in {"host", "content-length"}]
    assert seen[:5] == [("x-b", "1"), ("x-a", "2"), ("x-b", "3"), ("via", "1.0 other"), ("cookie", "a=b")]
    assert seen[5][0] == "x-request-id"
    assert seen[6] == ("via", "1.1 tiltyard")


def test_via_names_the_version_that_the_client_speaks(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend()
    edge = start_edge(open_inference(backend.url))
    edge.asked(b"POST %b HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}" % INFER.encode())
    assert backend.requests[0].field("via") == "1.0 tiltyard"


def test_a_repeated_head_says_the_same_to_the_backend_each_time(
    start_edge: StartEdge, start_backend: StartBackend
) -> None:
    backend = start_backend(echoes())
    edge = start_edge(open_inference(backend.url))
    with edge.connects() as client:
        for number in range(5):
            fields = ("X-Kept: 1", "Connection: X-Secret", "X-Secret: s", "X-Request-Id: mine")
            assert client.asks(post(INFER, b"a" * number, *fields)).body == b"a" * number

    assert [seen.body for seen in backend.requests] == [b"a" * number for number in range(5)]
    for seen in backend.requests:
        names = [name for name, _ in fields_of(seen)]
        assert names.count("content-length") == 1
        assert seen.field("x-secret") is None
        assert seen.field("x-kept") == "1"
        assert seen.field("x-client-request-id") == "mine"
    assert len({seen.field("x-request-id") for seen in backend.requests}) == 5


@pytest.mark.parametrize(
    ("sent", "framing"),
    [
        (post(INFER, b""), "0"),
        (post("/models/j/x", b"").replace(b"POST", b"PUT"), "0"),
        (get("/models/j/x"), None),
        (get("/models/j/x", method="DELETE"), None),
    ],
)
def test_an_empty_body_is_framed_where_one_is_expected(
    start_edge: StartEdge, start_backend: StartBackend, sent: bytes, framing: str | None
) -> None:
    backend = start_backend()
    version = {"versions": {"1": {"urls": [backend.url]}}, "champion": "1"}
    edge = start_edge(config({"m": version, "j": {**version, "protocol": "json"}}))
    assert edge.asked(sent).status == 200
    assert backend.requests[0].field("content-length") == framing


def test_a_chunked_body_is_gathered_and_framed_by_its_length(
    start_edge: StartEdge, start_backend: StartBackend
) -> None:
    backend = start_backend(echoes())
    edge = start_edge(open_inference(backend.url))
    assert edge.asked(chunked(INFER, b'{"a":', b" 1}")).body == b'{"a": 1}'
    assert backend.requests[0].field("content-length") == "8"
    assert backend.requests[0].field("transfer-encoding") is None


def test_a_body_in_many_segments_arrives_whole(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend(echoes())
    edge = start_edge(open_inference(backend.url))
    request = post(INFER, bytes(range(256)) * 20)
    with edge.connects() as client:
        for start in range(0, len(request), 700):
            client.sends(request[start : start + 700])
        assert client.answer().body == bytes(range(256)) * 20


# -- ids ---------------------------------------------------------------------------------------------------------------


def test_every_answer_has_an_id_that_is_a_uuid_of_version_7_and_grows(
    start_edge: StartEdge, start_backend: StartBackend
) -> None:
    edge = start_edge(open_inference(start_backend().url))
    with edge.connects() as client:
        ids = [client.asks(post(INFER)).field("x-request-id") for _ in range(20)]

    found = [uuid.UUID(made) for made in ids if made]
    assert len(set(found)) == 20
    assert {(one.version, one.variant) for one in found} == {(7, uuid.RFC_4122)}
    stamps = [one.int >> 80 for one in found]
    assert stamps == sorted(stamps)


@pytest.mark.parametrize("sent", [get("/livez"), get("/readyz"), get("/v2"), get("/nothing"), get("/v2/models/m")])
def test_answers_of_ours_have_one_too(start_edge: StartEdge, start_backend: StartBackend, sent: bytes) -> None:
    edge = start_edge(open_inference(start_backend().url))
    answer = edge.asked(sent.replace(b"\r\n\r\n", b"\r\nX-Request-Id: mine\r\n\r\n"))
    assert uuid.UUID(answer.field("x-request-id") or "").version == 7
    assert answer.field("x-client-request-id") == "mine"


@pytest.mark.parametrize(("sent", "kept"), [("mine-1", "mine-1"), ("a b", None), ("x" * 129, None), ("", None)])
def test_a_clients_own_id_is_kept_beside_ours_if_it_is_fit(
    start_edge: StartEdge, start_backend: StartBackend, sent: str, kept: str | None
) -> None:
    backend = start_backend()
    edge = start_edge(open_inference(backend.url))
    answer = edge.asked(post(INFER, b"{}", f"X-Request-Id: {sent}"))

    (seen,) = backend.requests
    assert (answer.field("x-client-request-id"), seen.field("x-client-request-id")) == (kept, kept)
    assert answer.field("x-request-id") == seen.field("x-request-id") != sent


# -- the answer --------------------------------------------------------------------------------------------------------


def test_the_answer_is_the_backends_but_for_what_is_ours(start_edge: StartEdge, start_backend: StartBackend) -> None:
    wire = (
        b"HTTP/1.1 201 Made\r\nX-B: 1\r\nSet-Cookie: a=b\r\nX-B: 2\r\nset-cookie: c=d\r\nServer: them\r\n"
        b"Content-Type: application/json\r\nX-Request-Id: theirs\r\nX-Model-Version: theirs\r\n"
        b"Via: 1.1 them\r\nDate: Mon, 23 Nov 2026 07:00:00 GMT\r\nContent-Length: 2\r\n\r\n{}"
    )
    edge = start_edge(open_inference(start_backend(writes(wire)).url))

    answer = edge.asked(post(INFER))

    assert (answer.status, answer.body) == (201, b"{}")
    assert [pair for pair in answer.fields if pair[0] in {"x-b", "set-cookie", "server", "content-type"}] == [
        ("x-b", "1"),
        ("set-cookie", "a=b"),
        ("x-b", "2"),
        ("set-cookie", "c=d"),
        ("server", "them"),
        ("content-type", "application/json"),
    ]
    assert answer.field("x-model-version") == "1"
    assert answer.field("x-request-id") != "theirs"
    assert answer.field("date") == "Mon, 23 Nov 2026 07:00:00 GMT"
    assert [value for name, value in answer.fields if name == "via"] == ["1.1 them", "1.1 tiltyard"]
    assert answer.field("connection") is None


@pytest.mark.parametrize(
    "fields",
    [
        "Connection: X-Inner, close\r\nX-Inner: secret\r\n",
        "Connection: x-inner\r\nConnection: x-too\r\nx-inner: 1\r\nX-Too: 2\r\n",
        "Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n",
        "Upgrade: h2c\r\nTrailer: X-Late\r\n",
        "X-Client-Request-Id: forged\r\n",
    ],
)
def test_what_an_answer_says_for_this_hop_ends_here(
    start_edge: StartEdge, start_backend: StartBackend, fields: str
) -> None:
    wire = f"HTTP/1.1 200 OK\r\nX-Kept: 1\r\n{fields}Content-Length: 2\r\n\r\n{{}}".encode()
    edge = start_edge(open_inference(start_backend(writes(wire)).url))
    with edge.connects() as client:
        for _ in range(3):
            answer = client.asks(post(INFER))
            names = {name for name, _ in answer.fields}
            assert names == {"x-kept", "content-length", "x-request-id", "x-model-version", "via", "date"}


@pytest.mark.parametrize("status", [200, 299, 301, 400, 404, 429, 500, 503, 599])
def test_a_backends_own_status_and_body_pass_through(
    start_edge: StartEdge, start_backend: StartBackend, status: int
) -> None:
    edge = start_edge(open_inference(start_backend(answers(b'{"error": "mine"}', status)).url))
    answer = edge.asked(post(INFER))
    assert (answer.status, answer.body) == (status, b'{"error": "mine"}')
    assert edge.requests("m", "1") == {f"{status // 100}xx": 1}


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: x\r\n\r\n", 304),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", 304),
    ],
)
def test_answers_without_a_body(start_edge: StartEdge, start_backend: StartBackend, wire: bytes, status: int) -> None:
    edge = start_edge(open_inference(start_backend(writes(wire)).url))
    with edge.connects() as client:
        for _ in range(2):
            answer = client.asks(post(INFER))
            assert (answer.status, answer.body) == (status, b"")


def test_head_is_asked_as_head_and_answered_without_a_body(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend(writes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"))
    edge = start_edge(open_inference(backend.url))
    with edge.connects() as client:
        for _ in range(2):
            answer = client.asks(get("/v2/models/m", method="HEAD"))
            assert (answer.status, answer.field("content-length")) == (200, "5")
    assert [seen.method for seen in backend.requests] == ["HEAD", "HEAD"]


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_answer_is_framed_for_the_client(
    start_edge: StartEdge, start_backend: StartBackend, wire: bytes, version: str
) -> None:
    edge = start_edge(open_inference(start_backend(writes(wire)).url))
    with edge.connects() as client:
        client.sends(post(INFER).replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
        answer = client.answer()
        assert (answer.status, answer.body, answer.field("x-late")) == (200, b"hello", None)
        if version == "1.0":
            assert answer.field("transfer-encoding") is None
            assert client.until_closed() == b""


def test_an_answer_in_parts_reaches_the_client_in_parts(start_edge: StartEdge, start_backend: StartBackend) -> None:
    from asyncio import Event

    go_on: list[Event] = []

    async def in_parts(request: Seen, connection: Connection) -> None:
        go_on.append(Event())
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await go_on[-1].wait()
        await connection.send(b"6\r\nsecond\r\n0\r\n\r\n")

    backend = start_backend(in_parts)
    edge = start_edge(open_inference(backend.url))
    with edge.connects() as client:
        client.sends(post(INFER))
        seen = b""
        while b"first" not in seen:
            seen += client.socket.recv(65536)
        assert b"second" not in seen
        backend._loop.call_soon_threadsafe(go_on[0].set)
        while not seen.endswith(b"0\r\n\r\n"):
            seen += client.socket.recv(65536)
        assert seen.endswith(b"5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n")


def test_a_connection_carries_many_requests_and_so_does_the_backends(
    start_edge: StartEdge, start_backend: StartBackend
) -> None:
    backend = start_backend(computes(lambda seen: seen.body.decode()))
    edge = start_edge(open_inference(backend.url))
    with edge.connects() as client:
        for number in range(50):
            assert client.asks(post(INFER, b"%d" % number)).json == str(number)
    assert (backend.count, backend.connections) == (50, 1)


def test_pipelined_requests_are_answered_in_order(start_edge: StartEdge, start_backend: StartBackend) -> None:
    edge = start_edge(open_inference(start_backend(echoes()).url))
    with edge.connects() as client:
        client.sends(b"".join(post(INFER, b"%d" % number) for number in range(200)))
        assert [client.answer().body for _ in range(200)] == [b"%d" % number for number in range(200)]


# -- replicas ----------------------------------------------------------------------------------------------------------


def of_replicas(*urls: str) -> Json:
    return config({"m": {"versions": {"1": {"urls": list(urls)}}, "champion": "1"}})


@pytest.mark.parametrize("same_connection", [True, False])
def test_replicas_take_turns(start_edge: StartEdge, start_backend: StartBackend, same_connection: bool) -> None:
    backends = [start_backend(), start_backend()]
    edge = start_edge(of_replicas(*(backend.url for backend in backends)))
    with edge.connects() as client:
        for _ in range(20):
            assert (client.asks if same_connection else edge.asked)(post(INFER)).status == 200
    assert [backend.count for backend in backends] == [10, 10]


def sequence_homes(edge: EdgeUnderTest, whole: bool) -> None:
    for number in range(30):
        body = b'{"parameters": {"sequence_id": %d}, "inputs": []}' % (number % 3 + 1)
        request = post(INFER, body)
        with edge.connects() as client:
            if whole:
                client.sends(request)
            else:
                client.sends(request[:-20])
                edge.does(lambda: None)
                client.sends(request[-20:])
            assert client.answer().status == 200


@pytest.mark.parametrize("whole", [True, False])
def test_a_sequence_stays_with_its_replica(start_edge: StartEdge, start_backend: StartBackend, whole: bool) -> None:
    backends = [start_backend() for _ in range(3)]
    edge = start_edge(of_replicas(*(backend.url for backend in backends)))
    sequence_homes(edge, whole)
    homes = [{seen.body for seen in backend.requests} for backend in backends]
    assert sum(len(home) for home in homes) == 3
