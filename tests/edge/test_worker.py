"""A worker as the role of a process: it serves on the socket it is given, follows reloads, and drains."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.control.status import Supervisor
from gateway.core.counters import totals
from gateway.core.metrics import CONNECTIONS, REQUESTS
from gateway.core.snapshot import Snapshot
from gateway.runtime import worker as module
from gateway.runtime.child import ChildContext
from gateway.runtime.worker import Worker, make
from gateway.upstream import pool
from tests.support.backends import Backend, answers, delays, hangs
from tests.support.configurations import snapshot
from tests.support.gateway_process import one_model
from tests.support.loops import becomes, on_event_loop
from tests.support.wire_client import WireClient, get, post

PATH = "/models/echo/x"


def compiled(directory: Path, url: str, **keys: Any) -> Snapshot:
    return snapshot({**one_model(url, **keys), "state": str(directory)})


@asynccontextmanager
async def running(
    directory: Path, settings: Mapping[str, Any] | None = None, url: str = "http://127.0.0.1:9"
) -> AsyncIterator[tuple[Worker, int]]:
    """A worker that serves, and its port; drained at the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    context = ChildContext(
        role="worker",
        index=0,
        name="worker-0",
        state=directory,
        runtime_directory=directory,
        config_path=directory / "gateway.yaml",
        sockets={"inference": listener},
        supervisor=cast(Supervisor, None),
        fail=lambda reason: None,
    )
    worker = make(context)
    await worker.start(compiled(directory, url, **(settings or {})))
    try:
        yield worker, port
    finally:
        await worker.drain()
        context.close()


async def asked(port: int, data: bytes) -> Any:
    def ask() -> Any:
        with WireClient("127.0.0.1", port) as client:
            return client.asks(data)

    return await asyncio.to_thread(ask)


def connections(directory: Path) -> dict[str, int]:
    return totals(directory / "counters").get((CONNECTIONS.name, ()), {})


@on_event_loop
async def test_it_serves_on_the_socket_it_is_given(tmp_path: Path) -> None:
    with Backend(answers(b"hello")) as backend:
        async with running(tmp_path, url=backend.url) as (worker, port):
            answer = await asked(port, post(PATH))
            assert (answer.status, answer.body) == (200, b"hello")
            assert answer.field("server") is None
            assert (await asked(port, get("/readyz"))).status == 200
            assert set(worker.status()) == {"connections"}


@on_event_loop
async def test_it_follows_a_reload(tmp_path: Path) -> None:
    with Backend(answers(b"one")) as one, Backend(answers(b"two")) as two:
        async with running(tmp_path, url=one.url) as (worker, port):
            await worker.apply(compiled(tmp_path, two.url))
            assert (await asked(port, post(PATH))).body == b"two"


@on_event_loop
async def test_it_counts_its_connections_and_closes_what_is_idle_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HOUSEKEEPING_EVERY_S", 0.02)
    monkeypatch.setattr(pool, "IDLE_EXPIRY_S", 0.5)
    with Backend(answers(b"hello")) as backend:
        async with running(tmp_path, url=backend.url) as (_, port):
            client = await asyncio.to_thread(WireClient, "127.0.0.1", port)
            assert (await asyncio.to_thread(client.asks, post(PATH))).status == 200
            wanted = {"client": 1, "upstream_used": 0, "upstream_idle": 1}
            await becomes(lambda: connections(tmp_path) == wanted, "the gauges are set")

            idle_gone = {"client": 1, "upstream_used": 0, "upstream_idle": 0}
            await becomes(lambda: connections(tmp_path) == idle_gone, "the idle one goes")
            client.socket.close()
            await becomes(lambda: connections(tmp_path)["client"] == 0, "the client goes")


@on_event_loop
async def test_a_request_in_flight_is_answered_before_it_ends(tmp_path: Path) -> None:
    with Backend(delays(0.3, answers(b"late"))) as backend:
        async with running(tmp_path, url=backend.url) as (worker, port):
            asking = asyncio.ensure_future(asked(port, post(PATH)))
            await becomes(lambda: backend.count == 1, "the backend is asked")

            await worker.drain()

            answer = await asking
            assert (answer.status, answer.body, answer.field("connection")) == (200, b"late", "close")
            with pytest.raises(OSError, match="refused"):
                await asked(port, post(PATH))


@on_event_loop
async def test_idle_clients_do_not_hold_up_the_end(tmp_path: Path) -> None:
    async with running(tmp_path) as (worker, port):
        clients = [await asyncio.to_thread(WireClient, "127.0.0.1", port) for _ in range(3)]
        assert (await asyncio.to_thread(clients[0].asks, get("/livez"))).status == 200
        async with asyncio.timeout(20):
            await worker.drain()
        assert [await asyncio.to_thread(client.until_closed) for client in clients] == [b""] * 3
        for client in clients:
            client.socket.close()


@on_event_loop
async def test_a_request_that_does_not_end_in_time_is_cut_and_counted(tmp_path: Path) -> None:
    with Backend(hangs()) as backend:
        settings = {"http": {"drain": "1s"}}
        async with running(tmp_path, settings, backend.url) as (worker, port):
            client = await asyncio.to_thread(WireClient, "127.0.0.1", port)
            client.sends(post(PATH))
            await becomes(lambda: backend.count == 1, "the backend is asked")

            async with asyncio.timeout(20):
                await worker.drain()

            counted = totals(tmp_path / "counters")[REQUESTS.name, ("echo", "1")]
            assert sum(counted.values()) == 1
            assert await asyncio.to_thread(client.until_closed) == b""
            client.socket.close()


@on_event_loop
async def test_what_has_not_started_drains_at_once(tmp_path: Path) -> None:
    worker = Worker(cast(ChildContext, None))
    await worker.apply(compiled(tmp_path, "http://127.0.0.1:9"))
    await worker.drain()
    assert worker.status() == {}


@on_event_loop
async def test_a_socket_that_cannot_be_served_is_an_error_of_the_start(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        context = ChildContext(
            role="worker",
            index=0,
            name="worker-0",
            state=tmp_path,
            runtime_directory=tmp_path,
            config_path=tmp_path / "gateway.yaml",
            sockets={"inference": datagrams},
            supervisor=cast(Supervisor, None),
            fail=lambda reason: None,
        )
        with pytest.raises((ValueError, OSError)):
            await make(context).start(compiled(tmp_path, "http://127.0.0.1:9"))
        context.close()
