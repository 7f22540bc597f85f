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


async def call_whole(caller: Caller, pool: Pool, flow: Flow, data: bytes, *, head_only: bool = False) -> Answer:
    """Send a whole request and wait for the head of its answer; replay it once if a reused connection was stale.

    Raises UpstreamFault. `head_only` says that the answer has no body (HEAD).
    """
    connection = caller.connection or await connect(caller, pool, flow)
    while True:
        reused = connection.calls > 0
        answer = connection.call(flow, data, whole=True, head_only=head_only)
        try:
            while not answer.started:
                answer.raise_fault()
                await pause()
        except UpstreamClosed:
            if not reused:
                raise
            # It was closed while it lay idle: nothing was answered, and a fresh connection tells for certain.
            give_back(caller)
            connection = await pool.connect(flow)
            caller.pool, caller.connection = pool, connection
        else:
            return answer


def give_back(caller: Caller) -> None:
    """Let go of the caller's connection: back to its pool, or closed where the call has not ended."""
    connection, pool = caller.connection, caller.pool
    if connection is not None and pool is not None:
        caller.connection = None
        pool.release(connection)
