"""A whole call: replayed where that is safe, once, and let go of whatever happens."""

import asyncio
from collections.abc import Iterator

import pytest

from gateway.core.flow import Flow
from gateway.http1.client import ClientConnection
from gateway.http1.errors import UpstreamClosed, UpstreamInvalid
from gateway.upstream.call import call_whole, give_back
from gateway.upstream.pool import Pool
from tests.http1.backend_side import BackendSide
from tests.support.backends import Backend, Behaviour, Connection, Seen, answers, in_turn, resets, says_garbage
from tests.support.flows import Caller, Running
from tests.support.loops import on_event_loop
from tests.support.targets import target

REQUEST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody"


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend(answers(b"hello")) as backend:
        yield backend


async def called(pool: Pool, caller: Caller | None = None) -> bytes:
    """The body of the answer to one call."""
    caller = caller or Caller()

    async def call(flow: Flow) -> bytes:
        try:
            answer = await call_whole(caller, pool, flow, REQUEST)
            return await answer.read_all(1000)
        finally:
            give_back(caller)

    return await Running(call).ended()


def closes() -> Behaviour:
    """Takes a request and closes without an answer."""

    async def behave(request: Seen, connection: Connection) -> None:
        connection.keep = False

    return behave


def begins() -> Behaviour:
    """Takes a request, begins an answer, and closes."""

    async def behave(request: Seen, connection: Connection) -> None:
        connection.keep = False
        await connection.send(b"HTTP/1.1 2")

    return behave


async def warm(pool: Pool, how_many: int = 1) -> None:
    """Connections that have carried a call and rest."""
    callers = [Caller() for _ in range(how_many)]

    async def take(caller: Caller, flow: Flow) -> bytes:
        answer = await call_whole(caller, pool, flow, REQUEST)
        return await answer.read_all(1000)

    await asyncio.gather(*(Running(lambda flow, one=one: take(one, flow)).ended() for one in callers))
    for caller in callers:
        give_back(caller)
    assert pool.idle == how_many


@on_event_loop
async def test_a_call_gets_its_answer_and_gives_its_connection_back(backend: Backend) -> None:
    pool = Pool(target(backend.port), 10)
    assert await called(pool) == b"hello"
    assert backend.requests[0].body == b"body"
    assert (pool.used, pool.idle) == (0, 1)


@pytest.mark.parametrize("ends", [closes(), resets()])
@on_event_loop
async def test_a_stale_connection_costs_a_replay_and_no_answer(backend: Backend, ends: Behaviour) -> None:
    pool = Pool(target(backend.port), 10)
    await warm(pool)
    backend.behave(in_turn(ends, answers(b"after all")))

    assert await called(pool) == b"after all"

    assert backend.count == 3
    assert (pool.used, pool.idle) == (0, 1)


@on_event_loop
async def test_a_fresh_connection_that_closes_is_a_fault(backend: Backend) -> None:
    backend.behave(closes())
    pool = Pool(target(backend.port), 10)
    with pytest.raises(UpstreamClosed):
        await called(pool)
    assert (backend.count, pool.used) == (1, 0)


@on_event_loop
async def test_a_call_is_replayed_once_and_no_more(backend: Backend) -> None:
    pool = Pool(target(backend.port), 10)
    await warm(pool, 4)
    before = backend.count
    backend.behave(closes())

    with pytest.raises(UpstreamClosed):
        await called(pool)

    assert backend.count == before + 2
    assert pool.used == 0


@pytest.mark.interpreted
@on_event_loop
async def test_a_replay_that_gets_a_used_connection_is_the_last_too() -> None:
    """A request that makes its backend close must not be carried from one connection to the next."""
    sides = [BackendSide() for _ in range(3)]
    for side in sides:
        side.is_asked()
        side.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        side.connection.release()

    class UsedConnections(Pool):
        """A pool in which there are used connections only, as under load."""

        def take(self) -> ClientConnection:
            return next(connections)

        async def connect(self, flow: Flow) -> ClientConnection:
            return next(connections)

        def release(self, connection: ClientConnection) -> None:
            released.append(connection)

    async def call(flow: Flow) -> bytes:
        try:
            await call_whole(caller, pool, flow, REQUEST)
        except UpstreamClosed:
            return b"failed"
        finally:
            give_back(caller)
        return b"answered"

    connections = iter([side.connection for side in sides])
    released: list[ClientConnection] = []
    caller, pool = Caller(), UsedConnections(target(1), 3)
    calling = Running(call)
    for side in sides:
        if not calling.done:
            side.closes()

    assert await calling.ended() == b"failed"
    assert len(released) == 2


@pytest.mark.parametrize(("behaviour", "fault"), [(begins(), UpstreamInvalid), (says_garbage(), UpstreamInvalid)])
@on_event_loop
async def test_what_has_begun_to_be_answered_is_not_replayed(
    backend: Backend, behaviour: Behaviour, fault: type[Exception]
) -> None:
    pool = Pool(target(backend.port), 10)
    await warm(pool)
    backend.behave(behaviour)

    with pytest.raises(fault):
        await called(pool)

    assert (backend.count, pool.used) == (2, 0)


@on_event_loop
async def test_giving_back_twice_gives_back_once(backend: Backend) -> None:
    pool, caller = Pool(target(backend.port), 10), Caller()
    give_back(caller)
    await called(pool, caller)
    give_back(caller)
    assert (pool.used, pool.idle) == (0, 1)
