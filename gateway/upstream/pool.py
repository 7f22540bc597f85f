"""A pool of connections to one replica.

Taking an idle connection is a synchronous pop, so the usual request awaits nothing here. A new connection is made by
a task of its own, which outlives the request that asked for it: if that request is gone by then, the connection
serves the next. Connections in use are bounded, and so is the line of those who wait for one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from gateway.core.flow import Flow, pause
from gateway.core.snapshot import Target
from gateway.http1.client import ClientConnection
from gateway.http1.errors import UpstreamFault, UpstreamSaturated, UpstreamUnreachable

IDLE_EXPIRY_S = 4.0
"""Shorter than the keep-alive of common backends (uvicorn closes after 5 s), so that few reuses meet a close."""
REST_S = 0.05
"""How long a connection rests before its next call where the backend has sent what nobody asked for: more of it may be
on its way, and would be taken for the answer to that call."""
WARY_S = 60.0
"""How long a backend is remembered for that."""


class _Wait:
    """One request waiting for a connection."""

    __slots__ = ("connection", "error", "flow")

    def __init__(self, flow: Flow):
        self.flow = flow
        self.connection: ClientConnection | None = None
        self.error: UpstreamFault | None = None


class Pool:
    """Connections to one target. Not thread-safe; belongs to one event loop."""

    __slots__ = ("_closed", "_connecting", "_idle", "_limit", "_pending", "_tasks", "_tls", "_used", "_waiting",
                 "_wary_until", "connect_timeout_s", "target")  # fmt: skip

    def __init__(self, target: Target, limit: int, pending: int = 1024, connect_timeout_s: float = 1.0):
        self.target = target
        self.connect_timeout_s = connect_timeout_s
        self._limit = limit
        self._pending = pending
        self._tls = target.tls.context() if target.tls else None
        self._idle: deque[ClientConnection] = deque()
        self._used = 0
        self._waiting: deque[_Wait] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connecting = 0
        self._closed = False
        self._wary_until = 0.0

    @property
    def used(self) -> int:
        """Connections that carry a call now."""
        return self._used

    @property
    def idle(self) -> int:
        """Connections that wait for a call."""
        return len(self._idle)

    def take(self) -> ClientConnection | None:
        """An idle connection, the longest idle first; None if there is none.

        A broken backend's bytes behind its answer show while the connection rests, and end it (`ClientConnection`);
        taking the last used one first would give them the least time to show.
        """
        idle = self._idle
        if self._wary_until and not self._rested():
            return None
        while idle:
            connection = idle.popleft()
            if not connection.transport.is_closing():
                self._used += 1
                return connection
        return None

    async def connect(self, flow: Flow) -> ClientConnection:
        """A new connection, or the first that becomes free. Raises UpstreamUnreachable or UpstreamSaturated."""
        if len(self._waiting) >= self._pending:
            raise UpstreamSaturated(f"{self._pending} requests wait for a connection to {self.target}")
        wait = _Wait(flow)
        self._waiting.append(wait)
        self._grow()
        try:
            while wait.connection is None and wait.error is None:
                await pause()
        except BaseException:
            if wait.connection is not None:
                self.release(wait.connection)
            elif wait in self._waiting:
                self._waiting.remove(wait)
            raise
        if wait.connection is None:
            raise wait.error or UpstreamUnreachable(str(self.target))
        return wait.connection

    def release(self, connection: ClientConnection) -> None:
        """Take a connection back after its call, once; one that cannot carry another is closed."""
        self._used -= 1
        if not connection.reusable or connection.congested or connection.transport.is_closing():
            connection.close()
            self._grow()
            return
        connection.release()
        self._hand_over(connection)

    def expire_idle(self, now: float) -> None:
        """Close connections that have been idle for long."""
        while self._idle and now - self._idle[0].idle_since > IDLE_EXPIRY_S:
            self._idle.popleft().close()

    def close(self) -> None:
        """Close idle connections, and each other one when its call ends. Whoever still comes, from a request that began
        under a former configuration, is served.
        """
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        self._closed = True

    # -- inner -----------------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        """Start as many connections as are waited for, within the bound."""
        while len(self._waiting) > self._connecting and self._used + self._connecting < self._limit:
            self._connecting += 1
            task = asyncio.get_running_loop().create_task(self._open())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self.connect_timeout_s):
                connection = await self._dial()
        except (OSError, UnicodeError) as error:
            # UnicodeError: a host that cannot be a name in DNS.
            self._connecting -= 1
            strerror = error.strerror if isinstance(error, OSError) else None
            reason = "timed out" if isinstance(error, TimeoutError) else (strerror or type(error).__name__)
            self._fail_one(UpstreamUnreachable(f"connecting to {self.target}: {reason}"))
            return
        self._connecting -= 1
        self._hand_over(connection)

    async def _dial(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        target = self.target
        if target.unix_path is not None:
            _, connection = await loop.create_unix_connection(self._new, target.unix_path)
        else:
            server_name = target.tls.server_name if target.tls else None
            _, connection = await loop.create_connection(
                self._new, target.host, target.port, ssl=self._tls, server_hostname=server_name
            )
        return connection

    def _new(self) -> ClientConnection:
        return ClientConnection(self._lost)

    def _rested(self) -> bool:
        """Whether the longest idle connection may be used by now; it must where no other can be made."""
        now = time.monotonic()
        if now >= self._wary_until:
            self._wary_until = 0.0
            return True
        if self._used + self._connecting + len(self._idle) >= self._limit:
            return True
        return bool(self._idle) and now - self._idle[0].idle_since >= REST_S

    def _lost(self, connection: ClientConnection) -> None:
        if connection.unclean:
            self._wary_until = time.monotonic() + WARY_S
        if connection in self._idle:
            self._idle.remove(connection)

    def _hand_over(self, connection: ClientConnection) -> None:
        # Who waits gets a connection that has not rested only where none is being made for it.
        must_rest = self._wary_until and connection.calls and len(self._waiting) <= self._connecting
        if self._waiting and not must_rest:
            wait = self._waiting.popleft()
            self._used += 1
            wait.connection = connection
            wait.flow.wake()
        elif not self._closed:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()

    def _fail_one(self, error: UpstreamFault) -> None:
        if self._waiting:
            wait = self._waiting.popleft()
            wait.error = error
            wait.flow.wake()
        self._grow()
