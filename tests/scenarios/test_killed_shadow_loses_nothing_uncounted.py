"""`kill -9` of the shadow process under load, several times: no client notices, and every offer is accounted for."""

import json
import os
import signal
from pathlib import Path

from tests.support.backends import hangs
from tests.support.fast_backend import FastBackends
from tests.support.fixtures import StartBackend, start_backend
from tests.support.gateway_books import account_of, at_rest, identity, journalled, kept, skipped
from tests.support.gateway_process import GatewayProcess, Json, config
from tests.support.load import Load, post
from tests.support.polling import eventually

__all__ = ["start_backend"]

KILLS = 3


def settings(champion: str, challengers: dict[str, str], **keys: object) -> Json:
    model = {
        "protocol": "json",
        "versions": {name: {"urls": [url]} for name, url in {"1": champion, **challengers}.items()},
        "champion": "1",
        "challengers": {name: {"percent": 100, "timeout": "1s"} for name in challengers},
    }
    return config({"m": model}, **keys)


def ask(number: int) -> bytes:
    return post("/models/m/x", b'{"n":%d}' % number)


def test_killed_shadow_loses_nothing_uncounted(tmp_path: Path, start_backend: StartBackend) -> None:
    hung = start_backend(hangs())
    with FastBackends("answers:1", "answers:2") as backends:
        versions = {"2": backends.url("answers:2"), "3": hung.url}
        with GatewayProcess(tmp_path, settings(backends.url("answers:1"), versions, workers=2)) as gateway:
            with Load(gateway.inference, ask, connections=8, pause_s=0.001) as load:
                for kill in range(KILLS):
                    stored = account_of(gateway).stored
                    eventually(lambda stored=stored: account_of(gateway).stored > stored + 100, "pairs are stored")
                    former = gateway.kill("shadow")
                    gateway.until_respawned("shadow", former)
                    assert gateway.processes()["shadow"]["restarts"] == kill + 1
                stored = account_of(gateway).stored
                eventually(lambda: account_of(gateway).stored > stored + 100, "pairs are stored again")
            assert not load.failures, load.failures[:5]
            assert {answer.status for answer in load.answers.values()} == {200}

            found = {name: at_rest(gateway, name, eligible=len(load.answers)) for name in "23"}
            # What was in flight at a kill is counted as what it was: lost, cancelled, or answered and not stored.
            assert sum(skipped(found["2"]).values()) == sum(
                found["2"].skipped[reason] for reason in ("shadow_lost", "queue_full", "expired", "breaker_open")
            )
            assert found["3"].cancelled >= KILLS
            assert found["3"].ok == 0
            for name in "23":
                eventually(lambda name=name: all_kept(gateway, name), "every stored pair is kept")


def all_kept(gateway: GatewayProcess, challenger: str) -> bool:
    """One record per kill may be in the journal with its number noted and not yet be counted."""
    found = account_of(gateway, challenger)
    counted = found.stored + found.failure_stored
    return counted <= kept(gateway.state, challenger) <= counted + KILLS


def test_pairs_are_found_after_everything_before_was_rolled(tmp_path: Path) -> None:
    """Segments are numbered on from those that the store has taken over and deleted."""
    with FastBackends("answers:1", "answers:2") as backends:
        one = settings(
            backends.url("answers:1"), {"2": backends.url("answers:2")}, pairs={"payload": "body", "roll": "100ms"}
        )
        with GatewayProcess(tmp_path, one) as gateway:
            Load(gateway.inference, ask, connections=2, total=50).start().join()
            at_rest(gateway, eligible=50)
            eventually(lambda: not journalled(gateway.state), "the journal is rolled")
            gateway.until_respawned("shadow", gateway.kill("shadow"))
            load = Load(gateway.inference, ask, connections=1, total=1).start().join()
            at_rest(gateway, eligible=51)
            (answer,) = load.answers.values()

            report = gateway.get("/api/models/m/report").json()
            pairs = gateway.get(f"/api/pairs/{answer.field(b'x-request-id')}").json()

            assert report["challengers"]["2"]["pairs"] == report["challengers"]["2"]["stored"] == 51
            assert answer.field(b"x-request-id") in json.dumps(pairs)


def test_a_shadow_process_that_does_not_turn_holds_nobody_up(tmp_path: Path) -> None:
    """Stopped for a while instead of killed: the workers' queues fill, what does not fit is dropped and counted."""
    with FastBackends("answers:1", "answers:2") as backends:
        one = settings(
            backends.url("answers:1"),
            {"2": backends.url("answers:2")},
            shadow={"queue_items": 50, "queue_bytes": "64KiB"},
        )
        with GatewayProcess(tmp_path, one) as gateway:
            shadow = gateway.pids()["shadow"]
            os.kill(shadow, signal.SIGSTOP)
            try:
                load = Load(gateway.inference, ask, connections=8, total=6000).start().join()
                assert not load.failures
                dropped = account_of(gateway)
                assert dropped.skipped["queue_full"] + dropped.skipped["queue_bytes"] > 0
                assert dropped.sent == 0
            finally:
                os.kill(shadow, signal.SIGCONT)
            found = at_rest(gateway, eligible=6000)
            assert found.sent + sum(found.skipped.values()) == 6000
            assert found.stored > 0
            assert gateway.pids()["shadow"] == shadow


def test_books_are_settled_when_everything_was_killed_at_once(tmp_path: Path) -> None:
    with FastBackends("answers:1", "answers:2") as backends:
        one = settings(backends.url("answers:1"), {"2": backends.url("answers:2")}, workers=2)
        gateway = GatewayProcess(tmp_path, one)
        with gateway:
            load = Load(gateway.inference, ask, connections=8, pause_s=0.001).start()
            eventually(lambda: account_of(gateway).stored > 500, "pairs are stored")
            pids = gateway.pids()
            for pid in (gateway.pid, *pids.values()):
                os.kill(pid, signal.SIGKILL)
            gateway.wait()
            load.stop()
            eligible = account_of(gateway).eligible
        # Nobody of the name of the second worker will come and say what it had handed over.
        with GatewayProcess(tmp_path, {**one, "workers": 1}) as after:
            found = at_rest(after, eligible=eligible)
            identity(found)
            assert found.stored > 500
            assert len(load.answers) >= found.stored
