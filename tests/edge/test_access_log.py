"""One line per request, whatever becomes of the request, and no request waits for it."""

import asyncio
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core.counters import Counters
from gateway.core.metrics import ACCESS_LOG
from gateway.edge.access_log import FLUSH_EVERY_S, MAX_PENDING_BYTES, AccessLog, Line
from tests.edge.conftest import StartEdge
from tests.support.backends import answers, hangs
from tests.support.edges import LOGGED
from tests.support.fixtures import StartBackend
from tests.support.gateway_process import config, one_model
from tests.support.loops import becomes, on_event_loop
from tests.support.polling import eventually
from tests.support.wire_client import get, post

LINE = Line(1.0, "id", "192.0.2.7", "", "POST", "/x", "m", "1", 200, "2xx", "", "c", 1.0, 0.5, 2, 3)


@pytest.fixture
def counters(tmp_path: Path) -> Iterator[Counters]:
    counters = Counters(tmp_path / "counters", "worker-0")
    yield counters
    counters.close()


def lost(counters: Counters) -> int:
    return counters.value(ACCESS_LOG, (), "lost")


def written(counters: Counters) -> int:
    return counters.value(ACCESS_LOG, (), "written")


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()] if path.exists() else []


# -- what a line says --------------------------------------------------------------------------------------------------


def test_a_line_says_what_became_of_a_request(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend(answers(b"hello"))
    edge = start_edge(one_model(backend.url, access_log=LOGGED))
    before = time.time()

    answer = edge.asked(post("/models/echo/predict?secret=1", b"12345"))

    (line,) = edge.log_lines()
    assert {key: line[key] for key in line if key not in {"time", "duration_ms", "upstream_ms"}} == {
        "request_id": answer.field("x-request-id"),
        "client": "127.0.0.1",
        "tenant": "",
        "method": "POST",
        "path": "/models/echo/predict",
        "model": "echo",
        "version": "1",
        "status": 200,
        "outcome": "2xx",
        "code": "",
        "config_id": edge.config_id,
        "bytes_in": 5,
        "bytes_out": 5,
    }
    assert before - 1 <= line["time"] <= time.time() + 1
    assert 0 < line["upstream_ms"] <= line["duration_ms"]


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (
            get("/models/echo/x", method="DELETE"),
            {"method": "DELETE", "status": 200, "outcome": "2xx", "code": "", "model": "echo", "version": "1"},
        ),
        (
            post("/models/none/x"),
            {"status": 404, "outcome": "refused", "code": "model-not-found", "model": "", "upstream_ms": None},
        ),
        (
            post("/models/echo/x", b"{}", "x-shadow: 1"),
            {"status": 400, "outcome": "refused", "code": "shadow-not-allowed", "path": "/models/echo/x"},
        ),
        (
            get("/models/echo/x", method="TRACE"),
            {"status": 405, "outcome": "refused", "code": "method-not-allowed", "model": "echo", "version": "1"},
        ),
        (
            post("/models/slow/x", b"{}", "x-request-timeout-ms: 50"),
            {"status": 504, "outcome": "upstream_timeout", "code": "upstream-timeout", "bytes_in": 2},
        ),
        (
            post("/models/down/x"),
            {"status": 502, "outcome": "upstream_failed", "code": "upstream-unreachable", "upstream_ms": None},
        ),
        (
            b"GET / HTTP/1.1\r\n\r\n",
            {"status": 400, "outcome": "refused", "code": "bad-request", "model": ""},
        ),
        (get("/livez", method="POST"), {"status": 405, "code": "method-not-allowed", "path": "/livez"}),
    ],
)
def test_every_outcome_has_its_line(
    start_edge: StartEdge, start_backend: StartBackend, sent: bytes, line: dict[str, Any]
) -> None:
    def model(url: str) -> dict[str, Any]:
        return {"protocol": "json", "versions": {"1": {"urls": [url]}}, "champion": "1"}

    urls = {"echo": start_backend().url, "slow": start_backend(hangs()).url, "down": "http://127.0.0.1:9"}
    edge = start_edge(config({name: model(url) for name, url in urls.items()}, access_log=LOGGED))

    answer = edge.asked(sent)

    (found,) = edge.log_lines()
    assert {key: found[key] for key in line} == line
    assert found["request_id"] == answer.field("x-request-id")
    assert found["config_id"] == edge.config_id
    assert uuid.UUID(found["request_id"]).version == 7


def test_a_client_that_went_has_its_line(start_edge: StartEdge, start_backend: StartBackend) -> None:
    backend = start_backend(hangs())
    edge = start_edge(one_model(backend.url, access_log=LOGGED))
    with edge.connects() as client:
        client.sends(post("/models/echo/x"))
        eventually(lambda: backend.count, "the backend is asked")
        client.resets()
    (line,) = eventually(edge.log_lines, "the line is there")
    assert (line["status"], line["outcome"], line["code"]) == (0, "client_gone", "")


def test_health_is_not_logged(start_edge: StartEdge, start_backend: StartBackend) -> None:
    edge = start_edge(one_model(start_backend().url, access_log=LOGGED))
    for path in ("/livez", "/readyz", "/v2"):
        assert edge.asked(get(path)).status == 200
    assert edge.log_lines() == []


# -- how it is written -------------------------------------------------------------------------------------------------


@on_event_loop
async def test_lines_are_written_soon_and_counted(tmp_path: Path, counters: Counters) -> None:
    path = tmp_path / "deep" / "access.log"
    log = AccessLog(str(path), counters, asyncio.get_running_loop())
    assert log.enabled

    for _ in range(100):
        log.write(LINE)

    await becomes(lambda: written(counters) == 100, "all are written")
    assert lines_of(path) == [msgspec.to_builtins(LINE)] * 100


@on_event_loop
async def test_closing_writes_what_is_left(tmp_path: Path, counters: Counters) -> None:
    log = AccessLog(str(tmp_path / "access.log"), counters, asyncio.get_running_loop())
    await log.close()
    log.write(LINE)
    await log.close()
    assert (written(counters), lost(counters)) == (1, 0)
    log.write(LINE)
    log.write(LINE)
    await log.close()
    assert len(lines_of(tmp_path / "access.log")) == 3


@on_event_loop
async def test_a_log_that_is_off_is_off(tmp_path: Path, counters: Counters) -> None:
    assert not AccessLog("off", counters, asyncio.get_running_loop()).enabled


@on_event_loop
async def test_a_file_that_is_moved_away_is_opened_anew(tmp_path: Path, counters: Counters) -> None:
    path, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    log = AccessLog(str(path), counters, asyncio.get_running_loop())
    log.write(LINE)
    await log.close()

    path.rename(moved)
    log.write(LINE)
    log.write(LINE)
    await log.close()
    path.unlink()
    log.write(LINE)
    await log.close()

    assert (len(lines_of(moved)), len(lines_of(path))) == (1, 1)
    assert written(counters) == 4


@on_event_loop
async def test_a_file_that_is_replaced_is_opened_anew(tmp_path: Path, counters: Counters) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path), counters, asyncio.get_running_loop())
    log.write(LINE)
    await log.close()
    path.rename(tmp_path / "access.log.1")
    path.write_bytes(b"")
    log.write(LINE)
    await log.close()
    assert len(lines_of(path)) == 1


@on_event_loop
async def test_lines_that_cannot_be_written_are_counted_and_later_ones_are_written(
    tmp_path: Path, counters: Counters
) -> None:
    path = tmp_path / "access.log"
    path.mkdir()
    log = AccessLog(str(path), counters, asyncio.get_running_loop())
    for _ in range(3):
        log.write(LINE)
    await log.close()
    assert (written(counters), lost(counters)) == (0, 3)

    path.rmdir()
    log.write(LINE)
    await log.close()
    assert (written(counters), lost(counters)) == (1, 3)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe: a file that takes only what somebody reads, as a disk that is slow or hangs."""
    path = tmp_path / "access.log"
    os.mkfifo(path)
    return path


@on_event_loop
async def test_a_slow_disk_holds_up_nobody_and_what_it_cannot_take_is_counted(pipe: Path, counters: Counters) -> None:
    log = AccessLog(str(pipe), counters, asyncio.get_running_loop())
    size = len(msgspec.json.encode(LINE))
    offered = 2 * MAX_PENDING_BYTES // size

    for _ in range(offered):
        log.write(LINE)
    assert written(counters) == 0
    held = offered - lost(counters)
    assert MAX_PENDING_BYTES < held * size <= MAX_PENDING_BYTES + size

    def read() -> int:
        with pipe.open("rb") as reader:
            return sum(reader.readline() == msgspec.json.encode(LINE) + b"\n" for _ in range(held))

    reading = asyncio.ensure_future(asyncio.to_thread(read))
    await log.close()
    assert (written(counters), lost(counters)) == (held, offered - held)
    assert await reading == held


@on_event_loop
async def test_lines_that_come_while_others_are_written_follow(pipe: Path, counters: Counters) -> None:
    log = AccessLog(str(pipe), counters, asyncio.get_running_loop())
    log.write(LINE)
    await asyncio.sleep(2 * FLUSH_EVERY_S)
    log.write(LINE)

    def read() -> int:
        with pipe.open("rb") as reader:
            return sum(reader.readline() == msgspec.json.encode(LINE) + b"\n" for _ in range(2))

    reading = asyncio.ensure_future(asyncio.to_thread(read))
    await log.close()
    assert await reading == written(counters) == 2


@on_event_loop
async def test_a_log_to_standard_output_goes_there(counters: Counters, capfd: pytest.CaptureFixture[str]) -> None:
    log = AccessLog("stdout", counters, asyncio.get_running_loop())
    log.write(LINE)
    await log.close()
    assert msgspec.json.decode(capfd.readouterr().out) == msgspec.to_builtins(LINE)
