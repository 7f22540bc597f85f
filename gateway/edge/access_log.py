"""One JSON line per request, to standard output or a file, written by a thread so that no request waits for a disk.

Lines are gathered for a tenth of a second. When the writer cannot keep up and more than `MAX_PENDING_BYTES` wait,
further lines are lost, and counted.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

from gateway.core.counters import Counters
from gateway.core.metrics import ACCESS_LOG

FLUSH_EVERY_S = 0.1
MAX_PENDING_BYTES = 4 * 1024 * 1024


class Line(msgspec.Struct, frozen=True):
    """What the log says of a request; durations in milliseconds, sizes in bytes of body."""

    time: float
    request_id: str
    client: str
    tenant: str
    method: str
    path: str
    model: str
    version: str
    status: int
    outcome: str
    code: str
    config_id: str
    duration_ms: float
    upstream_ms: float | None
    bytes_in: int
    bytes_out: int


class AccessLog:
    """The log of one worker. `destination` is `stdout`, `off`, or a path that is opened anew after a rotation."""

    __slots__ = ("_cells", "_descriptor", "_encoder", "_lines", "_loop", "_lost", "_path", "_pending", "_scheduled",
                 "_written", "enabled")  # fmt: skip

    def __init__(self, destination: str, counters: Counters, loop: asyncio.AbstractEventLoop):
        self.enabled = destination != "off"
        self._path = None if destination in ("stdout", "off") else Path(destination)
        self._descriptor = 1
        self._loop = loop
        self._lines: list[bytes] = []
        self._pending = 0
        self._scheduled = False
        self._encoder = msgspec.json.Encoder()
        self._cells = counters.cells
        at = counters.group(ACCESS_LOG, ())
        self._written = at + ACCESS_LOG.at("written")
        self._lost = at + ACCESS_LOG.at("lost")

    def write(self, line: Line) -> None:
        """Take a line; it is written soon."""
        if self._pending > MAX_PENDING_BYTES:
            self._cells[self._lost] += 1
            return
        data = self._encoder.encode(line)
        self._lines.append(data)
        self._pending += len(data)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_later(FLUSH_EVERY_S, self._flush)

    async def close(self) -> None:
        """Write what is left."""
        while self._scheduled:  # noqa: ASYNC110 (the end of a write is no event)
            await asyncio.sleep(FLUSH_EVERY_S / 4)

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        lines.append(b"")
        writing = self._loop.run_in_executor(None, self._write, b"\n".join(lines))
        writing.add_done_callback(lambda done: self._flushed(done, len(lines) - 1))

    def _flushed(self, writing: asyncio.Future[bool], count: int) -> None:
        self._cells[self._written if writing.result() else self._lost] += count
        self._pending = sum(map(len, self._lines))
        self._scheduled = bool(self._lines)
        if self._scheduled:
            self._loop.call_later(FLUSH_EVERY_S, self._flush)

    def _write(self, data: bytes) -> bool:
        """In the writer's thread: False if the disk or the pipe would not take it."""
        try:
            if self._path is not None:
                self._reopen(self._path)
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            return False
        return True

    def _reopen(self, path: Path) -> None:
        """Open the file at first use, and again when it was moved away."""
        if self._descriptor != 1:
            try:
                if os.stat(path).st_ino == os.fstat(self._descriptor).st_ino:
                    return
            except FileNotFoundError:
                pass
            os.close(self._descriptor)
        self._descriptor = 1
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
