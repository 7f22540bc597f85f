"""Calls to the running gateway over a few kept connections: the gateway's own client, made awaitable.

The demo shares the machine with the gateway it shows, so its client must be light; what a call costs is in the
docstring of `gateway.demo.replay`. A call that fails raises `CallFailed`; it is never sent twice, but for the one
replay of a connection that was closed while it lay idle.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from gateway.core.flow import Flow
from gateway.core.snapshot import Target
from gateway.http1.client import ClientConnection
from gateway.http1.errors import DeadlineExceeded, WireError
from gateway.upstream.call import call_whole, give_back
from gateway.upstream.pool import Pool

LARGEST_ANSWER_BYTES: Final = 8 * 2**20


class CallFailed(Exception):
    """There is no whole answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer; the names of `fields` are in lower case."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes


class Caller:
    """Calls one listener, `host:port`, with at most `connections` calls at a time."""

    def __init__(self, address: str, connections: int, patience_s: float):
        host, _, port = address.rpartition(":")
        self.authority: Final = address.encode("ascii")
        target = Target(host.strip("[]"), int(port), None, None, self.authority, b"")
        self._pool = Pool(target, connections)
        self._patience_s = patience_s

    async def call(self, request: bytes) -> Reply:
        """Send a whole request. Raises CallFailed."""
        call = _Call(self._pool, request)
        try:
            async with asyncio.timeout(self._patience_s):
                return await call.reply
        except TimeoutError:
            raise CallFailed(f"no answer within {self._patience_s:g} s") from None
        except WireError as error:
            raise CallFailed(str(error)) from error
        finally:
            call.abandon()

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


class _Call:
    """One call as a flow (gateway.core.flow), and the future that its end resolves."""

    def __init__(self, pool: Pool, request: bytes):
        self.pool: Pool | None = pool
        self.connection: ClientConnection | None = None
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._flow = Flow(self._life(pool, request), self._ended)
        self._flow.wake()

    def abandon(self) -> None:
        """Nobody waits any more; a call that still runs ends, and its connection with it."""
        self._flow.throw(DeadlineExceeded("nobody waits for the answer"))

    async def _life(self, pool: Pool, request: bytes) -> None:
        try:
            answer = await call_whole(self, pool, self._flow, request)
            body = await answer.read_all(LARGEST_ANSWER_BYTES)
            fields = dict(answer.fields)
        finally:
            give_back(self)
        if not self.reply.done():
            self.reply.set_result(Reply(answer.status, fields, body))

    def _ended(self, error: Exception | None) -> None:
        if error is not None and not self.reply.done():
            self.reply.set_exception(error)
