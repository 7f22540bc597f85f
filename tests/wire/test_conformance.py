"""Exact bytes from clients and from backends, as the conformance suite beside the repository has them.

The suite is not part of the repository: `TILTYARD_SHARED` names its folder, or else it is `shared` beside the
repository. It plays both the clients and the backend, each case in three ways of cutting its bytes (about 20 s).
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fixtures import StartGateway

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("TILTYARD_SHARED") or ROOT.parent / "shared")
RUNNER = SHARED / "conformance" / "wire.py"

pytestmark = pytest.mark.skipif(
    not RUNNER.exists(), reason=f"the conformance suite is not here ({RUNNER}); TILTYARD_SHARED names a folder"
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(RUNNER), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_every_case_of_the_wire_suite_holds(start_gateway: StartGateway) -> None:
    backend_port = free_port()
    gateway = start_gateway(run("--print-config", str(backend_port), "0", "0").stdout)

    outcome = run(gateway.inference.removeprefix("http://"), "--backend-port", str(backend_port))

    *deviations, verdict = outcome.stdout.splitlines()
    assert verdict.endswith(" 0 failed"), "\n".join([*deviations, verdict, outcome.stderr])
    assert int(verdict.split()[0]) > 600
    assert outcome.returncode == 0
    assert gateway.events("request-crashed") == []
