"""Tiltyard, nginx and Envoy as things to measure: started from a file in `configs/`, ready when
one request is answered.

All are bound to the same core, keep connections alive on both sides and write no access log. A
subject knows its processes by their titles, so that the CPU of Tiltyard's worker and of its whole
tree can be told apart.
"""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench import cpu
from loadtests.bench.build import running_build
from loadtests.bench.processes import REPOSITORY, Stage, Started, free_port, wait_until
from loadtests.bench.tools import Tools
from loadtests.bench.wire import ANSWER_BODY, REQUEST_BODY, infer_path

CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True, slots=True)
class Subject:
    """Something measured: its listening port and its processes."""

    name: str
    port: int
    started: Started
    admin: int = 0

    def pids(self, titled: str = "") -> list[int]:
        """The processes of its tree whose title starts so; all of them without one."""
        return [pid for pid in cpu.tree(self.started.pid) if cpu.title(pid).startswith(titled)]


def backend(stage: Stage, name: str, *kinds: str) -> dict[str, int]:
    """Start one backend process that serves these kinds; their ports."""
    ports = {kind: free_port() for kind in kinds}
    arguments = [f"{kind}={port}" for kind, port in ports.items()]
    started = stage.start_helper(name, "loadtests.bench.backend", *arguments)
    if "static" in ports:
        wait_until(lambda: answers(ports["static"]), started, "no answer")
    return ports


def nginx(stage: Stage, tools: Tools, config: str, ports: dict[str, int]) -> Subject | None:
    """nginx with one of the committed configurations; None when it is not installed."""
    if tools.nginx is None:
        return None
    listen = free_port()
    path = fill_in(stage, f"{config}.conf", ports | {"listen": listen})
    started = stage.start(config, [tools.nginx, "-c", str(path), "-e", "stderr"])
    return ready(Subject(config.replace("-", " "), listen, started))


def envoy(stage: Stage, tools: Tools, config: str, ports: dict[str, int]) -> Subject | None:
    """Envoy with one of the committed configurations; None when it is not installed."""
    if tools.envoy is None:
        return None
    listen = free_port()
    path = fill_in(stage, f"{config}.yaml", ports | {"listen": listen})
    command = [
        tools.envoy,
        "-c",
        str(path),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "-l",
        "error",
    ]
    return ready(Subject(config.replace("-", " "), listen, stage.start(config, command)))


def tiltyard(
    stage: Stage, tools: Tools, config: str, values: dict[str, int], request_body: str | None = None
) -> Subject:
    """Tiltyard with one of the committed configurations, all its processes on one core."""
    listen, admin = free_port(), free_port()
    path = fill_in(stage, f"{config}.yaml", values | {"listen": listen, "admin": admin})
    started = stage.start(f"{config}-{listen}", [*tools.tiltyard, "run", "--config", str(path)])
    subject = ready(Subject("tiltyard", listen, started, admin), request_body)
    for worker in subject.pids("tiltyard: worker"):
        tools.build = running_build(worker)
    return subject


def fill_in(stage: Stage, name: str, values: dict[str, int]) -> Path:
    """A committed configuration with this run's ports and directories in it."""
    text = (CONFIGS / name).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key.upper()}@", str(value))
    text = text.replace("@DIRECTORY@", str(stage.directory)).replace("@REPOSITORY@", str(REPOSITORY))
    path = stage.directory / f"{values['listen']}-{name}"
    path.write_text(text)
    return path


def ready(subject: Subject, request_body: str | None = None) -> Subject:
    """The subject once it answers the request as expected, or another request with a 200."""
    wait_until(lambda: answers(subject.port, request_body), subject.started, "no answer")
    return subject


def answers(port: int, request_body: str | None = None) -> bool:
    """Whether the request gets its answer on this port now."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        body = request_body or REQUEST_BODY
        connection.request("POST", infer_path(), body, {"content-type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
        return answer.status == 200 and (request_body is not None or said == ANSWER_BODY)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
