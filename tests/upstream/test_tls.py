"""Backends behind https: whom they may be, and who is not believed."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.core.flow import Flow
from gateway.core.snapshot import TlsSettings
from gateway.http1.errors import UpstreamUnreachable
from gateway.upstream.call import call_whole, give_back
from gateway.upstream.pool import Pool
from tests.support.certificates import Authority, make_authority
from tests.support.flows import Caller, Running
from tests.support.loops import on_event_loop
from tests.support.targets import target

REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def localhost(authority: Authority) -> ssl.SSLContext:
    return authority.server("localhost")


@asynccontextmanager
async def backend(context: ssl.SSLContext, seen: list[str | None] | None = None) -> AsyncIterator[int]:
    """Answers every request with 100 000 bytes, over TLS; the port. `seen` gathers the names that clients asked for."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"a" * 100_000)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    def note(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        if seen is not None:
            seen.append(name)

    context.sni_callback = note  # type: ignore[assignment]
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def asks(pool: Pool) -> int:
    """The size of the answer to one call."""
    caller = Caller()

    async def call(flow: Flow) -> int:
        try:
            answer = await call_whole(caller, pool, flow, REQUEST)
            return len(await answer.read_all(1_000_000))
        finally:
            give_back(caller)

    return await Running(call).ended()


def pool_of(port: int, settings: TlsSettings, host: str = "127.0.0.1") -> Pool:
    return Pool(target(port, host=host, tls=settings), 4, connect_timeout_s=10.0)


@on_event_loop
async def test_a_backend_with_a_certificate_of_the_right_authority_is_called(
    authority: Authority, localhost: ssl.SSLContext
) -> None:
    names: list[str | None] = []
    async with backend(localhost, names) as port:
        pool = pool_of(port, TlsSettings(str(authority.certificate), True, "localhost"))
        for _ in range(3):
            assert await asks(pool) == 100_000
        assert (pool.used, pool.idle) == (0, 1)
        assert names == ["localhost"]
        pool.close()


@on_event_loop
async def test_an_unknown_authority_is_not_believed(localhost: ssl.SSLContext) -> None:
    async with backend(localhost) as port:
        with pytest.raises(UpstreamUnreachable, match="127"):
            await asks(pool_of(port, TlsSettings(None, True, "localhost")))


@on_event_loop
async def test_a_certificate_of_another_name_is_not_believed(authority: Authority, localhost: ssl.SSLContext) -> None:
    async with backend(localhost) as port:
        with pytest.raises(UpstreamUnreachable):
            await asks(pool_of(port, TlsSettings(str(authority.certificate), True, "other.example")))


@on_event_loop
async def test_an_operator_may_choose_not_to_look(localhost: ssl.SSLContext) -> None:
    async with backend(localhost) as port:
        pool = pool_of(port, TlsSettings(None, False, "other.example"))
        assert await asks(pool) == 100_000
        pool.close()


@on_event_loop
async def test_a_backend_may_be_known_by_its_address(authority: Authority) -> None:
    async with backend(authority.server("IP:127.0.0.1")) as port:
        pool = pool_of(port, TlsSettings(str(authority.certificate), True, "127.0.0.1"))
        assert await asks(pool) == 100_000
        pool.close()


@on_event_loop
async def test_a_backend_that_speaks_no_tls_is_a_fault() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    with pytest.raises(UpstreamUnreachable):
        await asks(pool_of(server.sockets[0].getsockname()[1], TlsSettings(None, False, "localhost")))
    server.close()


def test_only_http_1_1_is_offered(authority: Authority) -> None:
    settings = TlsSettings(str(authority.certificate), True, "localhost")
    context = settings.context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    unverified = TlsSettings(None, False, "localhost").context()
    assert unverified.verify_mode is ssl.CERT_NONE


def test_an_authority_that_is_gone_is_an_error_when_the_pool_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pool_of(1, TlsSettings(str(tmp_path / "gone.pem"), True, "localhost"))
