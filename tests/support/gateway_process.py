"""A real gateway: `tiltyard run` with its processes, on free ports, in a directory of its own.

    with GatewayProcess(tmp_path, config(models={...})) as gateway:
        gateway.get("/readyz")
        httpx2.post(f"{gateway.inference}/v2/models/m/infer", ...)

Leaving the `with` block stops it by SIGTERM and asserts that it ended with exit status 0.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from tests.support.polling import eventually

ROOT = Path(__file__).resolve().parent.parent.parent
TILTYARD = Path(sys.executable).with_name("tiltyard")
START_PATIENCE_S = 60.0
STOP_PATIENCE_S = 60.0

Json = dict[str, Any]


def config(models: Mapping[str, object], **keys: object) -> Json:
    """A configuration on free ports with its state beside the file; `keys` are top-level keys."""
    return {
        "listen": {"inference": "127.0.0.1:0", "admin": "127.0.0.1:0"},
        "state": "state",
        "access_log": "off",
        "models": models,
        **keys,
    }


def one_model(url: str, **keys: object) -> Json:
    """A configuration of one plain JSON model `echo`, whose only version is at `url`."""
    return config({"echo": {"protocol": "json", "versions": {"1": {"urls": [url]}}, "champion": "1"}}, **keys)


@dataclass
class GatewayProcess:
    """`command` replaces `tiltyard run`; `arguments` follow `--config FILE`."""

    directory: Path
    settings: Mapping[str, object] | str
    command: Sequence[str] = (str(TILTYARD), "run")
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    inference: str = ""
    admin: str = ""

    def __post_init__(self) -> None:
        self.config_path = self.directory / "gateway.yaml"
        self.write(self.settings)
        self.state = self.directory / "state"
        self._log = self.directory / "stderr.log"
        self.stdout = self.directory / "stdout.log"
        with self._log.open("ab") as log, self.stdout.open("ab") as out:
            self.process = subprocess.Popen(
                [*self.command, "--config", str(self.config_path), *self.arguments],
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )
        # Proxies of the machine's environment are not for loopback.
        self.client = httpx2.Client(trust_env=False, timeout=30)

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self.process.pid

    def write(self, settings: Mapping[str, object] | str) -> None:
        """Write the configuration file, as an editor does: another file renamed over it."""
        text = settings if isinstance(settings, str) else json.dumps(settings, indent=1)
        partial = self.config_path.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(self.config_path)

    def until_serving(self) -> Self:
        """Wait until it serves; AssertionError with its log when it does not."""
        record = self.state / "gateway.json"

        def serving() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log()}"
            return record.exists() and json.loads(record.read_text())["pid"] == self.pid

        try:
            eventually(serving, "the gateway serves", START_PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None
        found = json.loads(record.read_text())
        self.inference = f"http://{found['inference']}"
        self.admin = f"http://{found['admin']}"
        return self

    def get(self, path: str) -> httpx2.Response:
        """GET from the admin listener."""
        return self.client.get(self.admin + path)

    def post(self, path: str) -> httpx2.Response:
        """POST to the admin listener."""
        return self.client.post(self.admin + path)

    def infer(self, path: str, body: object, **fields: str) -> httpx2.Response:
        """POST JSON to the inference listener; `x_name` becomes the field `x-name`."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        return self.client.post(self.inference + path, json=body, headers=headers)

    def readyz(self) -> Json:
        """What the admin listener's `/readyz` says, ready or not."""
        found: Json = self.get("/readyz").json()
        return found

    def processes(self) -> dict[str, Json]:
        """Every process by its title: `worker 0`, `shadow`, `control`, `model NAME/VERSION`."""
        return {process["title"]: process for process in self.readyz()["processes"]}

    def pids(self) -> dict[str, int]:
        """Process ids by title."""
        return {title: process["pid"] for title, process in self.processes().items()}

    def kill(self, title: str) -> int:
        """SIGKILL one process; its former id."""
        pid = self.pids()[title]
        os.kill(pid, signal.SIGKILL)
        return pid

    def until_respawned(self, title: str, former: int) -> int:
        """Wait until another process of that title is ready; its id."""

        def ready() -> int | None:
            try:
                process = self.processes()[title]
            except httpx2.HTTPError:
                return None
            return process["pid"] if process["state"] == "ready" and process["pid"] != former else None

        return eventually(ready, f"{title} is started again")

    def metric(self, name: str, **labels: str) -> float | None:
        """One sample of `/metrics`."""
        for line in self.get("/metrics").text.splitlines():
            series, _, value = line.rpartition(" ")
            found, _, rest = series.partition("{")
            if found == name and all(f'{key}="{wanted}"' in rest for key, wanted in labels.items()):
                return float(value)
        return None

    def events(self, event: str | None = None) -> list[Json]:
        """What was logged, of one event or all."""
        return [found for found in self._events() if event in (None, found["event"])]

    def log(self) -> str:
        """Standard error as it is."""
        return self._log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end of the supervisor; its exit status."""
        return self.process.wait(timeout=STOP_PATIENCE_S)

    def stop(self) -> None:
        """SIGTERM, and assert that it ended well."""
        self.client.close()
        if self.process.poll() is None:
            self.send(signal.SIGTERM)
        assert self.wait() == 0, self.log()

    def destroy(self) -> None:
        """End everything at once, whatever it does; the children end with their supervisor."""
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=STOP_PATIENCE_S)

    def __enter__(self) -> Self:
        try:
            return self.until_serving()
        except BaseException:
            self.destroy()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and self.process.poll() is None:
            self.stop()
        else:
            self.destroy()

    def _events(self) -> Iterator[Json]:
        for line in self.log().splitlines():
            if line.startswith("{"):
                yield json.loads(line)
