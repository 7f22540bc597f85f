"""Runs coroutines as flows from within a test's own coroutine."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from gateway.core.flow import Flow
from gateway.http1.client import ClientConnection
from gateway.upstream.pool import Pool

Result = TypeVar("Result")


class Caller:
    """Who calls a backend, as `gateway.upstream.call` knows it."""

    def __init__(self) -> None:
        self.pool: Pool | None = None
        self.connection: ClientConnection | None = None


class Running(Generic[Result]):
    """A coroutine function over its own flow, started at once; `await running.ended()` gives what it returned."""

    def __init__(self, work: Callable[[Flow], Coroutine[Any, Any, Result]]):
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.result: Result | None = None
        self.error: Exception | None = None
        self.flow = Flow(self._run(work), self._done)
        self.flow.wake()

    async def _run(self, work: Callable[[Flow], Coroutine[Any, Any, Result]]) -> None:
        # The first step happens within the making of the flow's first wake: the flow is there by then.
        self.result = await work(self.flow)

    def _done(self, error: Exception | None) -> None:
        self.error = error
        self._ended.set_result(None)

    @property
    def done(self) -> bool:
        return self._ended.done()

    async def ended(self, within_s: float = 20.0) -> Result:
        """What the coroutine returned; what it raised is raised here."""
        await asyncio.wait_for(asyncio.shield(self._ended), within_s)
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result
