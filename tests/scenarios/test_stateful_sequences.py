"""Requests of one sequence: a challenger sees all of them, in order, or none."""

import json
import threading
from collections import defaultdict
from pathlib import Path

import httpx2

from tests.support.backends import Backend, Seen, computes, delays
from tests.support.fixtures import StartBackend, start_backend
from tests.support.gateway_books import at_rest, skipped
from tests.support.gateway_process import GatewayProcess, Json, config

__all__ = ["start_backend"]

SEQUENCES = 60
LENGTH = 8
CLIENTS = 6
CAP = 4096


def echo(request: Seen) -> object:
    return {"size": len(request.body)}


def settings(champion: Backend, challenger: Backend, **keys: object) -> Json:
    model = {
        "versions": {"1": {"urls": [champion.url]}, "2": {"urls": [challenger.url]}},
        "champion": "1",
        "challengers": {"2": keys},
    }
    return config({"m": model}, workers=2, shadow={"body": CAP})


def ask(client: httpx2.Client, gateway: GatewayProcess, sequence: int, step: int, size: int = 0) -> None:
    """One request of a sequence; its place is in its id, which the gateway passes on."""
    parameters = {"sequence_id": sequence, "sequence_start": step == 0, "sequence_end": step == LENGTH - 1}
    body = {"id": f"{sequence}/{step}", "inputs": [], "parameters": parameters, "padding": "x" * size}
    answer = client.post(f"{gateway.inference}/v2/models/m/infer", json=body)
    assert answer.status_code == 200


def talk(gateway: GatewayProcess, sequences: list[int], sizes: dict[tuple[int, int], int] | None = None) -> None:
    """Several clients, each going through its own sequences step by step, all at once."""

    def one(mine: list[int]) -> None:
        with httpx2.Client(trust_env=False, timeout=30) as client:
            for step in range(LENGTH):
                for sequence in mine:
                    ask(client, gateway, sequence, step, (sizes or {}).get((sequence, step), 0))

    threads = [threading.Thread(target=one, args=(sequences[number::CLIENTS],)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def steps_seen(challenger: Backend) -> dict[int, list[int]]:
    """The steps of each sequence in the order the challenger saw them."""
    seen: dict[int, list[int]] = defaultdict(list)
    for request in challenger.requests:
        sequence, _, step = json.loads(request.body)["id"].partition("/")
        seen[int(sequence)].append(int(step))
    return seen


def test_stateful_sequences(tmp_path: Path, start_backend: StartBackend) -> None:
    champion, challenger = start_backend(computes(echo)), start_backend(delays(0.002, computes(echo)))
    with GatewayProcess(tmp_path, settings(champion, challenger, percent=50)) as gateway:
        talk(gateway, list(range(1, SEQUENCES + 1)))
        found = at_rest(gateway, eligible=SEQUENCES * LENGTH)

    seen = steps_seen(challenger)
    assert all(steps == list(range(LENGTH)) for steps in seen.values())
    assert 0 < len(seen) < SEQUENCES
    assert not skipped(found)
    assert (found.sent, found.sampled_out) == (LENGTH * len(seen), LENGTH * (SEQUENCES - len(seen)))


def test_a_killed_shadow_process_leaves_no_gap_in_a_sequence(tmp_path: Path, start_backend: StartBackend) -> None:
    champion, challenger = start_backend(computes(echo)), start_backend(computes(echo))
    with GatewayProcess(tmp_path, settings(champion, challenger)) as gateway:
        with httpx2.Client(trust_env=False, timeout=30) as client:
            for step in range(3):
                ask(client, gateway, 7, step)
            at_rest(gateway, eligible=3)
            gateway.until_respawned("shadow", gateway.kill("shadow"))
            for step in range(3, LENGTH):
                ask(client, gateway, 7, step)
        found = at_rest(gateway, eligible=LENGTH)

    assert steps_seen(challenger) == {7: [0, 1, 2]}
    assert skipped(found) == {"shadow_lost": LENGTH - 3}


def test_a_sequence_that_lost_a_request_anywhere_or_is_met_halfway_is_not_followed(
    tmp_path: Path, start_backend: StartBackend
) -> None:
    """One request is too large to be mirrored, and one challenger comes in the middle: what follows would meet a
    challenger that missed some.
    """
    champion, challenger, other = (start_backend(computes(echo)) for _ in range(3))
    before = settings(champion, challenger)
    model = before["models"]["m"]
    more = {
        "versions": {**model["versions"], "3": {"urls": [other.url]}},
        "challengers": {**model["challengers"], "3": {}},
    }
    with GatewayProcess(tmp_path, before) as gateway:
        with httpx2.Client(trust_env=False, timeout=30) as client:
            for step in range(LENGTH):
                ask(client, gateway, 7, step, CAP if step == 3 else 0)
                at_rest(gateway, eligible=step + 1)
            # Begun anew, it is seen again.
            for step in range(LENGTH):
                ask(client, gateway, 7, step)
                if step == 4:
                    gateway.write({**before, "models": {"m": {**model, **more}}})
                    assert gateway.post("/api/reload").status_code == 200
            for step in range(LENGTH):
                ask(client, gateway, 8, step)
        found = at_rest(gateway, "2", eligible=3 * LENGTH)
        later = at_rest(gateway, "3", eligible=2 * LENGTH - 5)

    assert steps_seen(challenger) == {7: [*range(3), *range(LENGTH)], 8: list(range(LENGTH))}
    assert skipped(found) == {"too_large": 1, "shadow_lost": LENGTH - 4}
    assert steps_seen(other) == {8: list(range(LENGTH))}
    assert skipped(later) == {"shadow_lost": LENGTH - 5}
