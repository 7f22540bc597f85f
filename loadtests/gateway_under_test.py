"""The gateway that the load test drives: started from `configs/loadtest.yaml` with its backends, ended with the test.

Reading its counts waits until they rest: the shadow process works on after the last answer.
"""

from __future__ import annotations

import http.client
import json
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from loadtests.bench import subjects, tools
from loadtests.bench.processes import REPOSITORY, BenchError, Stage, free_port, wait_until
from loadtests.reconcile import Tally, identity_faults, read_metrics
from loadtests.traffic import FLIGHT_MODEL, PLAIN_MODEL

CONFIG = Path(__file__).parent / "configs" / "loadtest.yaml"
MODELS = (FLIGHT_MODEL, PLAIN_MODEL)
AT_REST_WITHIN_S = 30.0
POLL_S = 0.2


class GatewayUnderTest:
    """A running gateway and the ports of its two listeners."""

    def __init__(self) -> None:
        self._ends = ExitStack()
        directory = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="tiltyard-load-")))
        stage = self._ends.enter_context(Stage(directory))
        ports = subjects.backend(stage, "static", "static") | subjects.backend(stage, "error", "error")
        self.port, self.admin = free_port(), free_port()
        config = directory / "loadtest.yaml"
        config.write_text(self._filled_in(directory, ports))
        command = [*tools.tiltyard_command(os.environ.get("TILTYARD")), "run", "--config", str(config)]
        self._started = stage.start("gateway", command, core=None)
        wait_until(self._ready, self._started, "not ready")

    def said(self) -> str:
        """The end of the gateway's log."""
        return self._started.said()

    def stop(self) -> None:
        """End the gateway and its backends."""
        self._ends.close()

    def tally(self) -> Tally:
        """The gateway's counts of requests now."""
        return read_metrics(self._get(self.admin, "/metrics").decode())

    def reports(self) -> dict[str, dict[str, Any]]:
        """Each model's report now."""
        return {model: json.loads(self._get(self.admin, f"/api/models/{model}/report")) for model in MODELS}

    def faults_at_rest(self, sent: Tally) -> list[str]:
        """What the reports leave unexplained once they rest, or when the time for that is over."""
        deadline = time.monotonic() + AT_REST_WITHIN_S
        while True:
            reports = self.reports()
            faults = [fault for model in MODELS for fault in identity_faults(sent, model, reports[model])]
            if not faults or time.monotonic() > deadline:
                return faults
            time.sleep(POLL_S)

    def _filled_in(self, directory: Path, ports: dict[str, int]) -> str:
        text = CONFIG.read_text()
        for key, value in (ports | {"listen": self.port, "admin": self.admin}).items():
            text = text.replace(f"@{key.upper()}@", str(value))
        return text.replace("@DIRECTORY@", str(directory)).replace("@REPOSITORY@", str(REPOSITORY))

    def _ready(self) -> bool:
        try:
            self._get(self.port, "/readyz")
        except (OSError, http.client.HTTPException, BenchError):
            return False
        return True

    def _get(self, port: int, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise BenchError(f"GET {path} on port {port} answered {answer.status}: {body[:300]!r}")
        return body
