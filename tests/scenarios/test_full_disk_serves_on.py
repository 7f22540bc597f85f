"""A full disk under `state/`: every request is answered, lost pairs are counted, and one log line says so."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.fast_backend import FastBackends
from tests.support.gateway_books import account_of, at_rest, identity, kept
from tests.support.gateway_process import TILTYARD, GatewayProcess, Json, config
from tests.support.load import Load, post
from tests.support.polling import eventually

ROUND = 300
DISK = "8m"
MODELS = 40
"""More models than there is room left in the last pages of any file."""
ON_A_SMALL_DISK = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size={DISK} tmpfs "$0" && exec "$@"')


def settings(backends: FastBackends) -> Json:
    model = {
        "protocol": "json",
        "versions": {name: {"urls": [backends.url(f"answers:{name}")]} for name in "12"},
        "champion": "1",
        "challengers": {"2": {}},
    }
    return config({"m": model, **{f"m{number}": model for number in range(MODELS)}}, pairs={"payload": "body"})


def served(gateway: GatewayProcess, path: str = "/models/m/x", status: int = 200, size: int = 500) -> None:
    """A round of requests, all answered as they should be."""
    text = b"x" * size
    load = Load(gateway.inference, lambda number: post(path, b'{"n":%d,"x":"%b"}' % (number, text)), 4, ROUND)
    load.start().join()
    assert not load.failures, load.failures[:3]
    assert {answer.status for answer in load.answers.values()} == {status}


def test_a_journal_that_may_not_grow_is_counted_said_once_and_gone_on_with(tmp_path: Path) -> None:
    """The shadow process alone may write no further than its journal already is: what a full disk does to it."""
    with FastBackends("answers:1", "answers:2") as backends, GatewayProcess(tmp_path, settings(backends)) as gateway:
        served(gateway)
        before = at_rest(gateway, eligible=ROUND)
        shadow = gateway.pids()["shadow"]
        limit = 64 * 1024
        assert (gateway.state / "journal" / "pairs-0000000001.open").stat().st_size > limit
        usual = resource.prlimit(shadow, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        served(gateway)
        full = at_rest(gateway, eligible=2 * ROUND)
        resource.prlimit(shadow, resource.RLIMIT_FSIZE, usual)
        served(gateway)
        after = at_rest(gateway, eligible=3 * ROUND)

        assert (before.stored, before.unstored["storage"]) == (ROUND, 0)
        assert (full.stored, full.unstored["storage"]) == (ROUND, ROUND)
        assert (after.stored, after.unstored["storage"]) == (2 * ROUND, ROUND)
        assert kept(gateway.state) == 2 * ROUND
        (line,) = gateway.events("pairs-not-stored")
        assert "File too large" in line["cause"]
        assert len(gateway.events("pairs-stored-again")) == 1
        assert gateway.pids()["shadow"] == shadow


@contextmanager
def filled(state: Path) -> Iterator[None]:
    """No byte is free on the disk of `state`."""
    filler = state / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (65536, 4096, 1):
            try:
                while True:
                    os.write(descriptor, b"x" * size)
            except OSError:
                continue
        yield
    finally:
        os.close(descriptor)
        filler.unlink()


@contextmanager
def on_a_small_disk(tmp_path: Path, one: Json) -> Iterator[GatewayProcess]:
    """A gateway whose `state` is on a disk of its own, which only it and we see."""
    disk = tmp_path / "disk"
    disk.mkdir()
    one["state"] = str(disk / "state")
    gateway = GatewayProcess(tmp_path, one, command=(*ON_A_SMALL_DISK, str(disk), str(TILTYARD), "run"))
    gateway.state = Path(f"/proc/{gateway.pid}/root{disk}/state")
    with gateway:
        yield gateway


def may_mount() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


def test_full_disk_serves_on(tmp_path: Path) -> None:
    if not may_mount():
        return  # The test above has shown what one process may show without being root.
    with FastBackends("answers:1", "answers:2") as backends, on_a_small_disk(tmp_path, settings(backends)) as gateway:
        served(gateway)
        before = at_rest(gateway, eligible=ROUND)
        pids = gateway.pids()
        with filled(gateway.state):
            served(gateway, size=2000)
            # What is counted for the first time now must have its place already.
            for number in range(MODELS):
                Load(
                    gateway.inference, lambda _, number=number: post(f"/models/m{number}/x", b"{}"), 1, 2
                ).start().join()
                assert at_rest(gateway, model=f"m{number}", eligible=2).ok == 2
            served(gateway, "/models/nobody/x", 404)
            served(gateway, "/v2/repository/index", 403)
            eventually(lambda: account_of(gateway).balanced, "the account balances on a full disk")
            full = account_of(gateway)
            identity(full)
            assert full.eligible == 2 * ROUND
            assert full.unstored["storage"] > 0
            assert full.stored + full.unstored["storage"] == 2 * ROUND
            assert gateway.get("/metrics").status_code == 200
            assert gateway.get("/readyz").status_code == 200
            assert gateway.post("/api/reload").status_code == 200
        served(gateway)
        after = at_rest(gateway, eligible=3 * ROUND)

        assert before.stored == ROUND
        assert after.stored == full.stored + ROUND
        assert after.unstored == full.unstored
        assert len(gateway.events("pairs-not-stored")) == 1
        assert len(gateway.events("pairs-stored-again")) == 1
        assert not gateway.events("request-crashed")
        assert gateway.pids() == pids


def test_on_a_full_disk_what_dies_is_started_again_and_nothing_new_is_begun(tmp_path: Path) -> None:
    if not may_mount():
        return
    with FastBackends("answers:1", "answers:2") as backends, on_a_small_disk(tmp_path, settings(backends)) as gateway:
        served(gateway)
        former = gateway.readyz()["config_id"]
        with filled(gateway.state):
            for title in ("worker 0", "shadow", "control"):
                gateway.until_respawned(title, gateway.kill(title))
                served(gateway)
            more = {**settings(backends), "state": gateway.settings["state"]}
            more["models"]["new"] = more["models"]["m"]
            gateway.write(more)
            refused = gateway.post("/api/reload")
            assert refused.status_code == 422
            assert refused.json()["errors"][0].startswith(
                "state: 0 bytes are free on its disk; new counters need up to"
            )
            served(gateway)
            # What needs no new counters is done all the same.
            less = {**settings(backends), "state": gateway.settings["state"]}
            less["models"]["m"]["challengers"] = {}
            gateway.write(less)
            assert gateway.post("/api/reload").status_code == 200
            assert gateway.readyz()["config_id"] != former
            served(gateway)
        gateway.write(more)
        assert gateway.post("/api/reload").status_code == 200
        served(gateway, "/models/new/x")
        at_rest(gateway, model="new", eligible=ROUND)
        identity(at_rest(gateway, eligible=5 * ROUND))
