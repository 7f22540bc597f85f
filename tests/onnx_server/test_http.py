"""The model server as a process on real sockets: what the gateway, and a client of Triton's, find there."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2
import numpy as np
import pytest
import tritonclient.http as triton
import uvloop
from tritonclient.utils import InferenceServerException

from gateway.onnx_server import batching
from gateway.onnx_server.api import Api
from gateway.onnx_server.errors import ModelUnusable
from gateway.onnx_server.http import ModelApplication, start_model
from tests.onnx_server import graphs

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 60
INFER = "/v2/models/m/infer"


@dataclass
class ModelProcess:
    """A model server on a listening socket, which outlives it and is handed to the next."""

    listener: socket.socket
    path: Path
    log: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> Self:
        with self.log.open("ab") as log:
            descriptor = self.listener.fileno()
            command = [sys.executable, "-m", "tests.onnx_server.served", str(descriptor), str(self.path)]
            self.processes.append(subprocess.Popen(command, cwd=ROOT, pass_fds=[descriptor], stderr=log))
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self.processes[-1]

    def client(self) -> httpx2.Client:
        """A client of its own connections."""
        address = self.listener.getsockname()
        if isinstance(address, str):
            transport, base = httpx2.HTTPTransport(uds=address), "http://model"
        else:
            transport, base = httpx2.HTTPTransport(), f"http://127.0.0.1:{address[1]}"
        return httpx2.Client(transport=transport, base_url=base, timeout=PATIENCE_S)

    def raw(self, request: bytes) -> socket.socket:
        """A connection on which `request` was sent."""
        connection = socket.socket(self.listener.family)
        connection.settimeout(PATIENCE_S)
        connection.connect(self.listener.getsockname())
        connection.sendall(request)
        return connection

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(PATIENCE_S)
        self.listener.close()


def answer(connection: socket.socket) -> bytes:
    """All that comes until the other end closes."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.fixture
def on_unix(tmp_path: Path) -> Iterator[ModelProcess]:
    # A short folder: the path of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="tiltyard-") as folder:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{folder}/model.sock")
        listener.listen(64)
        model = ModelProcess(listener, tmp_path / "model.onnx", tmp_path / "log")
        yield model
        model.close()


@pytest.fixture
def on_tcp(tmp_path: Path) -> Iterator[ModelProcess]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    model = ModelProcess(listener, tmp_path / "model.onnx", tmp_path / "log")
    yield model
    model.close()


def fp32(*values: float) -> dict[str, Any]:
    shape = [len(values), 1]
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": values}]}


def steps(count: int) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": [count]}]}


def request(document: object) -> bytes:
    body = json.dumps(document).encode()
    return b"POST %b HTTP/1.1\r\nhost: m\r\ncontent-length: %d\r\n\r\n%b" % (INFER.encode(), len(body), body)


def test_a_connection_made_before_the_process_runs_is_answered(on_unix: ModelProcess) -> None:
    on_unix.path.write_bytes(graphs.identity("FP32", ["N", 1]))
    early = on_unix.raw(request(fp32(1, 2)).replace(b"host", b"connection: close\r\nhost"))
    on_unix.start()
    head, _, body = answer(early).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(body)["outputs"][0]["data"] == [1, 2]
    assert on_unix.stop() == 0


def test_no_connection_is_lost_over_a_crash(on_unix: ModelProcess) -> None:
    on_unix.path.write_bytes(graphs.identity("FP32", ["N", 1]))
    with on_unix.start().client() as client:
        assert client.get("/v2/health/ready").json() == {"ready": True}
    on_unix.process.kill()
    on_unix.process.wait(PATIENCE_S)
    between = on_unix.raw(request(fp32(3)).replace(b"host", b"connection: close\r\nhost"))
    on_unix.start()
    assert answer(between).startswith(b"HTTP/1.1 200 OK\r\n")


def test_many_connections_at_once_get_each_its_own_answer(on_unix: ModelProcess) -> None:
    on_unix.path.write_bytes(graphs.identity("FP32", ["N", 1]))
    on_unix.start()
    found: dict[int, list[float]] = {}

    def ask(number: int) -> None:
        with on_unix.client() as client:
            for turn in range(25):
                value = float(number * 1000 + turn)
                reply = client.post(INFER, json={**fp32(value), "id": str(value)}).json()
                assert reply["id"] == str(value)
                found.setdefault(number, []).append(reply["outputs"][0]["data"][0])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert found == {number: [number * 1000.0 + turn for turn in range(25)] for number in range(8)}


def test_health_is_answered_while_a_run_goes_on_and_a_drain_lets_it_end(on_unix: ModelProcess) -> None:
    on_unix.path.write_bytes(graphs.long_run(256))
    running = on_unix.start().raw(request(steps(500)))
    with on_unix.client() as client:
        assert client.get("/v2/health/live").json() == {"live": True}
    on_unix.process.send_signal(signal.SIGTERM)
    head, _, body = answer(running).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(body)["outputs"][0]["data"] == [500]
    assert on_unix.process.wait(PATIENCE_S) == 0
    assert on_unix.log.read_text() == ""


def test_a_client_that_leaves_during_a_run_harms_nobody(on_unix: ModelProcess) -> None:
    on_unix.path.write_bytes(graphs.long_run(256))
    on_unix.start()
    for _ in range(3):
        on_unix.raw(request(steps(200))).close()
    with on_unix.client() as client:
        assert client.post(INFER, json=steps(1)).json()["outputs"][0]["data"] == [1]
    assert on_unix.stop() == 0
    assert on_unix.log.read_text() == ""


def test_pipelined_requests_are_answered_in_order(on_unix: ModelProcess) -> None:
    on_unix.path.write_bytes(graphs.identity("FP32", ["N", 1]))
    sent = b"".join(request({**fp32(value), "id": str(value)}) for value in range(5))
    last = b"GET /v2/health/live HTTP/1.1\r\nhost: m\r\nconnection: close\r\n\r\n"
    received = answer(on_unix.start().raw(sent + last))
    ids = [part.split(b'"')[0] for part in received.split(b'"id":"')[1:]]
    assert ids == [b"0", b"1", b"2", b"3", b"4"]
    assert received.endswith(b'{"live":true}')


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nhost: m\r\nconnection: close\r\n\r\n", b"404 Not Found"),
        (b"POST %b HTTP/1.1\r\nhost: m\r\ncontent-length: 999999999999\r\n\r\n" % INFER.encode(), b"413 "),
        (b"POST %b HTTP/1.1\r\n\r\n" % INFER.encode(), b"400 Bad Request"),
        (b"not http at all\r\n\r\n", b"400 Bad Request"),
    ],
)
def test_what_cannot_be_served_gets_the_error_of_the_protocol(
    sent: bytes, status: bytes, on_unix: ModelProcess
) -> None:
    on_unix.path.write_bytes(graphs.identity("FP32", ["N", 1]))
    head, _, body = answer(on_unix.start().raw(sent)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert list(json.loads(body)) == ["error"]
    assert on_unix.stop() == 0
    assert on_unix.log.read_text() == ""


# -- in this process, where it can be made to fail --------------------------------------------------


def played(model: Path, scenario: Callable[[ModelApplication, str], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario against a server on a Unix socket of its own."""

    async def play() -> None:
        with tempfile.TemporaryDirectory(prefix="tiltyard-") as folder, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/model.sock")
            listener.listen(16)
            application = await start_model(graphs.server_of(model), listener)
            await asyncio.wait_for(scenario(application, f"{folder}/model.sock"), PATIENCE_S)
            await application.drain(0.1)

    uvloop.run(play())


async def sent(path: str, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    return reader, writer


async def until(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not look():  # noqa: ASYNC110 (what is looked at has no event)
            await asyncio.sleep(0.01)


async def one_answer(reader: asyncio.StreamReader) -> tuple[int, Any]:
    """Status and JSON body of the next answer on a connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    return int(head.split()[1]), json.loads(await reader.readexactly(length))


def test_a_drain_cuts_what_does_not_end_and_leaves_no_run_behind(tmp_path: Path) -> None:
    async def scenario(application: ModelApplication, path: str) -> None:
        reader, writer = await sent(path, request(steps(10**12)))
        await until(lambda: application.runner.busy)
        await application.drain(0.1)
        assert await reader.read() == b""
        writer.close()

    before = set(threading.enumerate())
    played(graphs.saved(tmp_path, graphs.long_run(64)), scenario)
    assert {thread.name for thread in set(threading.enumerate()) - before} <= {"asyncio_0"}


def test_overload_is_503_and_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MAX_WAITING", 1)

    async def scenario(application: ModelApplication, path: str) -> None:
        endless = await sent(path, request(steps(10**12)))
        await until(lambda: application.runner.busy)
        waiting = await sent(path, request(steps(1)))
        await until(lambda: application.runner.waiting > 0)
        refused = await sent(path, request(steps(2)))
        status, body = await one_answer(refused[0])
        assert (status, body) == (503, {"error": "overloaded: 1 requests wait for this model"})
        endless[1].close()
        status, body = await one_answer(waiting[0])
        assert (status, body["outputs"][0]["data"]) == (200, [1])
        for _, writer in (waiting, refused):
            writer.close()

    played(graphs.saved(tmp_path, graphs.long_run(64)), scenario)


def test_a_defect_of_ours_is_a_500_in_the_protocols_form_and_one_line_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(Api, "handle", broken)

    async def scenario(application: ModelApplication, path: str) -> None:
        reader, writer = await sent(path, request(fp32(1)))
        status, body = await one_answer(reader)
        assert (status, list(body)) == (500, ["error"])
        writer.close()

    played(graphs.saved(tmp_path, graphs.identity("FP32", ["N", 1])), scenario)
    (line,) = capfd.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "request-crashed"
    assert "a defect" in json.loads(line)["cause"]


def test_an_output_that_is_not_served_is_told_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def scenario(application: ModelApplication, path: str) -> None:
        assert application.connections == set()

    played(graphs.saved(tmp_path, graphs.score_and_map()), scenario)
    (line,) = capfd.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "output-withheld"
    assert json.loads(line)["output"] == "by_name"


def test_a_model_that_cannot_be_loaded_is_told_to_the_caller(tmp_path: Path) -> None:
    async def scenario(application: ModelApplication, path: str) -> None:
        raise AssertionError("it was loaded")

    with pytest.raises(ModelUnusable, match=r"model\.onnx: "):
        played(graphs.saved(tmp_path, b"no model"), scenario)


# -- Triton's own client ---------------------------------------------------------------------------


@pytest.fixture
def triton_client(on_tcp: ModelProcess, magika_models: dict[str, Path]) -> Iterator[triton.InferenceServerClient]:
    on_tcp.path = magika_models["1.0.3"] / "model.onnx"
    on_tcp.start()
    client = triton.InferenceServerClient(f"127.0.0.1:{on_tcp.listener.getsockname()[1]}", network_timeout=PATIENCE_S)
    yield client
    client.close()


ROW = np.arange(2048, dtype=np.int32).reshape(1, 2048) % 256


def magika_input(row: np.ndarray[Any, Any] = ROW, binary: bool = True) -> list[triton.InferInput]:
    given = triton.InferInput("bytes", list(row.shape), "INT32")
    given.set_data_from_numpy(row, binary_data=binary)
    return [given]


def test_tritons_client_reads_health_and_metadata(triton_client: triton.InferenceServerClient) -> None:
    assert triton_client.is_server_live()
    assert triton_client.is_server_ready()
    assert triton_client.is_model_ready("m")
    assert triton_client.is_model_ready("m", "1")
    assert not triton_client.is_model_ready("m", "2")
    assert not triton_client.is_model_ready("other")
    assert triton_client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert triton_client.get_model_metadata("m", "1") == {
        "name": "m",
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "bytes", "datatype": "INT32", "shape": [-1, 2048]}],
        "outputs": [{"name": "target_label", "datatype": "FP32", "shape": [-1, 214]}],
    }


def test_tritons_client_gets_one_result_in_every_form(triton_client: triton.InferenceServerClient) -> None:
    results = []
    for binary_in in (True, False):
        for binary_out in (True, False):
            for coding in (None, "gzip", "deflate"):
                outputs = [triton.InferRequestedOutput("target_label", binary_data=binary_out)]
                result = triton_client.infer(
                    "m",
                    magika_input(binary=binary_in),
                    outputs=outputs,
                    request_id="7",
                    request_compression_algorithm=coding,
                    response_compression_algorithm=coding,
                )
                assert result.get_response()["id"] == "7"
                results.append(result.as_numpy("target_label"))
    assert results[0].shape == (1, 214)
    assert results[0].sum() == pytest.approx(1, abs=1e-5)
    assert all(np.array_equal(results[0], result) for result in results)


def test_tritons_client_asks_for_all_outputs_in_binary_by_default(
    triton_client: triton.InferenceServerClient,
) -> None:
    result = triton_client.infer("m", magika_input(np.repeat(ROW, 3, axis=0)), sequence_id=5, priority=2)
    assert result.as_numpy("target_label").shape == (3, 214)


def test_tritons_client_is_told_what_was_wrong(triton_client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match=r"takes shape \[-1, 2048\]") as refused:
        triton_client.infer("m", magika_input(ROW[:, :10]))
    assert refused.value.status() == "400"
    with pytest.raises(InferenceServerException, match="classification"):
        triton_client.infer("m", magika_input(), outputs=[triton.InferRequestedOutput("target_label", class_count=3)])
    with pytest.raises(InferenceServerException, match="version '1'"):
        triton_client.infer("m", magika_input(), model_version="2")


def test_tritons_client_sends_and_gets_texts(on_tcp: ModelProcess) -> None:
    on_tcp.path.write_bytes(graphs.identity("BYTES", [None, 1]))
    on_tcp.start()
    texts = np.array([["champion"], [""], ["défi \0 \U0001f3c7"]], dtype=object)
    with triton.InferenceServerClient(f"127.0.0.1:{on_tcp.listener.getsockname()[1]}") as client:
        for binary in (True, False):
            given = triton.InferInput("x", [3, 1], "BYTES")
            given.set_data_from_numpy(texts, binary_data=binary)
            outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
            (found,) = client.infer("m", [given], outputs=outputs).as_numpy("y").reshape(1, 3).tolist()
            assert [text if isinstance(text, str) else text.decode() for text in found] == texts[:, 0].tolist()
