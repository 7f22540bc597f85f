"""One call to a backend with the whole request in hand, and the letting go of its connection."""

from __future__ import annotations

from typing import Protocol

from gateway.core.flow import Flow, pause
from gateway.http1.client import Answer, ClientConnection
from gateway.http1.errors import UpstreamClosed
from gateway.upstream.pool import Pool


class Caller(Protocol):
    """Who calls: it holds the connection of its call, so that it can let go whatever happens."""

    pool: Pool | None
    connection: ClientConnection | None


async def connect(caller: Caller, pool: Pool, flow: Flow) -> ClientConnection:
    """A connection for the caller: an idle one at once, else a new one. Raises UpstreamFault."""
    connection = pool.take() or await pool.connect(flow)
    caller.pool, caller.connection = pool, connection
    return connection


async def call_whole(caller: Caller, pool: Pool, flow: Flow, data: bytes) -> Answer:
    """Send a whole request with a body in its answer and wait for the answer's head. Raises UpstreamFault."""
    connection = await connect(caller, pool, flow)
    answer = connection.call(flow, data, whole=True)
    while not answer.started:
        if answer.fault is not None:
            answer = await replay(caller, flow, data, answer)
        else:
            await pause()
    return answer


async def replay(caller: Caller, flow: Flow, data: bytes, failed: Answer, *, head_only: bool = False) -> Answer:
    """Send a whole request once more, if the first went to a connection that was stale.

    That is so where the connection had carried a call before and closed without a byte of an answer: nothing was
    done twice as far as can be known. Never more than once: the other connection may be a used one too, and a request
    that makes its backend close must not be carried through all of them. Raises the fault of `failed` otherwise.
    """
    connection, pool = caller.connection, caller.pool
    stale = isinstance(failed.fault, UpstreamClosed) and connection is not None and connection.calls > 1
    if not stale or pool is None or failed.replayed:
        failed.raise_fault()
        raise UpstreamClosed("the call has no connection")
    give_back(caller)
    other = await pool.connect(flow)
    caller.pool, caller.connection = pool, other
    answer = other.call(flow, data, whole=True, head_only=head_only)
    answer.replayed = True
    return answer


def give_back(caller: Caller) -> None:
    """Let go of the caller's connection: back to its pool, or closed where the call has not ended."""
    connection, pool = caller.connection, caller.pool
    if connection is not None and pool is not None:
        caller.connection = None
        pool.release(connection)
