"""A worker's edge: what all its connections share, and how the table of routes is swapped under them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import msgspec

from gateway.core.counters import Counters
from gateway.core.ids import RequestIds
from gateway.core.metrics import REFUSALS
from gateway.core.offer import Offer
from gateway.core.open_inference import HEAD_LENGTH_FIELD, sequence_of
from gateway.core.problems import CONTENT_TYPE, Problem, Refusal
from gateway.core.snapshot import Snapshot
from gateway.edge.access_log import AccessLog, Line
from gateway.edge.exchange import Exchange
from gateway.edge.request import serve
from gateway.edge.routing.route import Route
from gateway.edge.routing.table import Table
from gateway.edge.tap import Tap
from gateway.http1.date import DateLine
from gateway.http1.deadlines import Deadlines
from gateway.http1.limits import Limits
from gateway.http1.server import ServerConnection
from gateway.upstream.pool import Pool
from gateway.upstream.replicas import Registry

CrashReport = Callable[[str, Exception], None]


class Edge:
    """The application behind every client connection of one worker."""

    def __init__(self, snapshot: Snapshot, counters: Counters, tap: Tap, log: AccessLog, report: CrashReport):
        self._counters = counters
        self._log = log
        self._report = report
        self._tap = tap
        self._registry = Registry()
        self._refused = {problem: counters.group(REFUSALS, (problem.code,)) for problem in Problem}
        # Wall time is taken once and carried on by the monotonic clock, so that log times never run backwards.
        self._wall_offset = time.time() - time.monotonic()
        self.connections: set[Any] = set()
        self.deadlines = Deadlines(asyncio.get_running_loop())
        self.date = DateLine()
        self.draining = False
        self.ids = RequestIds()
        self.apply(snapshot)

    # -- the snapshot ----------------------------------------------------------------------------------------------

    def apply(self, snapshot: Snapshot) -> None:
        """Serve every request that begins from now on with `snapshot`; running ones keep theirs."""
        self.use(self.build(snapshot))

    def build(self, snapshot: Snapshot) -> Table:
        """The routes of a snapshot; the costly part of a swap."""
        return Table(snapshot, self._registry, self._counters, self._tap, self.readiness)

    def use(self, table: Table) -> None:
        """Swap in a table: one assignment for the requests to come."""
        config = table.snapshot.config
        self.limits = Limits.of(config.http)
        self.copy_cap = config.shadow.body
        self._tap.queue_items = config.shadow.queue_items
        self._tap.queue_bytes = config.shadow.queue_bytes
        self.table = table
        self._registry.keep_only(table.replicas())

    def pools(self) -> Iterable[Pool]:
        """Every pool of connections to backends."""
        return self._registry.pools()

    def readiness(self) -> tuple[int, bytes]:
        """Whether this worker takes requests."""
        if self.draining:
            return 503, b'{"ready":false,"reason":"stopping"}'
        return 200, msgspec.json.encode({"ready": True, "config_id": self.table.snapshot.id})

    # -- what connections ask (http1.server.Application) -------------------------------------------------------------

    def open(self, connection: ServerConnection) -> Exchange:
        """A new exchange."""
        return Exchange(connection)

    def serve(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        """The life of one request."""
        return serve(self, exchange)

    def refuse(self, refusal: Refusal) -> tuple[int, list[bytes], bytes]:
        """The answer to a message that never became a request."""
        request_id = self.ids.new()
        lines, body = self.problem(request_id, refusal)
        if self._log.enabled:
            problem = refusal.problem
            self._log.write(
                Line(time.time(), request_id, "", "", "", "", "", "", problem.status, "refused", problem.code,
                     self.table.snapshot.id, 0.0, None, 0, 0)
            )  # fmt: skip
        return refusal.problem.status, lines, body

    def crashed(self, exchange: Exchange, error: Exception) -> None:
        """A request met a defect of ours."""
        self._report(exchange.request_id, error)

    # -- what the life of a request asks -------------------------------------------------------------------------------

    def problem(self, request_id: str, refusal: Refusal) -> tuple[list[bytes], bytes]:
        """A refusal as field lines and body; counted by code."""
        self._counters.cells[self._refused[refusal.problem]] += 1
        lines = [b"content-type: %b\r\nx-request-id: %b\r\n" % (CONTENT_TYPE, request_id.encode()), self.date.now()]
        lines += [b"%b: %b\r\n" % field for field in refusal.fields]
        return lines, refusal.body(request_id)

    def record(self, exchange: Exchange) -> None:
        """The last line of a request's life: count it, offer it to the shadow, log it."""
        route = exchange.route
        if route is not None:
            if not exchange.outcome:
                # A defect of ours; the connection answers it.
                exchange.outcome, exchange.status, exchange.code = "5xx", 500, Problem.INTERNAL.code
            started, done = exchange.upstream_started, exchange.upstream_done
            # A whole answer is passed on at once: its end at the backend is its end here, to a few microseconds.
            now = done if done and exchange.finished else time.monotonic()
            upstream_s = (done or now) - started if started else None
            if route.inference and exchange.method == "POST":
                route.meter.count(exchange.outcome, now - exchange.started, upstream_s)
                if exchange.copy_cap >= 0 and exchange.outcome != "refused":
                    self._offer(exchange, route, upstream_s or 0.0, now)
            if self._log.enabled:
                self._write_line(exchange, route, now - exchange.started, upstream_s)
        elif self._log.enabled and exchange.code:
            self._write_line(exchange, None, time.monotonic() - exchange.started, None)

    def _offer(self, exchange: Exchange, route: Route, upstream_s: float, now: float) -> None:
        tapped, answer = route.tapped, exchange.answer
        if tapped is None:
            return
        if exchange.outcome == "client_gone":
            self._tap.skip(tapped, "client_gone", _sequence(exchange))
        elif exchange.outcome != "2xx" or answer is None:
            self._tap.skip(tapped, "champion_failed", _sequence(exchange))
        elif exchange.body_copy is None or exchange.answer_copy is None:
            self._tap.skip(tapped, "too_large", _sequence(exchange))
        else:
            self._tap.offer(tapped, Offer(
                route=tapped.number,
                request_id=exchange.request_id,
                started_us=int((exchange.started + self._wall_offset) * 1e6),
                offered_us=int(now * 1e6),
                champion_us=int(upstream_s * 1e6),
                tenant=exchange.tenant,
                client=exchange.client,
                method=exchange.method,
                path=(route.path + b"?" + exchange.query if exchange.query else route.path).decode("ascii"),
                fields=exchange.section,
                body=b"".join(exchange.body_copy),
                status=answer.status,
                content_type=(answer.field(b"content-type") or b"").decode("latin-1"),
                content_encoding=(answer.field(b"content-encoding") or b"").decode("latin-1"),
                head_length=(answer.field(HEAD_LENGTH_FIELD) or b"").decode("latin-1"),
                answer=b"".join(exchange.answer_copy),
            ))  # fmt: skip

    def _write_line(self, exchange: Exchange, route: Route | None, took_s: float, upstream_s: float | None) -> None:
        table = exchange.table
        self._log.write(
            Line(
                time=exchange.started + self._wall_offset,
                request_id=exchange.request_id,
                client=exchange.client,
                tenant=exchange.tenant,
                method=exchange.method,
                path=exchange.path.decode("latin-1"),
                model=route.model.name if route else "",
                version=route.version.name if route else "",
                status=exchange.status,
                outcome=exchange.outcome,
                code=exchange.code,
                config_id=table.snapshot.id if table else "",
                duration_ms=round(took_s * 1e3, 3),
                upstream_ms=round(upstream_s * 1e3, 3) if upstream_s is not None else None,
                bytes_in=exchange.received,
                bytes_out=exchange.sent,
            )
        )


def _sequence(exchange: Exchange) -> str | None:
    """The sequence of a request that is not offered; None where its body is not whole here to tell."""
    if exchange.body_copy is None or not exchange.complete:
        return None
    return sequence_of(b"".join(exchange.body_copy), exchange.field(HEAD_LENGTH_FIELD))
