"""What the gateway does not forward, by which code, and that no backend hears of it."""

import pytest

from tests.edge.conftest import StartEdge
from tests.support.answers import Answer
from tests.support.backends import Backend, answers
from tests.support.edges import EdgeUnderTest
from tests.support.fixtures import StartBackend
from tests.support.gateway_process import config
from tests.support.wire_client import chunked, get, post

CAP = 1000


@pytest.fixture
def backend(start_backend: StartBackend) -> Backend:
    return start_backend(answers(b"{}"))


@pytest.fixture
def edge(start_edge: StartEdge, backend: Backend) -> EdgeUnderTest:
    versions = {"versions": {"1": {"urls": [backend.url]}, "2": {"urls": [backend.url]}}, "champion": "1"}
    models = {"m": versions, "j": {**versions, "protocol": "json"}}
    return start_edge(config(models, guards={"sizes": {"body": CAP}}))


def refused(edge: EdgeUnderTest, backend: Backend, sent: bytes, status: int, code: str) -> Answer:
    """Assert a refusal of ours that no backend has heard of."""
    answer = edge.asked(sent)
    assert (answer.status, answer.code) == (status, code), answer
    assert answer.json["status"] == status
    assert answer.json["instance"] == f"urn:uuid:{answer.field('x-request-id')}"
    assert answer.field("date") is not None
    assert backend.connections == 0
    assert edge.refusals(code) == 1
    return answer


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/unknown/infer",
        "/v2/models/unknown",
        "/v2/models/",
        "/v2/models/m/versions/9/infer",
        "/v2/models/m/versions/",
        "/v2/models/m/versions/1/infer/x",
        "/v2/models/j/infer",
        "/v2/models/caf%C3%A9/infer",
        "/models/unknown/x",
        "/models/m/x",
        "/models/",
        "/models/j/versions/9/x",
        "/models/j%20/x",
    ],
)
def test_a_model_or_version_that_is_not_there(edge: EdgeUnderTest, backend: Backend, path: str) -> None:
    refused(edge, backend, post(path), 404, "model-not-found")


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/", "/v3/models/m", "/v2/models", "/v2/models/m/x", "/metrics", "/V2"]
)
def test_a_path_that_means_nothing(edge: EdgeUnderTest, backend: Backend, path: str) -> None:
    refused(edge, backend, get(path), 404, "not-found")


def test_a_question_about_the_server_itself_is_one_too(edge: EdgeUnderTest, backend: Backend) -> None:
    refused(edge, backend, get("*", method="OPTIONS"), 404, "not-found")


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/models/m/load", "/v2/repository"])
def test_the_repository_is_closed_to_clients(edge: EdgeUnderTest, backend: Backend, path: str) -> None:
    refused(edge, backend, post(path), 403, "forbidden")


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/m/../m/infer",
        "/v2/models/./m/infer",
        "/v2/models/m/..",
        "/v2/models/m/..;/infer",
        "/models/j/..?x",
        "/models/j/a//b",
        "//v2/models/m/infer",
        "/models/j/a%2Fb",
        "/models/j/a%2fb",
        "/models/j/%2e%2e/b",
        "/models/j/%2E/b",
        "/models/j/a%5cb",
        "/models/j/a\\b",
        "/models/j/a%00b",
        "/models/j/a%",
        "/models/j/a%2",
        "/models/j/a%zz",
        "/v2/models/%6d%2finfer",
    ],
)
def test_a_path_that_could_mean_two_things(edge: EdgeUnderTest, backend: Backend, path: str) -> None:
    refused(edge, backend, get(path), 400, "bad-request")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v2/models/m/infer", "POST"),
        ("HEAD", "/v2/models/m/infer", "POST"),
        ("POST", "/v2/models/m", "GET, HEAD"),
        ("DELETE", "/v2/models/m/ready", "GET, HEAD"),
        ("PUT", "/v2/models/m/versions/1/infer", "POST"),
        ("POST", "/livez", "GET, HEAD"),
        ("OPTIONS", "/v2", "GET, HEAD"),
        ("TRACE", "/models/j/x", "DELETE, GET, HEAD, PATCH, POST, PUT"),
        ("OPTIONS", "/models/j/x", "DELETE, GET, HEAD, PATCH, POST, PUT"),
    ],
)
def test_a_method_that_does_not_fit(
    edge: EdgeUnderTest, backend: Backend, method: str, path: str, allowed: str
) -> None:
    if method == "HEAD":
        answer = edge.asked(get(path, method=method))
        assert (answer.status, answer.body, answer.field("allow")) == (405, b"", allowed)
        return
    answer = refused(edge, backend, get(path, method=method), 405, "method-not-allowed")
    assert answer.field("allow") == allowed


@pytest.mark.parametrize("name", ["x-shadow", "X-Shadow"])
@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/models/j/x", "/nothing"])
def test_a_shadow_of_a_shadow(edge: EdgeUnderTest, backend: Backend, name: str, path: str) -> None:
    refused(edge, backend, post(path, b"{}", f"{name}: 1"), 400, "shadow-not-allowed")


def test_a_body_over_the_cap_by_its_length(edge: EdgeUnderTest, backend: Backend) -> None:
    with edge.connects() as client:
        head, _, _ = post("/v2/models/m/infer", b"a" * (CAP + 1), "Expect: 100-continue").partition(b"\r\n\r\n")
        answer = client.asks(head + b"\r\n\r\n")
        assert (answer.status, answer.code, answer.field("connection")) == (413, "body-too-large", "close")
        assert client.until_closed() == b""
    assert backend.connections == 0
    assert edge.requests("m", "1") == {"refused": 1}


def test_a_body_over_the_cap_by_its_count(edge: EdgeUnderTest, backend: Backend) -> None:
    refused(edge, backend, chunked("/v2/models/m/infer", b"a" * CAP, b"b"), 413, "body-too-large")


def test_exactly_the_cap_passes(edge: EdgeUnderTest, backend: Backend) -> None:
    with edge.connects() as client:
        assert client.asks(post("/v2/models/m/infer", b"a" * CAP)).status == 200
        assert client.asks(chunked("/v2/models/m/infer", b"a" * (CAP - 1), b"b")).status == 200
        # A head that comes again is held to the cap like the first.
        assert client.asks(post("/v2/models/m/infer", b"a" * (CAP + 1))).status == 413
    assert [len(seen.body) for seen in backend.requests] == [CAP, CAP]


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad-request"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "uri-too-long"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431, "header-too-large"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "not-implemented"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417, "expectation-failed"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method-not-allowed"),
        (
            b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            400,
            "bad-request",
        ),
    ],
)
def test_what_breaks_http(edge: EdgeUnderTest, backend: Backend, sent: bytes, status: int, code: str) -> None:
    answer = refused(edge, backend, sent, status, code)
    assert answer.field("connection") == "close"


def test_a_refusal_of_a_known_model_names_the_version(edge: EdgeUnderTest) -> None:
    assert edge.asked(get("/v2/models/m/infer")).field("x-model-version") == "1"
    assert edge.asked(get("/v2/models/m/versions/2/infer")).field("x-model-version") == "2"
    assert edge.asked(get("/v2/models/unknown")).field("x-model-version") is None


def test_a_refusal_keeps_the_connection_where_the_body_is_read(edge: EdgeUnderTest) -> None:
    with edge.connects() as client:
        for _ in range(3):
            assert client.asks(post("/v2/models/unknown/infer")).status == 404
        assert client.asks(post("/v2/models/m/infer")).status == 200


# -- what is answered here ---------------------------------------------------------------------------------------------


def test_life_readiness_and_metadata_of_the_server(edge: EdgeUnderTest, backend: Backend) -> None:
    assert edge.asked(get("/livez")).json == {"live": True}
    assert edge.asked(get("/v2/health/live")).json == {"live": True}
    assert edge.asked(get("/readyz")).json == {"ready": True, "config_id": edge.config_id}
    assert edge.asked(get("/v2/health/ready")).status == 200
    server = edge.asked(get("/v2")).json
    assert server["name"] == "tiltyard"
    assert "binary_tensor_data" in server["extensions"]
    assert edge.asked(get("/livez", method="HEAD")).body == b""
    assert backend.connections == 0


def test_a_worker_that_stops_is_not_ready(edge: EdgeUnderTest) -> None:
    edge.does(lambda: setattr(edge.edge, "draining", True))
    answer = edge.asked(get("/readyz"))
    assert (answer.status, answer.json["ready"], answer.field("connection")) == (503, False, "close")


# -- where requests go -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "here", "there", "version"),
    [
        ("GET", "/v2/models/m", "/v2/models/m", "1"),
        ("GET", "/v2/models/m/ready", "/v2/models/m/ready", "1"),
        ("POST", "/v2/models/m/infer", "/v2/models/m/infer", "1"),
        ("GET", "/v2/models/m/versions/2", "/v2/models/m", "2"),
        ("GET", "/v2/models/m/versions/2/ready", "/v2/models/m/ready", "2"),
        ("POST", "/v2/models/m/versions/2/infer", "/v2/models/m/infer", "2"),
        ("POST", "/v2/models/m/versions/1/infer", "/v2/models/m/infer", "1"),
        ("POST", "/models/j/", "/", "1"),
        ("POST", "/models/j", "/", "1"),
        ("POST", "/models/j/predict", "/predict", "1"),
        ("GET", "/models/j/a/b%20c", "/a/b%20c", "1"),
        ("PATCH", "/models/j/versions/2/predict", "/predict", "2"),
        ("POST", "/models/j/versions/2", "/", "2"),
        ("POST", "/models/j/versionsx/2", "/versionsx/2", "1"),
    ],
)
def test_a_path_names_model_version_and_rest(
    edge: EdgeUnderTest, backend: Backend, method: str, here: str, there: str, version: str
) -> None:
    for query in ("", "?q=1"):
        answer = edge.asked(get(here + query, method=method))
        assert (answer.status, answer.field("x-model-version")) == (200, version)
        assert backend.requests[-1].path == there + query


def test_a_scanner_cannot_fill_the_table_of_paths(edge: EdgeUnderTest, backend: Backend) -> None:
    with edge.connects() as client:
        for number in range(1100):
            assert client.asks(get(f"/models/j/{number}")).status == 200
    assert {seen.path for seen in backend.requests} == {f"/{number}" for number in range(1100)}
