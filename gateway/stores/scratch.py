"""A scratch directory that leaves nothing behind: not even a killed process's does, because the next one clears it.

It lies where the system puts temporary files, not under the state directory: a full state disk must not keep
anybody from reading a report.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "tiltyard-pairs-"


def scratch_directory() -> tempfile.TemporaryDirectory[str]:
    """A fresh directory for this process; those of processes that are gone are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = left.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(left, ignore_errors=True)
    return tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-")
