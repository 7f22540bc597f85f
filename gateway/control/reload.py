"""Live reload: notices that the file has changed, validates it, has it rolled out, keeps what was
found.

A file that is not valid changes nothing: the configuration in force goes on, and the errors are
logged once, counted, and shown by `/readyz` until a good file comes. Passes over the file follow
one another, and the newest file wins: a change during a pass leads to another one. A file that is
just being written is read again once it stands still.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from gateway.control.status import Supervisor
from gateway.core.config import Gateway, canonical, config_id, needs_restart
from gateway.core.configfile import load_config
from gateway.core.counters import Counters
from gateway.core.logs import log
from gateway.core.metrics import RELOAD_OK, RELOADS
from gateway.core.snapshot import Snapshot

POLL_S: Final = 0.2
SETTLE_S: Final = 0.05
SETTLE_LOOKS: Final = 10
COUNTERS_BYTES: Final = 4096
"""Disk that the counters of one version or challenger take in one process, amply."""


class Signature(NamedTuple):
    """What tells one state of a file from another, also when it is replaced by rename or by a
    symbolic link.
    """

    modified_ns: int
    changed_ns: int
    size: int
    device: int
    inode: int


def signature(path: Path) -> Signature | None:
    """The signature of the file that the path leads to; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return Signature(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_dev, found.st_ino)


class Outcome(msgspec.Struct, frozen=True):
    """What a pass over the file led to; `config_id` is the configuration in force afterwards."""

    outcome: Literal["applied", "unchanged", "refused"]
    config_id: str
    errors: tuple[str, ...] = ()
    took_ms: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A valid configuration, ready to be rolled out."""

    config: Gateway
    config_id: str
    document: bytes
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """The file and the environment that fills its `${VARIABLES}`."""

    path: Path
    environment: Mapping[str, str]

    def load(self) -> Candidate | tuple[str, ...]:
        """The configuration, or everything that is wrong with it. Blocking."""
        loaded = load_config(self.path, self.environment)
        if isinstance(loaded, list):
            return tuple(map(str, loaded))
        return Candidate(
            config=loaded.config,
            config_id=config_id(loaded.config),
            document=canonical(loaded.config),
            warnings=tuple(map(str, loaded.warnings)),
        )


class Reloader:
    """Watches one file. `adopt` tells it what is in force; `run` is its life."""

    def __init__(self, source: Source, supervisor: Supervisor, counters: Counters):
        self._source = source
        self._supervisor = supervisor
        self._counters = counters
        self._in_force: Snapshot | None = None
        self._seen: Signature | None = None
        self._asked = asyncio.Event()
        self._stopping = False
        self._waiters: list[asyncio.Future[Outcome]] = []
        self.last = Outcome("unchanged", "")
        """What the last pass led to; before the first one, that what was started with is in force."""
        self._reloads = counters.group(RELOADS, ())
        self._ok = counters.gauge(RELOAD_OK, ())
        counters.cells[self._ok] = 1

    def adopt(self, snapshot: Snapshot) -> None:
        """Take note of the configuration in force."""
        if self._in_force is None:
            self.last = Outcome("unchanged", snapshot.id)
        self._in_force = snapshot

    def ask(self) -> None:
        """Read the file again soon, changed or not."""
        self._asked.set()

    async def reload(self) -> Outcome:
        """Read the file now, and wait for what that leads to."""
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._asked.set()
        return await waiter

    def stop(self) -> None:
        """Let `run` end; a pass that has begun is finished."""
        self._stopping = True

    async def run(self) -> None:
        """Pass over the file whenever it has changed or somebody has asked; the first time at
        once.
        """
        await self._pass(quiet=not self._asked.is_set())
        while not self._stopping:
            asked = await self._asked_within(POLL_S)
            if asked or signature(self._source.path) != self._seen:
                await self._pass(quiet=False)

    async def _asked_within(self, patience_s: float) -> bool:
        try:
            async with asyncio.timeout(patience_s):
                await self._asked.wait()
        except TimeoutError:
            return False
        return True

    async def _pass(self, quiet: bool) -> None:
        self._asked.clear()
        # Who asks from here on is owed another pass: this one may have read the file already.
        waiters, self._waiters = self._waiters, []
        began = time.monotonic()
        self._seen = await self._settled()
        try:
            outcome = await self._read_and_roll_out()
        except OSError as error:
            outcome = self._refused((str(error),))
        outcome = msgspec.structs.replace(outcome, took_ms=round((time.monotonic() - began) * 1000))
        self._conclude(outcome, quiet)
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(outcome)

    async def _settled(self) -> Signature | None:
        """The file's signature once two looks see the same; a file that never rests is read as it
        is.
        """
        seen = signature(self._source.path)
        for _ in range(SETTLE_LOOKS):
            await asyncio.sleep(SETTLE_S)
            before, seen = seen, signature(self._source.path)
            if before == seen:
                break
        return seen

    async def _read_and_roll_out(self) -> Outcome:
        found = await asyncio.to_thread(self._source.load)
        if isinstance(found, tuple):
            return self._refused(found)
        for warning in found.warnings:
            log("config-warning", "warning", message=warning)
        if self._in_force is not None:
            if found.config_id == self._in_force.id:
                return Outcome("unchanged", found.config_id)
            fixed = needs_restart(self._in_force.config, found.config)
            if fixed:
                return self._refused(tuple(_needs_restart(key) for key in fixed))
            if room := _no_room(self._in_force.config, found.config):
                return self._refused((room,))
        errors = await self._supervisor.roll_out(found.config_id, found.document)
        return self._refused(errors) if errors else Outcome("applied", found.config_id)

    def _refused(self, errors: tuple[str, ...]) -> Outcome:
        return Outcome("refused", self._in_force.id if self._in_force else "", errors)

    def _conclude(self, outcome: Outcome, quiet: bool) -> None:
        self.last = outcome
        cells = self._counters.cells
        cells[self._ok] = outcome.outcome != "refused"
        if outcome.outcome != "unchanged":
            cells[self._reloads + RELOADS.at(outcome.outcome)] += 1
        elif quiet:
            return
        log(
            f"config-{outcome.outcome}",
            "error" if outcome.outcome == "refused" else "info",
            config_id=outcome.config_id,
            took_ms=outcome.took_ms,
            errors=list(outcome.errors),
        )


def _needs_restart(key: str) -> str:
    return f"{key}: cannot be changed while the gateway runs; restart it to change this key"


def _no_room(former: Gateway, config: Gateway) -> str:
    """What to say where the disk has no room for new counters, or empty: no process could go over to them."""
    needed = len(_counted(config) - _counted(former)) * (config.workers + 1) * COUNTERS_BYTES
    if not needed:
        return ""
    disk = os.statvfs(config.state)
    free = disk.f_bavail * disk.f_frsize
    return "" if free >= needed else f"state: {free} bytes are free on its disk; new counters need up to {needed}"


def _counted(config: Gateway) -> set[tuple[str, str, bool]]:
    """What has counters of its own: each version, and each challenger once more."""
    return {
        (name, version, is_challenger)
        for name, model in config.models.items()
        for is_challenger, versions in ((False, model.versions), (True, model.challengers))
        for version in versions
    }
