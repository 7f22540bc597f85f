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
from gateway.http1.head import HOP_BY_HOP, Forwarded, end_to_end
from gateway.upstream.call import call_whole, connect, give_back
from gateway.upstream.pool import Pool

_OURS = {b"content-length", b"x-request-id", b"x-client-request-id"}
REQUEST_FIELDS = Forwarded(HOP_BY_HOP | _OURS | {b"host", b"expect", b"x-request-timeout-ms"})
"""Request fields that are sent on as they came."""
ANSWER_FIELDS = Forwarded(HOP_BY_HOP | _OURS | {b"x-model-version"})
"""Answer fields that are passed back as they came."""
_VIA = {"1.1": b"via: 1.1 tiltyard\r\n", "1.0": b"via: 1.0 tiltyard\r\n"}


async def forward(exchange: Exchange, route: Route, buffer_bytes: int) -> Answer:
    """Send the request to a replica and wait for the head of its answer.

    The connection is left on the exchange, for `give_back`. Raises BodyBroken, UpstreamFault, DeadlineExceeded.
    """
    parts = end_to_end(exchange.fields, REQUEST_FIELDS, exchange.nominated)
    parts += (b"x-request-id: ", exchange.request_id.encode(), b"\r\n", _VIA[exchange.version])
    if exchange.client_id:
        parts += (b"x-client-request-id: ", exchange.client_id, b"\r\n")
    exchange.section = section = b"".join(parts)
    flow = exchange.flow
    assert flow is not None
    cap = route.model.body_cap_bytes
    if (exchange.complete and exchange.received <= cap) or await exchange.gather(cap, buffer_bytes):
        body = exchange.take()
        exchange.keep_request(body)
        pools = route.replicas.pools
        sequence = sequence_of(body, exchange.field(HEAD_LENGTH_FIELD)) if len(pools) > 1 else ""
        pool = route.replicas.choose(sequence)
        exchange.pool = pool
        exchange.connection = pool.take() or await pool.connect(flow)
        _call_begins(exchange, route)
        framing = b"content-length: %d\r\n\r\n" % len(body) if body or exchange.method == "POST" else b"\r\n"
        data = b"".join((_start(exchange, route, pool), section, framing, body))
        return await call_whole(exchange, pool, flow, data, head_only=exchange.method == "HEAD")
    return await _call_streaming(exchange, route, section, flow)


def _call_begins(exchange: Exchange, route: Route) -> None:
    """From here on the backend's own time runs, where it is shorter than the request's."""
    exchange.upstream_started = now = time.monotonic()
    if route.version.timeout_s < route.model.timeout_s:
        exchange.expect_by(min(exchange.deadline, now + route.version.timeout_s))


async def _call_streaming(exchange: Exchange, route: Route, section: bytes, flow: Flow) -> Answer:
    """Call while the body is still coming in; an answer that comes early ends the sending."""
    pool = route.replicas.choose()
    connection = await connect(exchange, pool, flow)
    _call_begins(exchange, route)
    length = exchange.length
    framing = b"transfer-encoding: chunked\r\n\r\n" if length is None else b"content-length: %d\r\n\r\n" % length
    answer = connection.call(flow, b"".join((_start(exchange, route, pool), section, framing)), whole=False)
    await _send_body(exchange, route, connection, answer)
    await answer.head()
    return answer


async def _send_body(exchange: Exchange, route: Route, connection: ClientConnection, answer: Answer) -> None:
    chunked = exchange.length is None
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
    if exchange.method == "POST" and not exchange.query and route.start:
        return route.start
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
    if not answer.complete and answer.length is not None and answer.length <= min(buffer_bytes, BUFFER_BYTES):
        await answer.gathered()
    first = answer.take()
    parts = end_to_end(answer.fields, ANSWER_FIELDS, answer.nominated)
    parts += (route.stamp, exchange.request_id.encode(), b"\r\n")
    if exchange.client_id:
        parts += (b"x-client-request-id: ", exchange.client_id, b"\r\n")
    if not answer.dated:
        parts.append(date.now())
    exchange.keep_answer(first)
    if answer.complete:
        exchange.upstream_done = time.monotonic()
        give_back(exchange)
        length = answer.length if answer.bodiless else len(first)
        exchange.begin(answer.status, parts, length, first)
        exchange.end()
        return
    exchange.begin(answer.status, parts, answer.length, first)
    while data := await answer.read():
        exchange.keep_answer(data)
        exchange.write(data)
        await exchange.drained()
    exchange.upstream_done = time.monotonic()
    exchange.end()
