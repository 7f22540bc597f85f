"""Starting, pinning and ending the processes of a bench.

Each process is bound to one core before its first instruction, dies with the bench (parent-death
signal), and is ended by its process id and nothing broader. Whatever a process wrote to its error
stream is in the message when it does not come up. Waiting is always polling a condition up to a
deadline. What is measured never finds this repository through its environment, or another build
would be measured with the sources of this one; only the bench's own helpers do.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from loadtests.bench import cpu

PR_SET_PDEATHSIG = 1
READY_WITHIN_S = 60.0
STOP_WITHIN_S = 15.0
POLL_S = 0.02
SUBJECT_CORE = 0
ENDS_CORE = 1
REPOSITORY = Path(__file__).resolve().parents[2]


class BenchError(Exception):
    """Something the person who started the bench has to know; its text is the whole message."""


@dataclass(frozen=True, slots=True)
class Started:
    """A running process and where its output goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-2000:].strip()


class Stage:
    """Everything one row of the bench has running; leaving it ends all of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ends = ExitStack()

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ends.close()

    def start(self, name: str, command: list[str]) -> Started:
        """Start something to measure, with its own environment, on the core of what is measured."""
        return self._start(name, command, SUBJECT_CORE, own_environment(os.environ))

    def start_helper(self, name: str, module: str, *arguments: str) -> Started:
        """Start one of the bench's own modules as a process on the other core."""
        command = [sys.executable, "-m", module, *arguments]
        return self._start(name, command, ENDS_CORE, helper_environment(os.environ))

    def also_close(self, close: Callable[[], object]) -> None:
        """Have something else closed when the stage is left, before what was started earlier."""
        self._ends.callback(close)

    def _start(self, name: str, command: list[str], core: int, environment: dict[str, str]) -> Started:
        log = self.directory / f"{name}.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=environment,
                start_new_session=True,
                preexec_fn=bound_to(core),  # noqa: PLW1509 - this process has one thread
            )
        started = Started(name, process, log)
        self._ends.callback(stop, started)
        return started


def own_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Our environment for a program that finds its own modules."""
    return {name: value for name, value in ours.items() if name != "PYTHONPATH"}


def helper_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Our environment for a module of this repository."""
    return {**ours, "PYTHONPATH": str(REPOSITORY)}


def bound_to(core: int) -> Callable[[], None]:
    """What a child does before its program starts: bind to the core and die with its parent."""
    libc = ctypes.CDLL(None)

    def bind() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        os.sched_setaffinity(0, {core})

    return bind


def stop(started: Started) -> None:
    """End a process and what it left behind: asked first, made to after a deadline."""
    family = {pid: cpu.started_at(pid) for pid in cpu.tree(started.pid)[1:]}
    if started.process.poll() is None:
        started.process.send_signal(signal.SIGTERM)
    try:
        started.process.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        started.process.kill()
        started.process.wait()
    for pid, since in family.items():
        if since is not None and cpu.started_at(pid) == since:
            os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    """A port nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def wait_until(met: Callable[[], bool], started: Started, what: str, within_s: float = READY_WITHIN_S) -> None:
    """Poll until `met` holds; a process that ended or took too long is an error, with its words."""
    deadline = time.monotonic() + within_s
    while not met():
        ended = started.process.poll() is not None
        if ended or time.monotonic() > deadline:
            why = "it ended" if ended else f"not within {within_s:.0f} s"
            raise BenchError(f"{started.name}: {what}: {why}. Its last words:\n{started.said()}")
        time.sleep(POLL_S)
