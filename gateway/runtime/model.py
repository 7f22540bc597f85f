"""A model server: the built-in ONNX server on the Unix socket that the supervisor holds for it."""

from __future__ import annotations

from typing import Final

from gateway.core.snapshot import Snapshot
from gateway.onnx_server.errors import ModelUnusable
from gateway.onnx_server.http import ModelApplication, start_model
from gateway.runtime.child import ChildContext, StartRefused

DRAIN_S: Final = 8.0
"""Below what the supervisor waits before it ends a model server."""


class ModelRole:
    """The role of a model process: one version of one model, from its start to its end."""

    def __init__(self, context: ChildContext):
        self._context = context
        self._application: ModelApplication | None = None

    async def start(self, snapshot: Snapshot) -> None:
        """Load the file, then accept requests."""
        server = self._context.server
        assert server is not None, "a model process is always told what to load"
        try:
            self._application = await start_model(server, self._context.sockets["model"])
        except ModelUnusable as unusable:
            raise StartRefused(str(unusable)) from unusable

    async def apply(self, snapshot: Snapshot) -> None:
        """Nothing to do: what a model server runs on never changes, another configuration has another server."""

    async def drain(self) -> None:
        """Answer what has begun."""
        if self._application is not None:
            await self._application.drain(DRAIN_S)

    def status(self) -> dict[str, object]:
        """How many connections are open."""
        return {"connections": len(self._application.connections)} if self._application else {}


def make(context: ChildContext) -> ModelRole:
    """The role of this process."""
    return ModelRole(context)
