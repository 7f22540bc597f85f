"""Every process of the gateway by what it does, and the sockets they serve on."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.core.snapshot import ModelServer
from gateway.runtime.child import Assignment, RoleName, SocketName
from gateway.runtime.native import Build
from gateway.runtime.places import listen_unix
from gateway.runtime.slot import Slot, Wiring


@dataclass(frozen=True, slots=True)
class Site:
    """Where the gateway runs: its directories, the two listeners that clients and operators reach, and the build that
    its processes load.
    """

    config_path: Path
    state: Path
    runtime_directory: Path
    inference: socket.socket
    admin: socket.socket
    build: Build = "interpreted"


class Fleet:
    """Model servers, the shadow process, workers, the control process. Starting and stopping is
    the supervisor's.
    """

    def __init__(self, site: Site, wiring: Wiring, workers: int):
        self.site = site
        self._wiring = wiring
        self._listeners: dict[str, socket.socket] = {}
        # Two model processes per core would only make each other's start slower.
        self._starting = asyncio.Semaphore(os.cpu_count() or 1)
        shadow = self._listen(str(site.runtime_directory / "shadow.sock"))
        self.models: dict[str, Slot] = {}
        self.shadow = self._slot("shadow", "shadow", {"shadow": shadow})
        self.workers = [
            self._slot("worker", f"worker-{index}", {"inference": site.inference}, index=index)
            for index in range(workers)
        ]
        self.control = self._slot("control", "control", {"admin": site.admin})

    def slots(self) -> Iterator[Slot]:
        """Every process, lowest plane first."""
        yield from self.workers
        yield self.shadow
        yield from self.models.values()
        yield self.control

    async def start_model(self, server: ModelServer) -> None:
        """Bring up one model server. Raises StartFailed; then it is still to be removed."""
        listener = self._listen(server.socket_path)
        slot = self._slot("model", f"model-{server.key}", {"model": listener}, server=server)
        self.models[server.key] = slot
        async with self._starting:
            slot.start()
            await slot.started()

    async def remove_model(self, key: str, patience_s: float) -> None:
        """Stop one model server and give up its socket."""
        if slot := self.models.pop(key, None):
            await slot.stop(patience_s)
        path = str(self.site.runtime_directory / f"model-{key}.sock")
        if listener := self._listeners.pop(path, None):
            listener.close()
            os.unlink(path)

    def close(self) -> None:
        """Give up the sockets made here."""
        for listener in self._listeners.values():
            listener.close()

    def _listen(self, path: str) -> socket.socket:
        listener = self._listeners[path] = listen_unix(path)
        return listener

    def _slot(
        self,
        role: RoleName,
        name: str,
        sockets: dict[SocketName, socket.socket],
        index: int = 0,
        server: ModelServer | None = None,
    ) -> Slot:
        titles = {
            "worker": f"worker {index}",
            "model": f"model {server.model}/{server.version}" if server else "model",
        }
        assignment = Assignment(
            role=role,
            index=index,
            name=name,
            title=titles.get(role, role),
            line=-1,
            sockets={key: listener.fileno() for key, listener in sockets.items()},
            state=self.site.state,
            runtime_directory=self.site.runtime_directory,
            config_path=self.site.config_path,
            server=server,
        )
        return Slot(assignment, self._wiring)
