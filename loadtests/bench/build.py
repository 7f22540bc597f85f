"""Which build of Tiltyard a process runs, told from outside: by the files it has mapped.

Modules compiled by mypyc share one object whose name ends in `__mypyc`; nothing else a worker loads is made so.
"""

from __future__ import annotations

from pathlib import Path

NATIVE_MARK = "__mypyc"


def build_of(maps: str) -> str:
    """What the text of `/proc/PID/maps` shows: `native` or `interpreted`."""
    names = (line.rpartition("/")[2] for line in maps.splitlines() if "/" in line)
    return "native" if any(NATIVE_MARK in name for name in names) else "interpreted"


def running_build(pid: int) -> str:
    """The build this process runs; `unknown` once it is gone."""
    try:
        return build_of(Path(f"/proc/{pid}/maps").read_text(errors="replace"))
    except OSError:
        return "unknown"
