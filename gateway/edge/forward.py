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
from gateway.http1.head import HOP_BY_HOP, Fields, Forwarded, end_to_end
from gateway.http1.repeated import Meaning
from gateway.upstream.call import connect, give_back, replay
from gateway.upstream.pool import Pool

_OURS = {b"content-length", b"x-request-id", b"x-client-request-id"}
REQUEST_FIELDS = Forwarded(HOP_BY_HOP | _OURS | {b"host", b"expect", b"x-request-timeout-ms"})
"""Request fields that are sent on as they came."""
ANSWER_FIELDS = Forwarded(HOP_BY_HOP | _OURS | {b"x-model-version"})
"""Answer fields that are passed back as they came."""
_VIA = {"1.1": b"via: 1.1 tiltyard\r\n", "1.0": b"via: 1.0 tiltyard\r\n"}


def send_at_once(exchange: Exchange, route: Route) -> Answer | None:
    """Send the request in one write, as most requests can be: the body is here, and a connection is idle.

    None where something has to be waited for; `send` does that. The connection is left on the exchange.
    """
    if not exchange.complete or exchange.received > route.model.body_cap_bytes:
        return None
    pool = _replica(exchange, route)
    connection = pool.take()
    if connection is None:
        return None
    return _call(exchange, route, pool, connection)


async def send(exchange: Exchange, route: Route, buffer_bytes: int) -> Answer:
    """Send the request, waiting for its body and for a connection. Raises BodyBroken, UpstreamFault."""
    flow = exchange.flow
    assert flow is not None
    if not await exchange.gather(route.model.body_cap_bytes, buffer_bytes):
        return await _send_streaming(exchange, route, flow)
    pool = _replica(exchange, route)
    connection = pool.take() or await pool.connect(flow)
    return _call(exchange, route, pool, connection)


async def send_again(exchange: Exchange, failed: Answer) -> Answer:
    """The call failed before its answer began: replay it where that is safe. Raises UpstreamFault where not."""
    flow = exchange.flow
    assert flow is not None
    if not exchange.whole:
        failed.raise_fault()
    return await replay(exchange, flow, exchange.whole, failed, head_only=exchange.method == "HEAD")


def _replica(exchange: Exchange, route: Route) -> Pool:
    """The pool of the replica that gets the request; requests of one sequence go to one replica."""
    replicas = route.replicas
    if len(replicas.pools) == 1:
        return replicas.pools[0]
    if exchange.pool is None:
        # Once per request: a second look would take the turn of another.
        exchange.pool = replicas.choose(sequence_of(exchange.body, exchange.field(HEAD_LENGTH_FIELD)))
    return exchange.pool


def _call(exchange: Exchange, route: Route, pool: Pool, connection: ClientConnection) -> Answer:
    """Write the whole request."""
    exchange.pool, exchange.connection = pool, connection
    exchange.upstream_started = time.monotonic()
    _bound_answer(exchange, route, exchange.upstream_started)
    body = exchange.take()
    if exchange.body_copy is not None:
        exchange.keep_request(body)
    framed = body or exchange.method == "POST" or exchange.length is not None
    framing = b"content-length: %d\r\n\r\n" % len(body) if framed else b"\r\n"
    exchange.whole = data = b"".join((_start(exchange, route, pool), _section(exchange), framing, body))
    flow = exchange.flow
    assert flow is not None
    return connection.call(flow, data, whole=True, head_only=exchange.method == "HEAD")


def _bound_answer(exchange: Exchange, route: Route, now: float) -> None:
    """From here on the backend's own time runs, where it is shorter than the request's."""
    if route.version.timeout_s < route.model.timeout_s:
        exchange.expect_by(min(exchange.deadline, now + route.version.timeout_s))


def _section(exchange: Exchange) -> bytes:
    """The field section that goes to the backend, but for Host and framing; kept for the shadow."""
    parts = onward(exchange.meaning, exchange.fields, REQUEST_FIELDS, exchange.nominated)
    parts += (b"x-request-id: ", exchange.request_id.encode(), b"\r\n", _VIA[exchange.version])
    if exchange.client_id:
        parts += (b"x-client-request-id: ", exchange.client_id, b"\r\n")
    exchange.section = section = b"".join(parts)
    return section


def onward(meaning: Meaning | None, fields: Fields, forwarded: Forwarded, nominated: frozenset[bytes]) -> list[bytes]:
    """The fields that go on to the next hop, as parts; worked out once for a head that comes again."""
    if meaning is None:
        return end_to_end(fields, forwarded, nominated)
    if meaning.onward is None:
        meaning.onward = b"".join(end_to_end(fields, forwarded, nominated))
    return [meaning.onward]


async def _send_streaming(exchange: Exchange, route: Route, flow: Flow) -> Answer:
    """Call while the body is still coming in; an answer that comes early ends the sending."""
    pool = route.replicas.choose()
    connection = await connect(exchange, pool, flow)
    exchange.upstream_started = time.monotonic()
    length = exchange.length
    framing = b"transfer-encoding: chunked\r\n\r\n" if length is None else b"content-length: %d\r\n\r\n" % length
    head = b"".join((_start(exchange, route, pool), _section(exchange), framing))
    answer = connection.call(flow, head, whole=False)
    await _send_body(exchange, route, connection, answer)
    # The time of a client that sends slowly is not the backend's.
    _bound_answer(exchange, route, time.monotonic())
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


def pass_back(exchange: Exchange, route: Route, answer: Answer, date: DateLine) -> None:
    """Pass a whole answer on to the client, in one write."""
    exchange.upstream_done = time.monotonic()
    give_back(exchange)
    body = answer.take()
    if exchange.answer_copy is not None:
        exchange.keep_answer(body)
    exchange.begin(
        answer.status, _head(exchange, route, answer, date), answer.length if answer.bodiless else len(body), body
    )
    exchange.end()


async def stream_back(exchange: Exchange, route: Route, answer: Answer, buffer_bytes: int, date: DateLine) -> None:
    """Pass an answer on as it comes. Raises UpstreamFault; after the first byte the client's connection must be cut."""
    if answer.length is not None and answer.length <= min(buffer_bytes, BUFFER_BYTES):
        await answer.gathered()
        pass_back(exchange, route, answer, date)
        return
    first = answer.take()
    exchange.keep_answer(first)
    exchange.begin(answer.status, _head(exchange, route, answer, date), answer.length, first)
    while data := await answer.read():
        exchange.keep_answer(data)
        exchange.write(data)
        await exchange.drained()
    exchange.upstream_done = time.monotonic()
    exchange.end()


def _head(exchange: Exchange, route: Route, answer: Answer, date: DateLine) -> list[bytes]:
    """The field lines of the answer but for its framing, as parts to be joined."""
    parts = onward(answer.meaning, answer.fields, ANSWER_FIELDS, answer.nominated)
    parts += (route.stamp, exchange.request_id.encode(), b"\r\n")
    if exchange.client_id:
        parts += (b"x-client-request-id: ", exchange.client_id, b"\r\n")
    if not answer.dated:
        parts.append(date.now())
    return parts
