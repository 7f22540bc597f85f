"""What a role is, and what it is given: the interface between a child process and what it does
there.

`gateway.runtime.session` runs a role; `gateway.runtime.worker`, `shadow`, `control` and `model`
make one each, by a function `make(context) -> Role`. Imports nothing heavy: every child pays for
what this module imports.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import msgspec

from gateway.control.status import Supervisor
from gateway.core.counters import Counters
from gateway.core.snapshot import ModelServer, Snapshot

RoleName = Literal["worker", "shadow", "control", "model"]
SocketName = Literal["inference", "admin", "shadow", "model"]


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor starts a child with, on its command line. `line` and `sockets` are file
    descriptors.

    `title` follows `tiltyard: ` in the process list; `server` says what a model server is to load. It is given here and
    not taken from a configuration, because a model server may outlive the last one that names it.
    """

    role: RoleName
    index: int
    name: str
    title: str
    line: int
    sockets: dict[SocketName, int]
    state: Path
    runtime_directory: Path
    config_path: Path
    server: ModelServer | None = None

    def encode(self) -> bytes:
        """As text for a command line."""
        return msgspec.json.encode(self, enc_hook=str)

    @classmethod
    def decode(cls, text: str) -> Assignment:
        """What `encode` made."""
        return msgspec.json.decode(text, type=cls, dec_hook=lambda kind, value: kind(value))


class StartRefused(Exception):
    """The role cannot start until the operator mends something; the text says what. Raised by
    `Role.start`.
    """


class Role(Protocol):
    """What a child process does. All methods run on the event loop of the child."""

    async def start(self, snapshot: Snapshot) -> None:
        """Begin to serve; return once ready."""
        ...

    async def apply(self, snapshot: Snapshot) -> None:
        """Go over to another snapshot, at one instant: what began on the former one ends on it."""
        ...

    async def drain(self) -> None:
        """Take nothing new, finish what is begun within `http.drain`, flush."""
        ...

    def status(self) -> dict[str, object]:
        """Small facts for `/readyz`. `unreachable`: a list of the backends that cannot be reached
        at present.
        """
        ...


@runtime_checkable
class RemembersSnapshots(Protocol):
    """A role that is also told of former snapshots, oldest first and before `start`."""

    async def remember(self, snapshot: Snapshot) -> None:
        """Take note of a snapshot that others may still refer to by its id."""
        ...


@dataclass(slots=True)
class ChildContext:
    """What a role is given. `fail` ends the process at once, to be started afresh; its text goes
    to the log.
    """

    role: RoleName
    index: int
    name: str
    state: Path
    runtime_directory: Path
    config_path: Path
    sockets: Mapping[SocketName, socket.socket]
    supervisor: Supervisor
    fail: Callable[[str], None]
    server: ModelServer | None = None
    on_reload: Callable[[], None] = field(default=lambda: None)
    """Set by the control role: called when an operator has asked for a reload."""
    _counters: Counters | None = None

    @property
    def counters(self) -> Counters:
        """The counters of this process, opened at first use: `state/counters/NAME.*`."""
        if self._counters is None:
            self._counters = Counters(self.state / "counters", self.name)
        return self._counters

    @property
    def shadow_path(self) -> str:
        """The Unix socket on which the shadow process takes offers."""
        return str(self.runtime_directory / "shadow.sock")

    def close(self) -> None:
        """Let go of what was opened here."""
        if self._counters is not None:
            self._counters.close()
        for listener in self.sockets.values():
            listener.close()
