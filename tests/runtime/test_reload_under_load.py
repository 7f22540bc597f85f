"""Promise: operators may edit the routing while it serves; no request fails, and each runs on one configuration."""

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.support.backends import computes, hangs
from tests.support.fixtures import StartBackend, StartGateway
from tests.support.gateway_process import GatewayProcess, Json, config
from tests.support.onnx_files import adds

RELOADS = 60
CLIENTS = 3


@dataclass
class Client(threading.Thread):
    """One client that calls without a pause and keeps what it saw."""

    gateway: GatewayProcess
    answers: dict[str, str] = field(default_factory=dict)
    """The version that answered, by request id."""
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        with httpx2.Client(trust_env=False, timeout=30) as client:
            while not self.stop.is_set():
                try:
                    answer = client.post(f"{self.gateway.inference}/models/echo/x", json={"a": 1})
                except httpx2.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                version = answer.headers.get("x-model-version", "")
                if answer.status_code != 200 or answer.json() != {"version": version}:
                    self.failures.append(f"{answer.status_code} {version} {answer.text}")
                self.answers[answer.headers["x-request-id"]] = version


def test_reloads_under_load_fail_no_request_and_mix_no_configurations(
    start_backend: StartBackend, start_gateway: StartGateway, tmp_path: Path
) -> None:
    backends = {version: start_backend(computes(lambda _, v=version: {"version": v})) for version in "12"}
    hung = start_backend(hangs())
    model = adds(tmp_path / "adds.onnx", 1.0)
    access_log = tmp_path / "access.log"

    def settings(number: int) -> Json:
        """Champion and challenger change places every time; others come and go."""
        champion, challenger = ("1", "2") if number % 2 else ("2", "1")
        urls = {version: {"urls": [backend.url]} for version, backend in backends.items()}
        echo: Json = {
            "protocol": "json",
            "versions": {**urls, "hung": {"urls": [hung.url]}},
            "champion": champion,
            "challengers": {challenger: {}},
        }
        if number % 3 == 0:
            echo["challengers"]["hung"] = {"timeout": "200ms"}
        models: Json = {"echo": echo}
        if number % 10 == 0:
            models["adds"] = {"versions": {"1": {"onnx": str(model)}}, "champion": "1"}
        return config(models, workers=2, access_log=str(access_log))

    gateway = start_gateway(settings(0))
    champions = {gateway.readyz()["config_id"]: "2"}
    clients = [Client(gateway) for _ in range(CLIENTS)]
    for client in clients:
        client.start()

    for number in range(1, RELOADS + 1):
        if number % 7 == 0:
            gateway.write("models: [broken")
            assert gateway.post("/api/reload").status_code == 422
        gateway.write(settings(number))
        outcome = gateway.post("/api/reload").json()
        champions[outcome["config_id"]] = "1" if number % 2 else "2"

    for client in clients:
        client.stop.set()
        client.join()
    gateway.stop()

    assert [failure for client in clients for failure in client.failures] == []
    answers = {request_id: version for client in clients for request_id, version in client.answers.items()}
    logged = {line["request_id"]: line for line in map(json.loads, access_log.read_text().splitlines())}
    assert answers.keys() == logged.keys()
    assert {champions[logged[request_id]["config_id"]] == version for request_id, version in answers.items()} == {True}
    assert min(Counter(answers.values()).values()) > RELOADS
    assert [event for event in gateway.events() if event["level"] == "error"] == gateway.events("config-refused")
