"""A pool keeps its bounds, wastes no connection, and nobody waits in it for nothing."""

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.flow import Flow, pause
from gateway.http1.client import ClientConnection
from gateway.http1.errors import ClientGone, DeadlineExceeded, UpstreamSaturated, UpstreamUnreachable
from gateway.upstream import pool as module
from gateway.upstream.pool import IDLE_EXPIRY_S, REST_S, WARY_S, Pool
from tests.support.backends import Backend, answers
from tests.support.clocks import stopped_clock
from tests.support.flows import Running
from tests.support.loops import becomes, on_event_loop
from tests.support.targets import target, unix_target

REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend(answers(b"hello")) as backend:
        yield backend


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Connections to it are made, and nothing is ever said on them."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield listener


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


async def paused() -> None:
    await pause()


def taking(pool: Pool) -> Running[ClientConnection]:
    """A flow that wants a connection and keeps it."""

    async def want(flow: Flow) -> ClientConnection:
        return pool.take() or await pool.connect(flow)

    return Running(want)


async def asks(connection: ClientConnection) -> bytes:
    """One call on a connection."""

    async def ask(flow: Flow) -> bytes:
        answer = connection.call(flow, REQUEST, whole=True)
        await answer.head()
        return await answer.read_all(1000)

    return await Running(ask).ended()


# -- taking and giving back --------------------------------------------------------------------------------------------


@on_event_loop
async def test_a_connection_is_made_once_and_used_again(backend: Backend) -> None:
    pool = Pool(target(backend.port), 10)
    assert pool.take() is None

    for _ in range(5):
        connection = await taking(pool).ended()
        assert (pool.used, pool.idle) == (1, 0)
        assert await asks(connection) == b"hello"
        pool.release(connection)
        assert (pool.used, pool.idle) == (0, 1)

    assert (backend.connections, backend.count) == (1, 5)


@on_event_loop
async def test_the_longest_idle_goes_first(listener: socket.socket) -> None:
    pool = Pool(target(port_of(listener)), 10)
    first, second = [await taking(pool).ended() for _ in range(2)]
    pool.release(second)
    pool.release(first)
    assert pool.take() is second
    assert pool.take() is first


@on_event_loop
async def test_a_connection_with_a_call_on_it_is_closed_when_it_comes_back(listener: socket.socket) -> None:
    pool = Pool(target(port_of(listener)), 10)
    connection = await taking(pool).ended()
    connection.call(taking(pool).flow, REQUEST, whole=True)

    pool.release(connection)

    assert connection.transport.is_closing()
    assert pool.idle == 0


@on_event_loop
async def test_a_connection_that_still_holds_part_of_a_request_is_not_used_again(backend: Backend) -> None:
    pool = Pool(target(backend.port), 10)
    connection = await taking(pool).ended()
    await asks(connection)
    connection.pause_writing()

    pool.release(connection)

    assert (pool.used, pool.idle) == (0, 0)
    assert connection.transport.is_closing()


@on_event_loop
async def test_a_connection_that_the_backend_closes_while_idle_is_forgotten(backend: Backend) -> None:
    pool = Pool(target(backend.port), 10)
    connection = await taking(pool).ended()
    await asks(connection)
    pool.release(connection)
    assert pool.idle == 1

    backend.close()

    await becomes(lambda: pool.idle == 0, "the connection is forgotten")
    assert pool.take() is None


@on_event_loop
async def test_a_connection_that_is_just_closing_is_not_taken(listener: socket.socket) -> None:
    pool = Pool(target(port_of(listener)), 10)
    closing, good = [await taking(pool).ended() for _ in range(2)]
    pool.release(closing)
    pool.release(good)
    closing.transport.abort()
    assert pool.take() is good


@on_event_loop
async def test_what_has_been_idle_for_long_is_closed(listener: socket.socket) -> None:
    with stopped_clock(module) as clock:
        pool = Pool(target(port_of(listener)), 10)
        old, young = [await taking(pool).ended() for _ in range(2)]
        pool.release(old)
        clock.passes(IDLE_EXPIRY_S / 2)
        pool.release(young)

        clock.passes(IDLE_EXPIRY_S / 2 + 0.1)
        pool.expire_idle(clock.now)

        assert old.transport.is_closing()
        assert pool.idle == 1
        assert pool.take() is young


@on_event_loop
async def test_a_backend_may_listen_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "model.sock"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    pool = Pool(unix_target(str(path)), 10)
    assert await asks(await taking(pool).ended()) == b"hi"
    server.close()


# -- backends that say more than they are asked ------------------------------------------------------------------------


def rests(pool: Pool, connection: ClientConnection) -> None:
    """Give back a connection whose call is over."""
    connection.call(Flow(paused(), lambda error: None), b"", whole=True)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    pool.release(connection)


async def wary(port: int, limit: int = 10) -> Pool:
    """A pool whose backend has sent bytes that nobody asked for."""
    pool = Pool(target(port), limit)
    connection = await taking(pool).ended()
    rests(pool, connection)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON")
    await becomes(lambda: pool.idle == 0, "the connection is given up")
    return pool


@on_event_loop
async def test_a_connection_of_a_good_backend_is_used_again_at_once(listener: socket.socket) -> None:
    pool = Pool(target(port_of(listener)), 10)
    connection = await taking(pool).ended()
    rests(pool, connection)
    assert pool.take() is connection


@on_event_loop
async def test_after_bytes_that_nobody_asked_for_connections_rest_before_they_are_used_again(
    listener: socket.socket,
) -> None:
    """More of them may be on their way, and would be taken for the answer to the next request."""
    pool = await wary(port_of(listener))
    with stopped_clock(module) as clock:
        clock.now = time.monotonic()
        fresh = await taking(pool).ended()
        rests(pool, fresh)

        other = await taking(pool).ended()
        assert other is not fresh
        assert (pool.used, pool.idle) == (1, 1)

        clock.passes(REST_S * 1.01)
        assert pool.take() is fresh


@on_event_loop
async def test_an_answer_that_is_no_http_makes_wary_too(listener: socket.socket) -> None:
    pool = Pool(target(port_of(listener)), 10)
    connection = await taking(pool).ended()
    connection.call(Flow(paused(), lambda error: None), b"", whole=True)
    connection.data_received(b"garbage")
    pool.release(connection)
    await asyncio.sleep(0.01)

    fresh = await taking(pool).ended()
    rests(pool, fresh)
    assert pool.take() is None


@on_event_loop
async def test_a_wary_pool_keeps_its_bound(listener: socket.socket) -> None:
    pool = await wary(port_of(listener), limit=1)
    connection = await taking(pool).ended()
    waiting = taking(pool)
    rests(pool, connection)
    assert await waiting.ended() is connection
    rests(pool, connection)
    assert pool.take() is connection


@on_event_loop
async def test_nobody_is_handed_a_connection_that_has_not_rested(listener: socket.socket) -> None:
    pool = await wary(port_of(listener))
    connection = await taking(pool).ended()
    waiting = taking(pool)
    rests(pool, connection)
    assert await waiting.ended() is not connection
    assert pool.idle == 1


@on_event_loop
async def test_a_backend_that_behaves_is_believed_again(listener: socket.socket) -> None:
    pool = await wary(port_of(listener))
    with stopped_clock(module) as clock:
        clock.now = time.monotonic() + WARY_S
        connection = await taking(pool).ended()
        rests(pool, connection)
        assert pool.take() is connection


# -- bounds ------------------------------------------------------------------------------------------------------------


@on_event_loop
async def test_no_more_connections_than_allowed_are_made(listener: socket.socket) -> None:
    pool = Pool(target(port_of(listener)), 3)
    wanting = [taking(pool) for _ in range(10)]
    await becomes(lambda: sum(one.done for one in wanting) == 3, "three have a connection")
    assert pool.used == 3

    served = []
    while len(served) < 10:
        await becomes(lambda: any(one.done for one in wanting if one not in served), "one more has a connection")
        assert pool.used <= 3
        for one in [one for one in wanting if one.done and one not in served]:
            served.append(one)
            pool.release(await one.ended())

    assert (pool.used, pool.idle) == (0, 3)


@on_event_loop
async def test_who_waits_longest_is_served_first(listener: socket.socket) -> None:
    pool = Pool(target(port_of(listener)), 1)
    connection = await taking(pool).ended()
    first, second = taking(pool), taking(pool)

    pool.release(connection)

    assert (first.done, second.done) == (True, False)
    pool.release(await first.ended())
    assert second.done


@on_event_loop
async def test_a_connection_that_cannot_be_used_again_makes_room_for_another(listener: socket.socket) -> None:
    pool = Pool(target(port_of(listener)), 1)
    connection = await taking(pool).ended()
    waiting = taking(pool)
    connection.reusable = False

    pool.release(connection)

    assert await waiting.ended() is not connection
    assert pool.used == 1


@on_event_loop
async def test_the_line_of_those_who_wait_is_bounded(listener: socket.socket) -> None:
    pool = Pool(target(port_of(listener)), 1, pending=2)
    connection = await taking(pool).ended()
    waiting = [taking(pool), taking(pool)]

    with pytest.raises(UpstreamSaturated, match="2 requests wait"):
        await taking(pool).ended()

    pool.release(connection)
    for one in waiting:
        pool.release(await one.ended())
    assert pool.used == 0


@on_event_loop
async def test_a_connection_that_comes_late_serves_the_next(listener: socket.socket) -> None:
    pool = Pool(target(port_of(listener)), 2)
    held = await taking(pool).ended()
    waiting = taking(pool)

    pool.release(held)
    assert waiting.done

    await becomes(lambda: pool.idle == 1, "the connection that was begun for it rests")
    assert (await waiting.ended()) is held


# -- giving up ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ClientGone("gone"), DeadlineExceeded("overdue")])
@on_event_loop
async def test_who_gives_up_waiting_leaves_the_line(listener: socket.socket, error: Exception) -> None:
    pool = Pool(target(port_of(listener)), 1)
    connection = await taking(pool).ended()
    gone, staying = taking(pool), taking(pool)

    gone.flow.throw(error)
    with pytest.raises(type(error)):
        await gone.ended()
    pool.release(connection)

    assert await staying.ended() is connection
    assert pool.used == 1


@on_event_loop
async def test_a_connection_begun_for_one_who_gave_up_is_not_lost(listener: socket.socket) -> None:
    pool = Pool(target(port_of(listener)), 1)
    gone = taking(pool)
    gone.flow.throw(ClientGone("gone"))

    await becomes(lambda: pool.idle == 1, "the connection rests")
    assert pool.used == 0
    assert pool.take() is not None


@pytest.mark.interpreted
@on_event_loop
async def test_a_connection_given_to_one_who_is_giving_up_comes_back(listener: socket.socket) -> None:
    pool = Pool(target(port_of(listener)), 1)
    connection = await taking(pool).ended()

    class Fickle(Flow):
        """What wakes it makes it give up: the connection is in its hand by then."""

        def wake(self) -> None:
            waiting.flow.throw(ClientGone("gone"))

    async def want(flow: Flow) -> ClientConnection:
        unstarted = paused()
        try:
            return await pool.connect(Fickle(unstarted, lambda error: None))
        finally:
            unstarted.close()

    waiting = Running(want)
    pool.release(connection)

    with pytest.raises(ClientGone):
        await waiting.ended()
    assert (pool.used, pool.idle) == (0, 1)


@on_event_loop
async def test_ten_thousand_who_gave_up_leave_nothing_behind(backend: Backend) -> None:
    pool = Pool(target(backend.port), 5, pending=20_000, connect_timeout_s=20.0)
    for number in range(10_000):
        one = taking(pool)
        if number % 3 == 0:
            await asyncio.sleep(0)
        if one.done:
            connection = await one.ended()
            if number % 2:
                connection.call(one.flow, REQUEST, whole=True)
            pool.release(connection)
        else:
            one.flow.throw(ClientGone("gone"))

    assert pool.used == 0
    last = taking(pool)
    connections = [await last.ended()]
    while (idle := pool.take()) is not None:
        connections.append(idle)
    assert pool.used == len(connections) <= 5
    assert [await asks(connection) for connection in connections] == [b"hello"] * len(connections)


# -- no connection -----------------------------------------------------------------------------------------------------


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@on_event_loop
async def test_a_refused_connection_is_a_fault() -> None:
    pool = Pool(target(closed_port()), 10)
    with pytest.raises(UpstreamUnreachable, match="refused"):
        await taking(pool).ended()
    assert pool.used == 0


@on_event_loop
async def test_everybody_who_waits_hears_of_a_backend_that_is_down() -> None:
    pool = Pool(target(closed_port()), 2)
    waiting = [taking(pool) for _ in range(20)]
    for one in waiting:
        with pytest.raises(UpstreamUnreachable):
            await one.ended()
    assert pool.used == 0


@on_event_loop
async def test_a_backend_that_comes_back_is_reached_again() -> None:
    port = closed_port()
    pool = Pool(target(port), 1)
    with pytest.raises(UpstreamUnreachable):
        await taking(pool).ended()

    with Backend(answers(b"hello"), port=port):
        assert await asks(await taking(pool).ended()) == b"hello"


@on_event_loop
async def test_a_backend_that_does_not_accept_is_a_fault_in_time() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        pool = Pool(target(port), 1, connect_timeout_s=0.2)

        with pytest.raises(UpstreamUnreachable, match="timed out"):
            await taking(pool).ended()

        assert pool.used == 0
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid", "a..invalid"])
@on_event_loop
async def test_a_name_that_means_nothing_is_a_fault(host: str) -> None:
    pool = Pool(target(80, host=host), 1)
    for _ in range(2):
        with pytest.raises(UpstreamUnreachable):
            await taking(pool).ended()


@on_event_loop
async def test_a_missing_unix_socket_is_a_fault(tmp_path: Path) -> None:
    pool = Pool(unix_target(str(tmp_path / "absent.sock")), 1)
    with pytest.raises(UpstreamUnreachable, match=r"absent\.sock"):
        await taking(pool).ended()


# -- closing -----------------------------------------------------------------------------------------------------------


@on_event_loop
async def test_closing_ends_what_is_idle_and_nothing_that_runs(backend: Backend) -> None:
    pool = Pool(target(backend.port), 10)
    running, idle = [await taking(pool).ended() for _ in range(2)]
    await asks(idle)
    pool.release(idle)

    pool.close()

    assert idle.transport.is_closing()
    assert await asks(running) == b"hello"
    pool.release(running)
    assert running.transport.is_closing()
    assert (pool.used, pool.idle) == (0, 0)


@on_event_loop
async def test_who_waits_in_a_pool_that_is_closed_is_still_served(backend: Backend) -> None:
    pool = Pool(target(backend.port), 1)
    connection = await taking(pool).ended()
    waiting, also_waiting = taking(pool), taking(pool)

    pool.close()
    pool.release(connection)

    assert await asks(await waiting.ended()) == b"hello"
    broken = await waiting.ended()
    broken.reusable = False
    pool.release(broken)
    assert await asks(await also_waiting.ended()) == b"hello"


@on_event_loop
async def test_who_comes_late_to_a_closed_pool_is_served_too(backend: Backend) -> None:
    pool = Pool(target(backend.port), 1)
    pool.close()

    late = await taking(pool).ended()
    assert await asks(late) == b"hello"
    pool.release(late)

    assert late.transport.is_closing()
    assert pool.idle == 0


@on_event_loop
async def test_a_connection_that_comes_after_the_close_is_not_kept(listener: socket.socket) -> None:
    pool = Pool(target(port_of(listener)), 1)
    gone = taking(pool)
    gone.flow.throw(ClientGone("gone"))
    pool.close()

    accepted, _ = await asyncio.to_thread(listener.accept)
    with accepted:
        accepted.setblocking(False)
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(accepted, 1), 20) == b""
    assert pool.idle == 0
