"""CPU time and memory of a tree of processes, read from outside.

CPU comes from each process's own CPU clock (`clock_gettime` on the clock of its process id):
nanoseconds, user and system together, all threads, ended ones included. `/proc/PID/stat` counts
in ticks of 10 ms, `/proc/PID/schedstat` knows the main thread alone and `/proc/PID/task/*`
forgets the threads that ended, so none of them will do. Memory is RSS and PSS from
`/proc/PID/smaps_rollup`; PSS shares common pages out, RSS does not.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

CPUCLOCK_SCHED = 2
KIB = 1024


def process_clock_ns(pid: int) -> int:
    """CPU time the process has used so far; 0 once it is gone."""
    # What clock_getcpuclockid(3) returns for another process; Python does not offer the call.
    clock = (~pid << 3) | CPUCLOCK_SCHED
    try:
        return time.clock_gettime_ns(clock)
    except OSError:
        return 0


def tree(pid: int) -> list[int]:
    """The process and all its descendants that live now, parents first."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def title(pid: int) -> str:
    """The process's title as `ps` shows it; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def started_at(pid: int) -> int | None:
    """When the process started, in kernel ticks: with its id it names one process for good."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU nanoseconds by process id at one moment."""

    by_pid: dict[int, int]

    def since(self, earlier: Reading) -> dict[int, int]:
        """CPU nanoseconds each process used since `earlier`."""
        if gone := earlier.by_pid.keys() - self.by_pid.keys():
            raise RuntimeError(f"process {sorted(gone)} ended while it was measured")
        return {pid: ns - earlier.by_pid.get(pid, 0) for pid, ns in self.by_pid.items()}


def read(root: int) -> Reading:
    """The CPU clocks of a whole tree now."""
    return Reading({pid: process_clock_ns(pid) for pid in tree(root)})


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of one process in bytes."""

    rss: int
    pss: int


def memory(pid: int) -> Memory:
    """Resident memory of one process now."""
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0]) * KIB
    return Memory(rss=sizes["Rss"], pss=sizes["Pss"])


def machine_busy_share(seconds: float) -> float:
    """The share of all cores that others keep busy while nothing of ours runs."""
    before = _jiffies()
    time.sleep(seconds)
    after = _jiffies()
    spent = [b - a for a, b in zip(before, after, strict=True)]
    return 1 - (spent[3] + spent[4]) / max(1, sum(spent))


def _jiffies() -> list[int]:
    first = Path("/proc/stat").read_text().splitlines()[0]
    return [int(value) for value in first.split()[1:9]]
