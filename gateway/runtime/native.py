"""Which build the child processes run: the Python sources, or a native build of exactly these sources.

The hot modules compile with mypyc (docs/decisions/014-native-build.md). An installed native wheel simply is native. In
a source checkout `make native` puts such a build beside the environment, and the processes of a gateway run on it as
long as it was made from the very sources that are here: an edited file switches it off until it is made again, so that
nobody ever runs something else than what they read. `TILTYARD_NATIVE=off` switches it off, `require` insists on it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final, Literal

import gateway

VARIABLE: Final = "TILTYARD_NATIVE"
PACKAGE: Final = Path(gateway.__file__).parent
BUILD: Final = Path(sys.prefix) / "native"

Build = Literal["native", "interpreted", "interpreted: the native build is of other sources"]


class NativeBuildMissing(Exception):
    """A native build is required and there is none of these sources."""


def use_native_build(environ: MutableMapping[str, str], build: Path = BUILD, package: Path = PACKAGE) -> Build:
    """Have the processes to be started find the native build first, if there is one; says what they will run.

    Raises NativeBuildMissing.
    """
    if is_compiled(package):
        return "native"
    wish = environ.get(VARIABLE, "auto")
    if wish != "off" and is_build_of(build, package):
        environ["PYTHONPATH"] = os.pathsep.join([str(build), *filter(None, [environ.get("PYTHONPATH")])])
        return "native"
    if wish == "require":
        raise NativeBuildMissing(f"{VARIABLE}=require, and there is no native build of these sources: make native")
    return "interpreted: the native build is of other sources" if wish != "off" and build.is_dir() else "interpreted"


def is_compiled(package: Path) -> bool:
    """Whether this package has compiled modules itself, as one installed from a native wheel has."""
    return any((package / "http1").glob("server.*.so"))


def is_build_of(build: Path, package: Path) -> bool:
    """Whether `build` holds a native build of the package's present sources, byte for byte."""
    theirs = build / package.name
    if not is_compiled(theirs):
        return False
    ours = sorted(path.relative_to(package) for path in package.rglob("*.py"))
    same = ours == sorted(path.relative_to(theirs) for path in theirs.rglob("*.py"))
    return same and all((package / path).read_bytes() == (theirs / path).read_bytes() for path in ours)
