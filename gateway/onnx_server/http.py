"""The model server on its listening socket: HTTP/1.1 by `gateway.http1`, one coroutine a request.

The socket is inherited and already listening, so a connection made while the model loads, or while
one process takes over from another, waits in its backlog and is not lost. The peer is the gateway,
which has applied the operator's limits and deadlines to the client: the ones here only keep a
broken peer from holding memory for ever.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

import msgspec

from gateway.core.flow import pause
from gateway.core.logs import log
from gateway.core.problems import Refusal
from gateway.core.snapshot import ModelServer
from gateway.http1.deadlines import Deadlines
from gateway.http1.errors import BodyBroken, ClientGone
from gateway.http1.exchange import Exchange
from gateway.http1.limits import Limits
from gateway.http1.server import ServerConnection
from gateway.onnx_server.api import MAX_BODY_BYTES, Api, Inference, Reply, refusal
from gateway.onnx_server.errors import Refused
from gateway.onnx_server.runner import Runner
from gateway.onnx_server.session import load

DRAIN_S = 30.0

_LIMITS = Limits(
    request_line_bytes=1024 * 1024,
    field_bytes=1024 * 1024,
    section_bytes=1024 * 1024,
    fields=10_000,
    header_s=60.0,
    body_idle_s=600.0,
    body_bytes_per_s=0,
    write_stall_s=60.0,
    # Longer than any pool keeps a connection idle, so that it is the pool that closes first.
    keep_alive_s=3600.0,
    # Bodies are read whole, so reading must not pause before the largest is here.
    buffer_bytes=MAX_BODY_BYTES,
)


class _Connection(ServerConnection):
    """A connection from the gateway, which never ends its own side while it waits for an answer."""

    __slots__ = ()

    def eof_received(self) -> bool:
        """The gateway gave up: so does the request, before its run or in it."""
        self.transport.abort()
        return False


class ModelApplication:
    """One loaded model behind one listening socket. Belongs to one event loop."""

    def __init__(self, api: Api, runner: Runner):
        self.limits = _LIMITS
        self.deadlines = Deadlines(asyncio.get_running_loop())
        self.connections: set[ServerConnection] = set()
        self.draining = False
        self.runner = runner
        self._api = api
        self._listener: asyncio.Server | None = None

    async def listen(self, sock: socket.socket) -> None:
        """Accept connections on a listening socket, of any stream family."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        # `create_server` rather than `create_unix_server`: the path is the supervisor's, not ours
        # to unlink.
        self._listener = await loop.create_server(lambda: _Connection(self), sock=sock)

    async def drain(self, patience_s: float = DRAIN_S) -> None:
        """Accept no more, answer what has begun for at most `patience_s`, end."""
        if self._listener is not None:
            self._listener.close()
        self.draining = True
        for connection in list(self.connections):
            connection.shutdown()
        now = asyncio.get_running_loop().time
        give_up = now() + patience_s
        while self.connections and now() < give_up:  # noqa: ASYNC110 (a set has no event)
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.abort()
        await self.runner.close()

    # -- what a connection asks of its application --

    def open(self, connection: ServerConnection) -> Exchange:
        """A new exchange; nothing is added to the wire's own."""
        return Exchange(connection)

    def serve(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        """The life of one request."""
        return self._serve(exchange)

    async def _serve(self, exchange: Exchange) -> None:
        try:
            body = await exchange.read_body(MAX_BODY_BYTES)
            path = exchange.target.partition(b"?")[0]
            reply = self._api.handle(exchange.method, path, exchange.fields, body)
            if isinstance(reply, Inference):
                reply = await self._infer(exchange, reply)
        except ClientGone:
            return
        except BodyBroken as broken:
            reply = refusal(Refused(broken.refusal.problem.status, broken.refusal.detail))
        exchange.reply(reply.status, reply.lines, reply.body)

    async def _infer(self, exchange: Exchange, inference: Inference) -> Reply:
        job, flow = inference.job, exchange.flow
        assert flow is not None, "an exchange is served by its flow"
        job.wake = flow.wake
        try:
            self.runner.submit(job)
            while not job.done:
                await pause()
        except Refused as refused:
            return refusal(refused)
        finally:
            if not job.done:
                self.runner.abandon(job)
        return self._api.answer(inference)

    def refuse(self, refused: Refusal) -> tuple[int, list[bytes], bytes]:
        """A message that breaks HTTP, or the 500 after a crash, in the protocol's form."""
        body = msgspec.json.encode({"error": refused.detail})
        return refused.problem.status, [b"content-type: application/json\r\n"], body

    def crashed(self, exchange: Exchange, error: Exception) -> None:
        """A defect of ours; the request has had its 500."""
        target = exchange.target.decode("latin-1")
        log("request-crashed", "error", method=exchange.method, target=target, cause=repr(error))


async def start_model(server: ModelServer, sock: socket.socket) -> ModelApplication:
    """Load the model and serve it on `sock`. Raises `ModelUnusable`, made for the operator."""
    model = await asyncio.to_thread(load, server.path, server.threads)
    for name, kind in model.withheld.items():
        log("output-withheld", "warning", model=server.model, output=name, type=kind)
    runner = Runner(model, server.batch_max, server.batch_wait_s)
    application = ModelApplication(Api(server, model), runner)
    await application.listen(sock)
    return application
