"""One request's facts: what the edge learns about a request from its first byte to its log line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.http1 import exchange as wire
from gateway.http1.client import Answer, ClientConnection
from gateway.http1.deadlines import NEVER
from gateway.http1.server import ServerConnection
from gateway.upstream.pool import Pool

if TYPE_CHECKING:
    from gateway.edge.routing.route import Route
    from gateway.edge.routing.table import Table


class Exchange(wire.Exchange):
    """A request on its way through the gateway. Times are monotonic seconds; 0.0 means not yet."""

    __slots__ = (
        "answer", "answer_copy", "answer_size", "body_copy", "client", "client_id", "code", "connection", "copy_cap",
        "outcome", "path", "pool", "query", "request_id", "route", "section", "status", "table", "tenant",
        "upstream_done", "upstream_started", "whole", "wished_s",
    )  # fmt: skip

    def __init__(self, connection: ServerConnection):
        super().__init__(connection)
        self.answer: Answer | None = None
        self.answer_copy: list[bytes] | None = None
        self.body_copy: list[bytes] | None = None
        self.copy_cap = -1
        """Most bytes of request and of answer kept for the challengers; -1 keeps nothing."""
        self.answer_size = self.status = 0
        self.client = self.code = self.outcome = self.request_id = self.tenant = ""
        self.client_id = self.path = self.query = b""
        self.connection: ClientConnection | None = None
        self.pool: Pool | None = None
        self.route: Route | None = None
        self.section = b""
        """The field section as it was forwarded."""
        self.table: Table | None = None
        self.upstream_done = self.upstream_started = 0.0
        self.whole = b""
        """The request as it was written to the backend, where it was written whole."""
        self.wished_s = NEVER
        """Seconds that the client gives the request (`x-request-timeout-ms`)."""

    def keep_request(self, data: bytes) -> None:
        """Keep a part of the body for the challengers, as long as the whole stays under the cap."""
        if self.body_copy is not None:
            if self.received > self.copy_cap:
                self.body_copy = None
            else:
                self.body_copy.append(data)

    def keep_answer(self, data: bytes) -> None:
        """Likewise a part of the champion's answer."""
        self.answer_size += len(data)
        if self.answer_copy is not None:
            if self.answer_size > self.copy_cap:
                self.answer_copy = None
            else:
                self.answer_copy.append(data)
