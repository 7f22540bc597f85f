"""What the supervisor holds for as long as the gateway runs: listening sockets, the state
directory, a runtime directory.

Sockets are bound once, here, and inherited by every process that serves on them: a process that
is started again finds the connections that queued meanwhile. `PlaceTaken` says in one sentence
what the operator must mend.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from gateway.core.config import Address

BACKLOG: Final = 4096
LOCK_FILE: Final = "lock"
RECORD_FILE: Final = "gateway.json"
LONGEST_SOCKET_PATH: Final = 107
"""`sun_path` holds 108 bytes with its final zero."""
_LONGEST_NAME: Final = len("/model-0123456789ab.sock")


class PlaceTaken(Exception):
    """Something the gateway needs for itself cannot be had; the text says what and why."""


def listen_tcp(address: Address, key: str) -> socket.socket:
    """Bind and listen; `key` is where the configuration names the address. Raises PlaceTaken."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PlaceTaken(f"{key}: cannot listen on {address}: {_reason(error)}") from error
    listener.setblocking(False)
    return listener


def listen_unix(path: str) -> socket.socket:
    """Bind and listen on a Unix socket that only this user can reach."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> str:
    """`host:port` as bound, for port 0 the one the kernel chose."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def make_runtime_directory() -> Path:
    """A short private directory for Unix sockets."""
    for base in (os.environ.get("XDG_RUNTIME_DIR"), "/tmp"):
        if not base or len(os.fsencode(base)) + len("/tiltyard-12345678") + _LONGEST_NAME > (LONGEST_SOCKET_PATH):
            continue
        try:
            return Path(tempfile.mkdtemp(prefix="tiltyard-", dir=base))
        except OSError:
            continue
    raise PlaceTaken("no directory for Unix sockets: set XDG_RUNTIME_DIR to a short, writable path")


class Record(msgspec.Struct, frozen=True):
    """`state/gateway.json`: what a command on the same machine needs to find the gateway."""

    pid: int
    inference: str
    admin: str
    runtime_directory: str


def read_record(state: Path) -> Record | None:
    """The record a running gateway has left, or one that was killed."""
    try:
        return msgspec.json.decode((state / RECORD_FILE).read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return None


@dataclass(slots=True)
class StateDirectory:
    """The state directory, held by one gateway alone.

    The lock is inherited by every child: as long as one of them writes there, nobody else may,
    also when the supervisor was killed.
    """

    path: Path
    lock: int

    @classmethod
    def hold(cls, path: Path) -> StateDirectory:
        """Take the directory, making it if need be. Raises PlaceTaken."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise PlaceTaken(f"state: cannot use {path}: {_reason(error)}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            record = read_record(path)
            holder = f" (pid {record.pid})" if record else ""
            raise PlaceTaken(f"state: {path} is in use by another gateway{holder}") from error
        held = cls(path, lock)
        held._clean_after_killed()
        return held

    def write_record(self, record: Record) -> None:
        """Leave word for commands; replaced as a whole, so that no reader sees half of it."""
        partial = self.path / f"{RECORD_FILE}.partial"
        partial.write_bytes(msgspec.json.encode(record))
        partial.replace(self.path / RECORD_FILE)

    def release(self) -> None:
        """Give the directory back."""
        (self.path / RECORD_FILE).unlink(missing_ok=True)
        os.close(self.lock)

    def _clean_after_killed(self) -> None:
        """A gateway that was killed has left its runtime directory behind."""
        record = read_record(self.path)
        if record is not None and Path(record.runtime_directory).name.startswith("tiltyard-"):
            shutil.rmtree(record.runtime_directory, ignore_errors=True)


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the address is in use by another process"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case errno.EACCES:
            return "permission denied"
        case _:
            return error.strerror or str(error)
