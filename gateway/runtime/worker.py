"""A worker: the edge on the inference socket. uvicorn keeps the socket and the shutdown; HTTP is ours (`http=`)."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

from gateway.core.logs import log
from gateway.core.metrics import CONNECTIONS
from gateway.core.snapshot import Snapshot
from gateway.edge.access_log import AccessLog
from gateway.edge.application import Edge
from gateway.edge.tap import Tap
from gateway.http1.server import ServerConnection
from gateway.runtime.child import ChildContext

HOUSEKEEPING_EVERY_S = 1.0
_TAP_CLOSES_WITHIN_S = 5.0


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: signals are the supervisor's matter."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals as they are."""
        yield


class Worker:
    """The role of a worker process."""

    def __init__(self, context: ChildContext):
        self._context = context
        self._edge: Edge | None = None
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._housekeeping: asyncio.Task[None] | None = None

    async def start(self, snapshot: Snapshot) -> None:
        """Connect the tap, then accept clients."""
        context, config = self._context, snapshot.config
        loop = asyncio.get_running_loop()
        self._tap = Tap(
            context.name, context.shadow_path, context.counters, config.shadow.queue_items, config.shadow.queue_bytes
        )
        self._log = AccessLog(config.access_log, context.counters, loop)
        edge = self._edge = Edge(snapshot, context.counters, self._tap, self._log, _report)
        self._tap.start()

        def connection(config: uvicorn.Config, server_state: Any, app_state: Any, _loop: Any = None) -> Any:
            edge.connections = server_state.connections
            return ServerConnection(edge)

        self._server = _Server(
            uvicorn.Config(
                _nothing_else,
                http=connection,  # type: ignore[arg-type]
                loop="none",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                backlog=4096,
                timeout_graceful_shutdown=max(1, int(config.http.drain)),
            )
        )
        self._serving = loop.create_task(self._server.serve(sockets=[context.sockets["inference"]]))
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
            await asyncio.sleep(0.002)
        self._housekeeping = loop.create_task(self._keep_house())
        # What start-up made stays for good: the collector need not walk through it again and again under load.
        gc.collect()
        gc.freeze()

    async def apply(self, snapshot: Snapshot) -> None:
        """Swap the table of routes."""
        if self._edge is not None:
            self._edge.apply(snapshot)

    async def drain(self) -> None:
        """Accept no more, finish what runs, hand the last offers over, write the last log lines."""
        edge, server = self._edge, self._server
        if edge is None or server is None or self._serving is None:
            return
        edge.draining = True
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await self._serving
        # What has not ended by now is cut, and counted, logged and offered like any other end of a request.
        for connection in list(edge.connections):
            connection.cut()
        while edge.connections:  # noqa: ASYNC110 (a set has no event)
            await asyncio.sleep(0)
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        await self._tap.close(_TAP_CLOSES_WITHIN_S)
        await self._log.close()

    def status(self) -> dict[str, object]:
        """How many connections are open."""
        edge = self._edge
        return {"connections": len(edge.connections)} if edge is not None else {}

    async def _keep_house(self) -> None:
        """Once a second: close what has been idle for long, and publish how many connections there are."""
        counters, edge = self._context.counters, self._edge
        assert edge is not None
        at = counters.gauge(CONNECTIONS, ())
        client, used, idle = (at + CONNECTIONS.at(side) for side in CONNECTIONS.fields)
        while True:
            await asyncio.sleep(HOUSEKEEPING_EVERY_S)
            pools = list(edge.pools())
            now = time.monotonic()
            for pool in pools:
                pool.expire_idle(now)
            counters.cells[client] = len(edge.connections)
            counters.cells[used] = sum(pool.used for pool in pools)
            counters.cells[idle] = sum(pool.idle for pool in pools)


def make(context: ChildContext) -> Worker:
    """The role of this process."""
    return Worker(context)


def _report(request_id: str, error: Exception) -> None:
    log("request-crashed", level="error", request_id=request_id, error=repr(error))


async def _nothing_else(scope: Any, receive: Any, send: Any) -> None:
    """uvicorn wants an ASGI application; no connection ever reaches it."""
