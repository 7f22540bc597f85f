"""SIGTERM under load: what was accepted is answered, what was answered is accounted for, and the exit status is 0."""

import json
import signal
from pathlib import Path

from tests.support.backends import Seen, computes, delays, hangs
from tests.support.fast_backend import FastBackends
from tests.support.fixtures import StartBackend, start_backend
from tests.support.gateway_books import account_of, identity, kept
from tests.support.gateway_process import GatewayProcess, Json, config
from tests.support.load import Load, post
from tests.support.polling import eventually

__all__ = ["start_backend"]


def settings(champion: str, challengers: dict[str, str], **keys: object) -> Json:
    model = {
        "protocol": "json",
        "versions": {name: {"urls": [url]} for name, url in {"1": champion, **challengers}.items()},
        "champion": "1",
        "challengers": {name: {"timeout": "30s"} for name in challengers},
    }
    return config({"m": model}, **keys)


def ask(number: int) -> bytes:
    return post("/models/m/x", b'{"n":%d}' % number)


def test_sigterm_drains(tmp_path: Path, start_backend: StartBackend) -> None:
    hung = start_backend(hangs())
    with FastBackends("answers:1", "answers:2") as backends:
        versions = {"2": backends.url("answers:2"), "3": hung.url}
        one = settings(backends.url("answers:1"), versions, workers=2, access_log="access.log")
        with GatewayProcess(tmp_path, one) as gateway:
            load = Load(gateway.inference, ask, connections=8, pause_s=0.001).start()
            eventually(lambda: account_of(gateway).stored > 200, "pairs are stored")

            gateway.send(signal.SIGTERM)

            assert gateway.wait() == 0, gateway.log()
            load.stop()
        assert_all_accepted_were_answered(load, tmp_path / "access.log")
        for name in "23":
            found = account_of(gateway, name)
            assert found.balanced, found
            identity(found)
            assert found.eligible == len(load.answers)
            assert kept(gateway.state, name) == found.stored + found.failure_stored == found.sent
        # What hung was given up, and so was what waited behind it.
        assert found.cancelled == 16
        assert found.skipped["shutdown"] > 0


def assert_all_accepted_were_answered(load: Load, access_log: Path) -> None:
    """Every request that has a log line was answered whole; others ended without one byte of an answer."""
    lines = [json.loads(line) for line in access_log.read_text().splitlines()]
    answered = {answer.field(b"x-request-id") for answer in load.answers.values()}
    assert {answer.status for answer in load.answers.values()} == {200}
    assert {line["request_id"] for line in lines} == answered
    assert all(failure.unheard for failure in load.failures), load.failures
    assert {failure.reason for failure in load.failures} <= {
        "the connection was lost",
        "connecting: Connection refused",
        "connecting: Connection reset by peer",
    }


def test_a_slow_request_is_finished_before_the_end(tmp_path: Path, start_backend: StartBackend) -> None:
    def answer(request: Seen) -> object:
        return {"done": True}

    champion = start_backend(delays(1.0, computes(answer)))
    challenger = start_backend(delays(0.5, computes(answer)))
    with GatewayProcess(tmp_path, settings(champion.url, {"2": challenger.url})) as gateway:
        load = Load(gateway.inference, ask, connections=4, total=4).start()
        eventually(lambda: champion.count == 4, "the requests are at the champion")

        gateway.send(signal.SIGTERM)

        assert gateway.wait() == 0
        load.join()
    assert not load.failures
    assert [answer.body for answer in load.answers.values()] == [b'{"done": true}'] * 4
    found = account_of(gateway)
    assert (found.eligible, found.stored) == (4, 4)
    assert found.balanced
