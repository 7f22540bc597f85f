"""Four broken challengers at 100 %: every answer is byte for byte what the backend says, and every loss is counted."""

from pathlib import Path

import pytest

from tests.support.fast_backend import FastBackends
from tests.support.gateway_books import at_rest, memory_kib, skipped
from tests.support.gateway_process import GatewayProcess, config
from tests.support.load import Answer, Load, post

REQUESTS = 10_000
WARM_UP = 1_000
CONNECTIONS = 32
WORKER_MAY_GROW_KIB = 20 * 1024
SHADOW_MOST_KIB = 256 * 1024
FAULTS = {"hung": "hangs", "resetting": "resets", "garbage": "garbage", "endless": "endless"}
CONTENT = (b"content-type", b"content-encoding", b"etag", b"x-kind")
PATH = "/models/m/score"


def body(number: int) -> bytes:
    """Small, middling and larger ones; one in fifty wishes for a client's error of the backend's own."""
    status = 422 if number % 50 == 7 else 200
    return b'{"status":%d,"number":%d,"text":"%b"}' % (status, number, b"x" * (37 * number % 3000))


def essence(answer: Answer) -> tuple[object, ...]:
    """What a client gets of an answer: status, body, and the fields that speak of the body."""
    return answer.status, answer.body, [one for one in answer.fields if one[0] in CONTENT]


def called(url: str, path: str, total: int, start: int = 0) -> Load:
    load = Load(url, lambda number: post(path, body(start + number)), CONNECTIONS, total).start().join()
    assert not load.failures, load.failures[:3]
    assert len(load.answers) == total
    return load


@pytest.fixture(scope="module")
def backends() -> FastBackends:
    with FastBackends("answers:champion", *FAULTS.values()) as backends:
        yield backends


def settings(backends: FastBackends) -> dict[str, object]:
    versions = {"champion": {"urls": [backends.url("answers:champion")]}}
    versions |= {name: {"urls": [backends.url(kind)]} for name, kind in FAULTS.items()}
    model = {
        "protocol": "json",
        "versions": versions,
        "champion": "champion",
        "challengers": {name: {"percent": 100, "timeout": "500ms"} for name in FAULTS},
    }
    return config({"m": model})


def test_challenger_never_changes_the_champions_answer(tmp_path: Path, backends: FastBackends) -> None:
    direct = called(backends.url("answers:champion"), "/score", REQUESTS, start=WARM_UP)
    with GatewayProcess(tmp_path, settings(backends)) as gateway:
        called(gateway.inference, PATH, WARM_UP)
        pids = gateway.pids()
        worker_kib = memory_kib(pids["worker 0"])

        through = called(gateway.inference, PATH, REQUESTS, start=WARM_UP)

        differing = [n for n in range(REQUESTS) if essence(through.answers[n]) != essence(direct.answers[n])]
        assert not differing, (essence(through.answers[differing[0]]), essence(direct.answers[differing[0]]))
        assert {answer.field(b"x-model-version") for answer in through.answers.values()} == {"champion"}
        assert len({answer.field(b"x-request-id") for answer in through.answers.values()}) == REQUESTS

        failed = sum(answer.status != 200 for answer in through.answers.values())
        for name in FAULTS:
            found = at_rest(gateway, name, eligible=REQUESTS + WARM_UP)
            assert found.skipped["champion_failed"] >= failed > 0
            assert found.ok == 0
            assert found.sent > 0
            assert set(skipped(found)) <= {"champion_failed", "queue_full", "queue_bytes", "breaker_open", "expired"}
        assert gateway.pids() == pids
        assert memory_kib(pids["worker 0"]) - worker_kib < WORKER_MAY_GROW_KIB
        assert memory_kib(pids["shadow"], "VmHWM") < SHADOW_MOST_KIB
        assert not gateway.events("shadow-call-crashed")
        assert not gateway.events("request-crashed")
