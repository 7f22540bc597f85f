"""200 live reloads under load: no request fails, and each is served whole by the configuration its log line names."""

import json
from pathlib import Path

import httpx2
import pytest

from tests.support.fast_backend import FastBackends
from tests.support.gateway_books import at_rest
from tests.support.gateway_process import GatewayProcess, Json, config
from tests.support.load import Load, post

RELOADS = 200
CONNECTIONS = 6
BROKEN = (
    "models: [",
    '{"models": {}}',
    '{"workers": "many", "models": {"m": {"versions": {"1": {"urls": ["http://127.0.0.1:9"]}}, "champion": "1"}}}',
)


def settings(backends: FastBackends, champion: str, challengers: tuple[str, ...], number: int) -> Json:
    model = {
        "protocol": "json",
        "versions": {name: {"urls": [backends.url(f"answers:{name}")]} for name in "123"},
        "champion": champion,
        "challengers": {name: {"percent": 50 + number % 50} for name in challengers},
    }
    return config({"m": model}, access_log="access.log", pairs={"payload": "none"})


def edits(backends: FastBackends) -> list[tuple[str, Json | str]]:
    """(champion, file) of every edit; a broken file has no champion of its own."""
    found: list[tuple[str, Json | str]] = []
    for number in range(RELOADS):
        if number % 9 == 4:
            found.append(("", BROKEN[number % len(BROKEN)]))
        else:
            champion = "12"[number % 2]
            others = tuple(name for name in "123" if name != champion)
            challengers = ((), others[:1], others[1:], others)[number % 4]
            found.append((champion, settings(backends, champion, challengers, number)))
    return found


@pytest.mark.parametrize("workers", [2])
def test_reload_under_load(tmp_path: Path, workers: int) -> None:
    with (
        FastBackends(*(f"answers:{name}" for name in "123")) as backends,
        GatewayProcess(tmp_path, {**settings(backends, "1", (), 0), "workers": workers}) as gateway,
    ):
        champion_of = {gateway.readyz()["config_id"]: "1"}
        in_force = gateway.readyz()["config_id"]
        with Load(
            gateway.inference, lambda number: post("/models/m/x", b'{"n":%d}' % number), CONNECTIONS, pause_s=0.005
        ) as load:
            for champion, file in edits(backends):
                gateway.write({**file, "workers": workers} if isinstance(file, dict) else file)
                answer = gateway.post("/api/reload")
                in_force = checked(answer, gateway, in_force, champion)
                if champion:
                    assert champion_of.setdefault(in_force, champion) == champion
        broken = sum(not champion for champion, _ in edits(backends))
        # The watch of the file may have found a broken one before it was asked to.
        refused = gateway.metric("tiltyard_config_reloads_total", outcome="refused") or 0
        assert broken <= refused <= 2 * broken
        pids = gateway.pids()

        assert not load.failures, load.failures[:5]
        assert len(load.answers) > RELOADS
        for challenger in "123":
            at_rest(gateway, challenger)
        assert gateway.pids() == pids
        assert not gateway.events("process-ended")
    lines = {line["request_id"]: line for line in map(json.loads, (tmp_path / "access.log").read_text().splitlines())}
    seen = set()
    for one in load.answers.values():
        line = lines[one.field(b"x-request-id")]
        version = one.field(b"x-model-version")
        assert (one.status, line["status"]) == (200, 200)
        assert version == line["version"] == champion_of[line["config_id"]] == json.loads(one.body)["by"]
        seen.add(line["config_id"])
    assert len(seen) > RELOADS / 4


def checked(answer: httpx2.Response, gateway: GatewayProcess, former: str, champion: str) -> str:
    """What a reload led to is what its file says; the configuration in force afterwards."""
    in_force: str = gateway.readyz()["config_id"]
    if champion:
        assert answer.status_code == 200, answer.text
        assert answer.json()["config_id"] == in_force
    else:
        assert answer.status_code == 422, answer.text
        assert in_force == former
    return in_force
