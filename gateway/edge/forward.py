"""Between the gateway and a backend: send the request on, and pass the answer back.

The body is opaque and passes byte for byte. Small bodies are gathered first, so that a slow client holds no backend
connection and a call that met a stale connection can be replayed; larger ones stream with backpressure in both
directions. Small answers of known length are gathered too: one that breaks off is then a clean 502.
"""

from __future__ import annotations

import time

from gateway.core.flow import Flow
from gateway.core.open_inference import HEAD_LENGTH_FIELD, sequence_of
from gateway.edge.exchange import Exchange
from gateway.edge.routing.route import Route
from gateway.http1.client import BUFFER_BYTES, Answer, ClientConnection
from gateway.http1.date import DateLine
from gateway.http1.head import HOP_BY_HOP, connection_options, end_to_end
from gateway.upstream.call import call_whole, connect, give_back
from gateway.upstream.pool import Pool

REQUEST_ENDS_HERE = HOP_BY_HOP | {
    b"host",
    b"content-length",
    b"expect",
    b"x-request-id",
    b"x-client-request-id",
    b"x-request-timeout-ms",
}
"""Request fields that are not sent on as they came."""
ANSWER_ENDS_HERE = HOP_BY_HOP | {b"content-length", b"x-request-id", b"x-client-request-id", b"x-model-version"}
"""Answer fields that the gateway writes itself."""
_NOTHING: frozenset[bytes] = frozenset()
_VIA = {"1.1": b"via: 1.1 tiltyard\r\n", "1.0": b"via: 1.0 tiltyard\r\n"}


async def forward(exchange: Exchange, route: Route, buffer_bytes: int) -> Answer:
    """Send the request to a replica and wait for the head of its answer.

    The connection is left on the exchange, for `give_back`. Raises BodyBroken, UpstreamFault, DeadlineExceeded.
    """
    lines = end_to_end(exchange.fields, REQUEST_ENDS_HERE, exchange.framing.nominated)
    lines.append(b"x-request-id: %b\r\n" % exchange.request_id.encode())
    if exchange.client_id:
        lines.append(b"x-client-request-id: %b\r\n" % exchange.client_id)
    lines.append(_VIA[exchange.version])
    exchange.section = section = b"".join(lines)
    flow = exchange.flow
    assert flow is not None
    if await exchange.gather(route.model.body_cap_bytes, buffer_bytes):
        body = exchange.take()
        exchange.keep_request(body)
        sequence = sequence_of(body, exchange.field(HEAD_LENGTH_FIELD)) if len(route.replicas.pools) > 1 else ""
        pool = route.replicas.choose(sequence)
        await _begin_call(exchange, route, pool, flow)
        framing = b"content-length: %d\r\n\r\n" % len(body) if body or exchange.method == "POST" else b"\r\n"
        data = b"".join((_start(exchange, route, pool), section, framing, body))
        return await call_whole(exchange, pool, flow, data, head_only=exchange.method == "HEAD")
    return await _call_streaming(exchange, route, section, flow)


async def _begin_call(exchange: Exchange, route: Route, pool: Pool, flow: Flow) -> ClientConnection:
    """Get a connection; from here on the backend's own time runs."""
    connection = await connect(exchange, pool, flow)
    exchange.upstream_started = now = time.monotonic()
    exchange.expect_by(min(exchange.deadline, now + route.version.timeout_s))
    return connection


async def _call_streaming(exchange: Exchange, route: Route, section: bytes, flow: Flow) -> Answer:
    """Call while the body is still coming in; an answer that comes early ends the sending."""
    pool = route.replicas.choose()
    connection = await _begin_call(exchange, route, pool, flow)
    length = exchange.framing.length
    framing = b"transfer-encoding: chunked\r\n\r\n" if length is None else b"content-length: %d\r\n\r\n" % length
    answer = connection.call(flow, b"".join((_start(exchange, route, pool), section, framing)), whole=False)
    await _send_body(exchange, route, connection, answer)
    await answer.head()
    return answer


async def _send_body(exchange: Exchange, route: Route, connection: ClientConnection, answer: Answer) -> None:
    chunked = exchange.framing.length is None
    while not answer.settled:
        exchange.check_size(route.model.body_cap_bytes)
        data = exchange.take()
        if data:
            exchange.keep_request(data)
            connection.send(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data, last=False)
            await connection.drained(answer)
        elif exchange.complete:
            connection.send(b"0\r\n\r\n" if chunked else b"", last=True)
            return
        else:
            await exchange.more()


def _start(exchange: Exchange, route: Route, pool: Pool) -> bytes:
    target = pool.target
    query = b"?" + exchange.query if exchange.query else b""
    return b"%b %b%b%b HTTP/1.1\r\nhost: %b\r\n" % (
        exchange.method.encode(),
        target.base_path,
        route.path,
        query,
        target.authority,
    )


async def relay(exchange: Exchange, route: Route, answer: Answer, buffer_bytes: int, date: DateLine) -> None:
    """Pass the answer on to the client. Raises UpstreamFault; after the first byte the connection must be cut."""
    if answer.length is not None and answer.length <= min(buffer_bytes, BUFFER_BYTES):
        await answer.gathered()
    first = answer.take()
    nominated = connection_options(answer.fields) if answer.field(b"connection") else _NOTHING
    lines = end_to_end(answer.fields, ANSWER_ENDS_HERE, nominated)
    lines.append(b"%b%b\r\n" % (route.stamp, exchange.request_id.encode()))
    if exchange.client_id:
        lines.append(b"x-client-request-id: %b\r\n" % exchange.client_id)
    if answer.field(b"date") is None:
        lines.append(date.now())
    exchange.keep_answer(first)
    if answer.complete:
        exchange.upstream_done = time.monotonic()
        give_back(exchange)
        length = answer.length if answer.bodiless else len(first)
        exchange.begin(answer.status, lines, length, first)
        exchange.end()
        return
    exchange.begin(answer.status, lines, answer.length, first)
    while data := await answer.read():
        exchange.keep_answer(data)
        exchange.write(data)
        await exchange.drained()
    exchange.upstream_done = time.monotonic()
    exchange.end()
