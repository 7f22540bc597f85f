"""A worker's edge on a real socket, in a thread with the event loop that workers run on.

with EdgeUnderTest(tmp_path, one_model(backend.url)) as edge, edge.connects() as client:
    assert client.asks(post("/models/echo/")).status == 200
"""

import asyncio
import json
import socket
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

from gateway.core.counters import Counters, totals
from gateway.core.metrics import OFFERED, REFUSALS, REQUESTS
from gateway.edge.access_log import AccessLog
from gateway.edge.application import Edge
from gateway.edge.tap import Tap
from gateway.http1.server import ServerConnection
from tests.support.answers import Answer
from tests.support.configurations import snapshot
from tests.support.wire_client import WireClient

Result = TypeVar("Result")
Json = dict[str, Any]

LOGGED = "a file of its own"
"""Value of `access_log` for an edge whose log is to be read."""


class EdgeUnderTest:
    """Serves from construction to `close`. `settings` are those of a configuration file."""

    def __init__(self, directory: Path, settings: Mapping[str, object], host: str = "127.0.0.1"):
        self.directory = directory
        self.log_path = directory / "access.log"
        self.crashes: list[tuple[str, Exception]] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=4096)
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self._settings = settings
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(30)
        if self._failed is not None:
            raise self._failed

    # -- what a test does --

    def connects(self) -> WireClient:
        return WireClient(self.host, self.port)

    def asked(self, data: bytes) -> Answer:
        """One request on a connection of its own."""
        with self.connects() as client:
            return client.asks(data)

    def applies(self, settings: Mapping[str, object]) -> None:
        """A reload."""
        compiled = self._compiled(settings)
        self.does(lambda: self.edge.apply(compiled))

    def does(self, work: Callable[[], Result]) -> Result:
        """Run something on the event loop."""

        async def run() -> Result:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    @property
    def used(self) -> int:
        """Connections to backends that carry a call."""
        return self.does(lambda: sum(pool.used for pool in self.edge.pools()))

    @property
    def config_id(self) -> str:
        return self.does(lambda: self.edge.table.snapshot.id)

    def counted(self, family: str, *labels: str) -> dict[str, int]:
        """The counters of one group that are not zero, once the loop has finished what it is doing."""
        self.does(lambda: None)
        group = totals(self.directory / "counters").get((family, labels), {})
        return {field: value for field, value in group.items() if value}

    def requests(self, model: str, version: str) -> dict[str, int]:
        return self.counted(REQUESTS.name, model, version)

    def refusals(self, code: str) -> int:
        return self.counted(REFUSALS.name, code).get("count", 0)

    def offered(self, model: str, challenger: str) -> dict[str, int]:
        return self.counted(OFFERED.name, model, challenger)

    def log_lines(self) -> list[Json]:
        """The access log, written to its end."""
        asyncio.run_coroutine_threadsafe(self.log.close(), self._loop).result(30)
        return [json.loads(line) for line in self.log_path.read_text().splitlines()] if self.log_path.exists() else []

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None:
            assert self.crashes == []

    # -- the worker's side --

    def _compiled(self, settings: Mapping[str, object]) -> Any:
        log = str(self.log_path) if settings.get("access_log") == LOGGED else "off"
        return snapshot({**settings, "access_log": log, "state": str(self.directory)})

    def _run(self) -> None:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        try:
            runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - the test's thread is told
            self._failed = error
        finally:
            with warnings.catch_warnings():
                # See `tests.support.loops`: what still rests in a pool is closed by the end of the loop.
                warnings.simplefilter("ignore", ResourceWarning)
                runner.close()
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        compiled = self._compiled(self._settings)
        config = compiled.config
        counters = Counters(self.directory / "counters", "worker-0")
        shadow_path = str(self.directory / "shadow.sock")
        self.tap = Tap("worker-0", shadow_path, counters, config.shadow.queue_items, config.shadow.queue_bytes)
        self.log = AccessLog(config.access_log, counters, self._loop)
        self.edge = Edge(compiled, counters, self.tap, self.log, lambda *crash: self.crashes.append(crash))
        self.tap.start()
        server = await self._loop.create_server(lambda: ServerConnection(self.edge), sock=self._listener)
        self._ready.set()
        await self._stop.wait()
        server.close()
        for connection in list(self.edge.connections):
            connection.abort()
        while self.edge.connections:  # noqa: ASYNC110 - a set has no event
            await asyncio.sleep(0.002)
        for pool in self.edge.pools():
            pool.close()
        await self.tap.close(1.0)
        await self.log.close()
        counters.close()
