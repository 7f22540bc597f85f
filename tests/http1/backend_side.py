r"""A backend's end of a connection that calls go over, without a socket.

backend = BackendSide()
call = backend.is_asked()
backend.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
assert call.body == b"hi"
"""

from gateway.core.flow import Flow
from gateway.http1.client import Answer, ClientConnection
from gateway.http1.errors import UpstreamFault
from tests.support.transports import FakeTransport

REQUEST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"
LIMIT = 1_000_000


class Call:
    """One call and what came of it: `body` once the answer is whole, `fault` where it never will be."""

    def __init__(self, connection: ClientConnection, data: bytes, whole: bool, head_only: bool):
        self.answer: Answer | None = None
        self.body: bytes | None = None
        self.fault: UpstreamFault | None = None
        self.crash: Exception | None = None
        self._connection = connection
        self._request = (data, whole, head_only)
        self.flow = Flow(self._run(), self._ended)
        self.flow.wake()

    async def _run(self) -> None:
        data, whole, head_only = self._request
        answer = self.answer = self._connection.call(self.flow, data, whole=whole, head_only=head_only)
        try:
            await answer.head()
            self.body = await answer.read_all(LIMIT)
        except UpstreamFault as fault:
            self.fault = fault

    def _ended(self, error: Exception | None) -> None:
        self.crash = error

    @property
    def status(self) -> int:
        assert self.answer is not None
        return self.answer.status

    @property
    def verdict(self) -> tuple[int, bytes] | str:
        """Status and body, or the kind of fault, or that it goes on."""
        assert self.crash is None, self.crash
        if self.fault is not None:
            return type(self.fault).__name__
        return (self.status, self.body) if self.body is not None else "pending"


class BackendSide:
    """What the backend does; every event is followed by what an event loop would do."""

    def __init__(self) -> None:
        self.losses = 0
        self.connection = ClientConnection(self._lost)
        self.transport = FakeTransport(self.connection)
        self.connection.connection_made(self.transport)

    def _lost(self, connection: ClientConnection) -> None:
        assert connection is self.connection
        self.losses += 1

    def is_asked(self, data: bytes = REQUEST, *, whole: bool = True, head_only: bool = False) -> Call:
        return Call(self.connection, data, whole, head_only)

    def answers(self, *pieces: bytes) -> None:
        for piece in pieces:
            if self.transport.is_closing():
                break
            self.connection.data_received(piece)
            self.transport.settle()

    def closes(self) -> None:
        """FIN."""
        if not self.transport.is_closing():
            self.connection.eof_received()
        self.transport.lose()

    def resets(self) -> None:
        """RST."""
        self.transport.lose(ConnectionResetError())

    @property
    def is_cut_off(self) -> bool:
        return self.transport.is_closing()
