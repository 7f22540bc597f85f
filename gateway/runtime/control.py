"""The control process: the admin listener and live reload over the supervisor's line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine

from gateway.control.admin.api import Api, Sources
from gateway.control.admin.app import AdminServer, make_app
from gateway.control.housekeeping import Housekeeping
from gateway.control.reachability import Reachability
from gateway.control.reload import Reloader, Source
from gateway.core.snapshot import Snapshot
from gateway.runtime.child import ChildContext
from gateway.runtime.stored_evidence import StoredEvidence


class ControlRole:
    """The role of the control process."""

    def __init__(self, context: ChildContext):
        self._context = context
        self._snapshot: Snapshot | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._reloader = Reloader(Source(context.config_path, os.environ), context.supervisor, context.counters)
        self._evidence = StoredEvidence(context.state)
        self._housekeeping = Housekeeping(self._evidence, lambda: self._in_force().config.pairs)
        self._reachability = Reachability()
        self._server: AdminServer | None = None

    async def start(self, snapshot: Snapshot) -> None:
        """Answer operators, then look at the file."""
        self._adopt(snapshot)
        context = self._context
        context.on_reload = self._reloader.ask
        api = Api(
            Sources(
                supervisor=context.supervisor,
                reloader=self._reloader,
                snapshot=self._in_force,
                counters=context.state / "counters",
                evidence=self._evidence,
            )
        )
        app = make_app(api, frozenset({snapshot.config.listen.admin.host}))
        self._server = AdminServer(app, context.sockets["admin"])
        await self._server.start()
        self._keep(self._reloader.run())
        self._keep(self._housekeeping.run())
        self._keep(self._reachability.run())

    async def apply(self, snapshot: Snapshot) -> None:
        """Show and compare against another configuration from here on."""
        self._adopt(snapshot)

    async def drain(self) -> None:
        """Finish what operators have asked."""
        self._reloader.stop()
        self._housekeeping.stop()
        self._reachability.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.stop()
        await asyncio.to_thread(self._evidence.close)

    def status(self) -> dict[str, object]:
        """What the file as it is led to, and which backends are down."""
        return {"reload": self._reloader.last.outcome, "unreachable": self._reachability.unreachable()}

    def _adopt(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._reloader.adopt(snapshot)
        self._reachability.adopt(snapshot)

    def _in_force(self) -> Snapshot:
        assert self._snapshot is not None, "nothing is served before the first configuration"
        return self._snapshot

    def _keep(self, life: Coroutine[None, None, None]) -> None:
        """Run something for the life of the process, which ends if that fails."""
        task = asyncio.create_task(life)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._context.fail(f"{type(error).__name__}: {error}")


def make(context: ChildContext) -> ControlRole:
    """The role of this process."""
    return ControlRole(context)
