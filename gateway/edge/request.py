"""The life of one request, in order. Everything a request can meet is a line of `serve`.

It runs as a flow (core.flow): it pauses where it waits for the client's body, a backend's connection or a backend's
answer, and nowhere else. Whatever happens, `edge.record` is its last line: log, counters, offer to the shadow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.core.flow import pause
from gateway.core.ids import valid_client_id
from gateway.core.problems import Problem, Refusal
from gateway.core.snapshot import Network
from gateway.edge.client_address import client_address, trusted_peer
from gateway.edge.exchange import Exchange
from gateway.edge.forward import pass_back, send, send_again, send_at_once, stream_back
from gateway.edge.guards.sizes import declared_size
from gateway.edge.meters import outcome_of
from gateway.edge.routing.route import Local, Route
from gateway.http1.errors import (
    BodyBroken,
    ClientGone,
    DeadlineExceeded,
    UpstreamFault,
    UpstreamSaturated,
    UpstreamUnreachable,
)
from gateway.http1.head import Fields
from gateway.upstream.call import give_back

if TYPE_CHECKING:
    from gateway.edge.application import Edge
    from gateway.edge.routing.table import Table

GUARDS = (declared_size,)
"""What may refuse a request, in order. A guard takes the exchange and its route and returns a refusal or None."""

_JSON = b"content-type: application/json\r\n"


async def serve(edge: Edge, exchange: Exchange) -> None:
    """Serve one request from its head to its log line, on one snapshot."""
    table = exchange.table = edge.table
    try:
        refusal = identify(edge, exchange, table)
        route = table.find(exchange.path)
        if not isinstance(route, Route):
            answer_without_backend(edge, exchange, route, refusal)
            return
        refusal = refusal or admit(edge, exchange, route)
        if refusal is not None:
            refuse(edge, exchange, refusal)
            return
        buffer_bytes = edge.limits.buffer_bytes
        answer = send_at_once(exchange, route) or await send(exchange, route, buffer_bytes)
        while not answer.started:
            if answer.fault is not None:
                answer = await send_again(exchange, answer)
            else:
                await pause()
        exchange.answer = answer
        exchange.status = answer.status
        if answer.complete:
            pass_back(exchange, route, answer, edge.date)
        else:
            await stream_back(exchange, route, answer, buffer_bytes, edge.date)
        exchange.outcome = outcome_of(answer.status)
    except ClientGone:
        exchange.outcome = "client_gone"
    except BodyBroken as broken:
        refuse(edge, exchange, broken.refusal)
    except DeadlineExceeded:
        refuse(edge, exchange, _overdue(exchange))
    except UpstreamFault as fault:
        refuse(edge, exchange, _failed(fault))
    finally:
        give_back(exchange)
        edge.record(exchange)


def identify(edge: Edge, exchange: Exchange, table: Table) -> Refusal | None:
    """Give the request its id, and learn who asks for what."""
    exchange.request_id = edge.ids.new()
    exchange.path, _, exchange.query = exchange.target.partition(b"?")
    trusted = table.snapshot.trusted_proxies
    exchange.client = client_address(exchange.peer, exchange.fields, trusted) if trusted else exchange.peer
    meaning, noted = exchange.meaning, table.noted
    if meaning is None:
        seen = [field for field in exchange.fields if field[0] in noted]
    elif meaning.noted is None or meaning.looked_for is not noted:
        meaning.looked_for = noted
        seen = meaning.noted = [field for field in exchange.fields if field[0] in noted]
    else:
        seen = meaning.noted
    return _note(exchange, seen, trusted) if seen else None


def _note(exchange: Exchange, seen: Fields, trusted: Sequence[Network]) -> Refusal | None:
    """Take note of the fields that mean something to us."""
    for name, value in seen:
        if name == b"x-shadow":
            return Refusal(Problem.SHADOW_NOT_ALLOWED, "the x-shadow field is not taken from clients")
        if name == b"x-request-timeout-ms":
            if value.isdigit() and len(value) < 9:
                exchange.wished_s = int(value) / 1000
        elif name == b"x-request-id":
            if valid_client_id(value.decode("latin-1")):
                exchange.client_id = value
        elif trusted_peer(exchange.peer, trusted):
            exchange.tenant = value.decode("latin-1")
    return None


def admit(edge: Edge, exchange: Exchange, route: Route) -> Refusal | None:
    """Whether the request may go on to its model; from here on its time is bounded."""
    exchange.route = route
    if exchange.method not in route.methods:
        return _method_refused(exchange, route)
    for guard in GUARDS:
        refusal = guard(exchange, route)
        if refusal is not None:
            return refusal
    exchange.expect_by(exchange.started + min(route.model.timeout_s, exchange.wished_s))
    if route.tapped is not None and exchange.method == "POST":
        exchange.copy_cap = edge.copy_cap
        exchange.body_copy = []
        exchange.answer_copy = []
    return None


def answer_without_backend(edge: Edge, exchange: Exchange, route: Local | Refusal, refusal: Refusal | None) -> None:
    """Answer a path of the gateway's own, or one that leads nowhere."""
    if isinstance(route, Refusal):
        refuse(edge, exchange, refusal or route)
        return
    if exchange.method not in route.methods:
        refuse(edge, exchange, _method_refused(exchange, route))
        return
    lines = [_JSON, b"x-request-id: %b\r\n" % exchange.request_id.encode(), edge.date.now()]
    if exchange.client_id:
        lines.append(b"x-client-request-id: %b\r\n" % exchange.client_id)
    exchange.status, body = route.answer()
    exchange.reply(exchange.status, lines, body)


def refuse(edge: Edge, exchange: Exchange, refusal: Refusal) -> None:
    """Answer with a problem; where the answer has already begun, cut it, because it cannot be taken back."""
    exchange.code = refusal.problem.code
    exchange.outcome = exchange.outcome or _OUTCOMES.get(refusal.problem, "refused")
    if exchange.answered:
        exchange.abort()
        return
    exchange.status = refusal.problem.status
    lines, body = edge.problem(exchange.request_id, refusal)
    if exchange.client_id:
        lines.append(b"x-client-request-id: %b\r\n" % exchange.client_id)
    if exchange.route is not None:
        lines.append(b"x-model-version: %b\r\n" % exchange.route.version.name.encode())
    exchange.reply(exchange.status, lines, body)


_OUTCOMES = {
    Problem.UPSTREAM_TIMEOUT: "upstream_timeout",
    Problem.UPSTREAM_INVALID: "upstream_failed",
    Problem.UPSTREAM_UNREACHABLE: "upstream_failed",
    Problem.OVERLOADED: "upstream_failed",
}


def _method_refused(exchange: Exchange, route: Route | Local) -> Refusal:
    allowed = ", ".join(sorted(route.methods)).encode()
    return Refusal(Problem.METHOD_NOT_ALLOWED, f"{exchange.method} does not fit this path", ((b"allow", allowed),))


def _overdue(exchange: Exchange) -> Refusal:
    connection = exchange.connection
    # A backend that does not read holds up the client's body, too.
    if exchange.complete or (connection is not None and connection.congested):
        return Refusal(Problem.UPSTREAM_TIMEOUT, "the backend did not answer in the time the request has")
    return Refusal(Problem.REQUEST_TIMEOUT, "the body did not arrive in the time the request has")


def _failed(fault: UpstreamFault) -> Refusal:
    if isinstance(fault, UpstreamSaturated):
        return Refusal(Problem.OVERLOADED, str(fault), ((b"retry-after", b"1"),))
    if isinstance(fault, UpstreamUnreachable):
        return Refusal(Problem.UPSTREAM_UNREACHABLE, "no connection to the backend could be made")
    return Refusal(Problem.UPSTREAM_INVALID, str(fault))
