"""Which backends are said to be down, on real sockets."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator

import pytest

from gateway.control import reachability
from gateway.control.reachability import MOST_NAMED, Place, Reachability
from gateway.core.snapshot import Snapshot
from tests.support.backends import Backend
from tests.support.configurations import snapshot
from tests.support.gateway_process import config
from tests.support.polling import eventually


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as started:
        yield started


@pytest.fixture
def events(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[tuple[str, list[str]]]]:
    def read() -> list[tuple[str, list[str]]]:
        said = map(json.loads, capsys.readouterr().err.splitlines())
        return [(one["event"], one["backends"]) for one in said]

    return read


def versions(*urls: str) -> Snapshot:
    """A model `m` with a version per URL; the first is the champion."""
    named = {str(number): {"urls": [url]} for number, url in enumerate(urls, 1)}
    return snapshot(config({"m": {"versions": named, "champion": "1"}}, state="/state"))


def at(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def test_what_nobody_listens_at_is_named_with_its_version(
    backend: Backend, closed_port: int, events: Callable[[], list[tuple[str, list[str]]]]
) -> None:
    known = Reachability()
    known.adopt(versions(backend.url, at(closed_port)))

    asyncio.run(known.look())

    assert known.unreachable() == [f"m/2 127.0.0.1:{closed_port}"]
    assert events() == [("backends-unreachable", [f"127.0.0.1:{closed_port}"])]


def test_what_answered_once_is_left_in_peace(backend: Backend) -> None:
    known = Reachability()
    known.adopt(versions(backend.url))

    for _ in range(3):
        asyncio.run(known.look())
    known.adopt(versions(backend.url, backend.url))
    asyncio.run(known.look())

    eventually(lambda: backend.connections == 1, "the one connection has been taken")
    assert backend.requests == []


def test_what_comes_up_is_forgotten(closed_port: int, events: Callable[[], list[tuple[str, list[str]]]]) -> None:
    known = Reachability()
    known.adopt(versions(at(closed_port)))
    asyncio.run(known.look())
    asyncio.run(known.look())

    with Backend(port=closed_port):
        asyncio.run(known.look())

    assert known.unreachable() == []
    assert [event for event, _ in events()] == ["backends-unreachable", "backends-reachable"]


def test_what_another_configuration_does_not_name_is_forgotten(closed_port: int, backend: Backend) -> None:
    known = Reachability()
    known.adopt(versions(at(closed_port)))
    asyncio.run(known.look())

    known.adopt(versions(backend.url))

    assert known.unreachable() == []


def test_a_configuration_that_changes_during_a_look_is_no_matter(closed_port: int, backend: Backend) -> None:
    known = Reachability()
    known.adopt(versions(at(closed_port)))

    async def change() -> None:
        looking = asyncio.create_task(known.look())
        await asyncio.sleep(0)
        known.adopt(versions(backend.url))
        await looking

    asyncio.run(change())

    assert known.unreachable() == []


def test_a_name_that_leads_nowhere_is_unreachable() -> None:
    known = Reachability()
    known.adopt(versions("http://name.invalid:80"))

    asyncio.run(known.look())

    assert known.unreachable() == ["m/1 name.invalid:80"]


def test_a_backend_that_does_not_accept_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "CONNECT_S", 0.05)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        known = Reachability()
        known.adopt(versions(at(port)))

        asyncio.run(known.look())

        for one in waiting:
            one.close()
    assert known.unreachable() == [f"m/1 127.0.0.1:{port}"]


def test_model_servers_of_ours_are_not_tried() -> None:
    known = Reachability()
    model = {"versions": {"1": {"onnx": "/m/1.onnx"}}, "champion": "1"}
    known.adopt(snapshot(config({"m": model}, state="/state")))

    asyncio.run(known.look())

    assert known.unreachable() == []


def test_of_very_many_only_the_first_are_named(closed_port: int) -> None:
    known = Reachability()
    known.adopt(versions(*[at(closed_port)] * (MOST_NAMED + 5)))

    asyncio.run(known.look())

    assert len(known.unreachable()) == MOST_NAMED


def test_it_looks_at_once_when_the_configuration_changes(closed_port: int, backend: Backend) -> None:
    known = Reachability()
    known.adopt(versions(backend.url))

    async def change() -> None:
        running = asyncio.create_task(known.run())
        while not backend.connections:  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.01)
        known.adopt(versions(at(closed_port)))
        while not known.unreachable():  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.01)
        known.stop()
        await running

    asyncio.run(change())


def test_places_are_shown_as_in_a_url() -> None:
    assert str(Place("::1", 80)) == "[::1]:80"
    assert str(Place("name", 80)) == "name:80"
