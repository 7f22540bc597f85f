"""A reload swaps the routes under running connections; every request ends on the snapshot it began on."""

import pytest

from tests.edge.conftest import StartEdge
from tests.support.backends import answers, echoes, hangs
from tests.support.edges import LOGGED
from tests.support.fixtures import StartBackend
from tests.support.gateway_process import Json, config
from tests.support.polling import eventually
from tests.support.wire_client import chunked, get, post

INFER = "/v2/models/m/infer"


def champion(name: str, **urls: str) -> Json:
    """One model with a version per URL, `name` the champion."""
    versions = {version.removeprefix("v"): {"urls": [url]} for version, url in urls.items()}
    return config({"m": {"versions": versions, "champion": name}}, access_log=LOGGED)


def test_the_next_request_goes_to_the_new_champion(start_edge: StartEdge, start_backend: StartBackend) -> None:
    one, two = start_backend(answers(b"one")), start_backend(answers(b"two"))
    edge = start_edge(champion("1", v1=one.url, v2=two.url))
    with edge.connects() as client:
        seen = []
        for name in ("1", "2", "1"):
            edge.applies(champion(name, v1=one.url, v2=two.url))
            answer = client.asks(post(INFER))
            seen.append((answer.field("x-model-version"), answer.body))
    assert seen == [("1", b"one"), ("2", b"two"), ("1", b"one")]
    assert [line["version"] for line in edge.log_lines()] == ["1", "2", "1"]
    assert len({line["config_id"] for line in edge.log_lines()}) == 2


def test_connections_to_backends_that_stay_are_kept(start_edge: StartEdge, start_backend: StartBackend) -> None:
    one, two = start_backend(), start_backend()
    edge = start_edge(champion("1", v1=one.url, v2=two.url))
    for name in ("1", "2", "1", "2"):
        edge.applies(champion(name, v1=one.url, v2=two.url))
        assert edge.asked(post(INFER)).status == 200
    assert (one.connections, two.connections) == (1, 1)


def test_connections_to_backends_that_go_are_closed(start_edge: StartEdge, start_backend: StartBackend) -> None:
    one, two = start_backend(), start_backend()
    edge = start_edge(champion("1", v1=one.url))
    assert edge.asked(post(INFER)).status == 200
    assert edge.does(lambda: sum(pool.idle for pool in edge.edge.pools())) == 1

    edge.applies(champion("2", v2=two.url))

    assert edge.does(lambda: sum(pool.idle for pool in edge.edge.pools())) == 0
    assert edge.asked(post(INFER)).field("x-model-version") == "2"


def test_a_running_request_ends_on_its_own_snapshot(start_edge: StartEdge, start_backend: StartBackend) -> None:
    one, two = start_backend(hangs()), start_backend(answers(b"two"))
    edge = start_edge(champion("1", v1=one.url))
    first = edge.config_id
    with edge.connects() as client:
        client.sends(post(INFER, b"{}", "x-request-timeout-ms: 500"))
        eventually(lambda: one.count, "the first backend is asked")
        edge.applies(champion("2", v2=two.url))

        answer = client.answer()
        assert (answer.status, answer.field("x-model-version")) == (504, "1")
        assert client.asks(post(INFER)).body == b"two"
    line, following = edge.log_lines()
    assert (line["config_id"], line["version"]) == (first, "1")
    assert (following["config_id"], following["version"]) == (edge.config_id, "2")


def test_a_request_whose_body_is_still_coming_is_served_by_the_version_it_began_with(
    start_edge: StartEdge, start_backend: StartBackend
) -> None:
    one, two = start_backend(echoes()), start_backend(answers(b"two"))
    edge = start_edge(champion("1", v1=one.url))
    with edge.connects() as client:
        request = post(INFER, b"hello")
        client.sends(request[:-3])
        eventually(lambda: edge.does(lambda: any(one._queue for one in edge.edge.connections)), "it has begun")
        edge.applies(champion("2", v2=two.url))

        client.sends(request[-3:])

        answer = client.answer()
        assert (answer.body, answer.field("x-model-version")) == (b"hello", "1")


@pytest.mark.parametrize("size", [200_000, 300_000])
def test_a_reload_of_the_buffer_holds_up_nobody(start_edge: StartEdge, start_backend: StartBackend, size: int) -> None:
    """A connection that was made under a small buffer must not wait for what its reader holds back."""
    backend = start_backend(echoes())
    small = {**champion("1", v1=backend.url), "http": {"buffer": "16KiB"}}
    large = {**champion("1", v1=backend.url), "http": {"buffer": "1MiB"}}
    edge = start_edge(small)
    with edge.connects() as client:
        for settings in (large, small, large):
            assert client.asks(get("/livez")).status == 200
            edge.applies(settings)
            body = b"a" * size
            client.sends(post(INFER, body))
            assert client.answer().body == body
            client.sends(chunked(INFER, *[b"a" * 1000] * (size // 1000)))
            assert client.answer().body == body


def test_an_applied_limit_holds_for_connections_that_are_open(
    start_edge: StartEdge, start_backend: StartBackend
) -> None:
    backend = start_backend()
    edge = start_edge(champion("1", v1=backend.url))
    with edge.connects() as client:
        assert client.asks(post(INFER, b"a" * 2000)).status == 200
        edge.applies({**champion("1", v1=backend.url), "guards": {"sizes": {"body": 1000}}})
        assert client.asks(post(INFER, b"a" * 2000)).status == 413


def test_counters_go_on(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend()
    edge = start_edge(champion("1", v1=backend.url))
    for timeout in ("3s", "4s", "5s"):
        settings = champion("1", v1=backend.url)
        settings["models"]["m"]["timeout"] = timeout
        edge.applies(settings)
        edge.asked(post(INFER))
    assert edge.requests("m", "1") == {"2xx": 3}


def test_a_model_that_is_gone_is_gone(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend()
    edge = start_edge(champion("1", v1=backend.url))
    other = {"versions": {"1": {"urls": [backend.url]}}, "champion": "1"}
    edge.applies(config({"other": other}))
    assert edge.asked(post(INFER)).status == 404
    assert edge.asked(post("/v2/models/other/infer")).status == 200


def test_many_reloads_fail_no_request(start_edge: StartEdge, start_backend: StartBackend) -> None:
    one, two = start_backend(answers(b"1")), start_backend(answers(b"2"))
    edge = start_edge(champion("1", v1=one.url, v2=two.url))
    with edge.connects() as client:
        for number in range(100):
            name = "12"[number % 2]
            client.sends(post(INFER) * 2)
            urls = {"v1": one.url, "v2": two.url} if number % 3 else {f"v{name}": (one, two)[number % 2].url}
            edge.applies(champion(name, **urls))
            for answer in (client.answer(), client.answer()):
                assert answer.status == 200
                assert answer.body.decode() == answer.field("x-model-version")
