r"""A client's connection without a socket, and an application without a gateway: tests that read like a conversation.

with conversation(echo) as client:
    client.sends(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.answer().status == 200
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, cast

from gateway.core.flow import pause
from gateway.core.problems import Refusal
from gateway.http1 import deadlines, exchange, server
from gateway.http1.deadlines import Deadlines
from gateway.http1.errors import BodyBroken, ClientGone, DeadlineExceeded
from gateway.http1.exchange import Exchange
from gateway.http1.limits import Limits
from gateway.http1.server import ServerConnection
from tests.support.answers import Answer, read_answers
from tests.support.clocks import Clock, stopped_clock
from tests.support.transports import FakeTransport

BODY_CAP = 1000

Serve = Callable[[Exchange], Coroutine[Any, Any, None]]


class ScriptedApplication:
    """Serves every message with one coroutine function, and remembers what it saw."""

    def __init__(self, serve: Serve, clock: Clock, limits: Limits):
        self._serve = serve
        self.limits = limits
        self.deadlines = Deadlines(cast(asyncio.AbstractEventLoop, clock))
        self.connections: set[Any] = set()
        self.draining = False
        self.served: list[Exchange] = []
        self.refused: list[Refusal] = []
        self.crashes: list[Exception] = []

    def open(self, connection: ServerConnection) -> Exchange:
        return Exchange(connection)

    def serve(self, message: Exchange) -> Coroutine[Any, Any, None]:
        self.served.append(message)
        return self._serve(message)

    def refuse(self, refusal: Refusal) -> tuple[int, list[bytes], bytes]:
        self.refused.append(refusal)
        return refusal.problem.status, [b"x-code: %b\r\n" % refusal.problem.code.encode()], refusal.detail.encode()

    def crashed(self, message: Exchange, error: Exception) -> None:
        self.crashes.append(error)


class Client:
    """The client's end of one connection."""

    def __init__(self, application: ScriptedApplication, clock: Clock, peer: object = ("192.0.2.7", 50000)):
        self.application = application
        self.clock = clock
        self.connection = ServerConnection(application)
        self.transport = FakeTransport(self.connection, peer)
        self.connection.connection_made(self.transport)

    def sends(self, *pieces: bytes) -> None:
        """Send; what does not arrive because the other end has closed or reads no more is dropped."""
        for piece in pieces:
            if self.transport.is_closing() or not self.transport.reading:
                break
            self.connection.data_received(piece)
            self.transport.settle()

    def ends_sending(self) -> None:
        """Close this direction only."""
        if not self.connection.eof_received():
            self.transport.close()
        self.transport.settle()

    def stops_reading(self) -> None:
        self.connection.pause_writing()
        self.transport.settle()

    def reads_on(self) -> None:
        self.connection.resume_writing()
        self.transport.settle()

    def is_gone(self, error: Exception | None = None) -> None:
        self.transport.lose(error)

    def waits(self, seconds: float) -> None:
        self.clock.passes(seconds)
        self.transport.settle()

    @property
    def received(self) -> bytes:
        return bytes(self.transport.written)

    def answers(self, heads: Collection[int] = ()) -> list[Answer]:
        """Everything received so far, as answers."""
        return read_answers(self.received, heads, self.transport.ended)

    def answer(self, heads: Collection[int] = ()) -> Answer:
        """The only answer so far."""
        (answer,) = self.answers(heads)
        return answer

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers()]

    @property
    def is_closed(self) -> bool:
        """Whether the server has ended the connection, or at least its half."""
        return self.transport.ended


@contextmanager
def conversation(
    serve: Serve, *, limits: Limits | None = None, peer: object = ("192.0.2.7", 50000)
) -> Iterator[Client]:
    """A client connected to an application that serves with `serve`; time stands still unless the client waits."""
    with stopped_clock(server, exchange, deadlines) as clock:
        application = ScriptedApplication(serve, clock, limits or Limits())
        client = Client(application, clock, peer)
        yield client
        client.is_gone()
        assert application.crashes == []
        assert application.connections == set()
        assert client.transport.too_late == b"", "written after the end"


# -- ways to serve -----------------------------------------------------------------------------------------------------


async def echo(message: Exchange) -> None:
    """Answer with method, target and body, once the body is whole."""
    try:
        body = await message.read_body(BODY_CAP)
    except BodyBroken as broken:
        message.reply(broken.refusal.problem.status, [], broken.refusal.detail.encode())
    except ClientGone:
        pass
    else:
        message.reply(200, [], b"%b %b %b" % (message.method.encode(), message.target, body))


async def at_once(message: Exchange) -> None:
    """Answer without a look at the body."""
    message.reply(200, [], message.target)


class Held:
    """Serves like `at_once`, but not before the test says so; notes how each wait ended."""

    def __init__(self, within_s: float | None = None) -> None:
        self._within_s = within_s
        self._opened = 0
        self.began: list[bytes] = []
        self.ended: list[str] = []

    async def __call__(self, message: Exchange) -> None:
        number = len(self.began)
        self.began.append(message.target)
        if self._within_s is not None:
            message.expect_by(message.started + self._within_s)
        try:
            while self._opened <= number:
                await pause()
        except ClientGone:
            self.ended.append("gone")
        except DeadlineExceeded:
            self.ended.append("overdue")
            message.reply(504, [], b"")
        else:
            self.ended.append("served")
            message.reply(200, [], message.target)

    def lets_through(self, client: Client, how_many: int = 1) -> None:
        for _ in range(how_many):
            self._opened += 1
            flow = client.application.served[self._opened - 1].flow
            assert flow is not None
            flow.wake()
            client.transport.settle()


def request(
    target: str = "/", body: bytes = b"", *fields: str, method: str | None = None, version: str = "1.1"
) -> bytes:
    """One request; a POST with a Content-Length where it has a body."""
    lines = [f"{method or ('POST' if body else 'GET')} {target} HTTP/{version}", "Host: example.org", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
