"""`kill -9` of a worker: it is started again at once, and nobody but its own requests in flight is touched."""

from pathlib import Path

import httpx2

from tests.support.fast_backend import FastBackends
from tests.support.gateway_books import at_rest, kept
from tests.support.gateway_process import GatewayProcess, config
from tests.support.load import Load, post

CONNECTIONS = 8
KILLS = 2


def ask(number: int) -> bytes:
    return post("/models/m/x", b'{"n":%d}' % number)


def test_killed_worker_loses_only_its_requests(tmp_path: Path) -> None:
    with FastBackends("answers:1", "answers:2") as backends:
        model = {
            "protocol": "json",
            "versions": {name: {"urls": [backends.url(f"answers:{name}")]} for name in "12"},
            "champion": "1",
            "challengers": {"2": {}},
        }
        with GatewayProcess(tmp_path, config({"m": model}, workers=2)) as gateway:
            with Load(gateway.inference, ask, CONNECTIONS, pause_s=0.001) as load:
                for kill in range(KILLS):
                    title = f"worker {kill % 2}"
                    pids = gateway.pids()
                    gateway.until_respawned(title, gateway.kill(title))
                    others = {name: pid for name, pid in gateway.pids().items() if name != title}
                    assert others == {name: pid for name, pid in pids.items() if name != title}

            # A connection carries one request at a time: no more than one can have been in flight on each.
            assert len(load.failures) <= KILLS * CONNECTIONS
            assert all(failure.reason == "the connection was lost" for failure in load.failures)
            assert {answer.status for answer in load.answers.values()} == {200}
            assert len(load.answers) > 100
            assert gateway.metric("tiltyard_process_restarts_total", role="worker") == KILLS
            found = at_rest(gateway)
            # A kill may fall between an answer's last byte and its count: of one request, a worker does one at a time.
            assert len(load.answers) - KILLS <= found.eligible <= len(load.answers) + len(load.failures)
            assert kept(gateway.state) == found.stored
            assert httpx2.get(f"{gateway.inference}/readyz", trust_env=False).status_code == 200
