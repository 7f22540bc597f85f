"""What is known about the running gateway, as the supervisor tells it and `/readyz` shows it."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

ProcessState = Literal["starting", "ready", "draining", "down"]


class ProcessStatus(msgspec.Struct, frozen=True):
    """One process. `facts` is what it says about itself, `silent_s` how long it has not been
    heard of.
    """

    name: str
    title: str
    role: str
    state: ProcessState
    pid: int | None
    restarts: int
    silent_s: float
    facts: dict[str, object]

    def unreachable(self) -> list[str]:
        """The backends that this process cannot reach at present."""
        named = self.facts.get("unreachable")
        return [str(backend) for backend in named] if isinstance(named, list | tuple) else []


class GatewayStatus(msgspec.Struct, frozen=True):
    """The whole gateway. `inference` and `admin` are the addresses it is bound to."""

    config_id: str
    inference: str
    admin: str
    draining: bool
    processes: tuple[ProcessStatus, ...]

    def is_ready(self) -> bool:
        """Whether a request would be served: a worker is up and nobody has asked to stop."""
        return not self.draining and any(
            process.role == "worker" and process.state == "ready" for process in self.processes
        )

    def unreachable(self) -> list[str]:
        """Every backend that some process cannot reach, champions' and challengers' alike."""
        return sorted({backend for process in self.processes for backend in process.unreachable()})


class Supervisor(Protocol):
    """What the control plane can ask of the process above it."""

    async def status(self) -> GatewayStatus:
        """How every process does. Raises OSError when the supervisor does not answer."""
        ...

    async def roll_out(self, config_id: str, document: bytes) -> tuple[str, ...]:
        """Bring a validated configuration to every process; the reasons why not, or nothing once
        all run on it.
        """
        ...
