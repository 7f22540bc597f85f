"""A real model and its real upgrade: what two releases of magika say of real files.

Each release tells the content type of a file from its first and last bytes. The truth is how the file was made.
"""

import gzip
import io
import json
import sqlite3
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.onnx_server.api import Api, Inference
from gateway.onnx_server.batching import Group, Job
from gateway.onnx_server.execution import Executor
from gateway.onnx_server.session import Model, load
from tests.onnx_server import graphs

ROOT = Path(__file__).resolve().parent.parent.parent
VERSIONS = ("0.6.1", "1.0.3")
BLOCK, EDGE, PADDING = 4096, 1024, 256
INFER = b"/v2/models/m/infer"


def features(content: bytes) -> list[int]:
    """The model's input: the first and the last kilobyte without white space around, padded."""
    head = content[:BLOCK].lstrip()[:EDGE]
    tail = content[-BLOCK:].rstrip()[-EDGE:]
    padding = [PADDING] * EDGE
    return [*[*head, *padding][:EDGE], *[*padding, *tail][-EDGE:]]


def sqlite_file(folder: Path) -> bytes:
    path = folder / "flights.db"
    with sqlite3.connect(path) as database:
        database.execute("create table flights (carrier text, delay real)")
        database.executemany("insert into flights values (?, ?)", [("UA", i) for i in range(500)])
    database.close()
    return path.read_bytes()


def zip_file() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(ROOT / "pyproject.toml", "pyproject.toml")
    return packed.getvalue()


def tar_file() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(ROOT / "gateway" / "onnx_server", "onnx_server")
    return packed.getvalue()


def html_page() -> bytes:
    rows = "".join(f"<tr><td>{i}</td><td><a href='/m/{i}'>model</a></td></tr>\n" for i in range(40))
    head = "<!DOCTYPE html>\n<html lang='en'>\n<head><title>Models</title></head>\n<body>\n"
    return f"{head}<h1>Models</h1>\n<table>\n{rows}</table>\n</body>\n</html>\n".encode()


def flights_csv() -> bytes:
    rows = [f"2013-01-{1 + i % 28:02d},UA,EWR,IAH,{i * 7 % 120}" for i in range(200)]
    return "\n".join(["date,carrier,origin,dest,delay", *rows]).encode()


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory, magika_models: dict[str, Path]) -> dict[str, bytes]:
    """Content by its true type."""
    report = {"model": "m", "pairs": [{"id": i, "agree": i % 3 > 0} for i in range(100)]}
    return {
        "python": (ROOT / "gateway" / "onnx_server" / "tensors.py").read_bytes(),
        "toml": (ROOT / "pyproject.toml").read_bytes(),
        "makefile": (ROOT / "Makefile").read_bytes(),
        "json": json.dumps(report, indent=2).encode(),
        "html": html_page(),
        "csv": flights_csv(),
        "sqlite": sqlite_file(tmp_path_factory.mktemp("sqlite")),
        "zip": zip_file(),
        "gzip": gzip.compress((ROOT / "LICENSE").read_bytes(), mtime=0),
        "tar": tar_file(),
        "elf": Path(sys.executable).resolve().read_bytes(),
        "onnx": (magika_models["1.0.3"] / "model.onnx").read_bytes(),
    }


class Release:
    """One release's model with its labels."""

    def __init__(self, folder: Path):
        self.model: Model = load(folder / "model.onnx", threads=1)
        self.labels = json.loads((folder / "config.min.json").read_text())["target_labels_space"]
        self.api = Api(graphs.server_of(folder / "model.onnx"), self.model)
        self.executor = Executor(self.model)

    def inference(self, body: bytes, **fields: str) -> Inference:
        sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
        inference = self.api.handle("POST", INFER, sent, body)
        assert isinstance(inference, Inference), inference
        return inference

    def run(self, *inferences: Inference) -> None:
        jobs = [inference.job for inference in inferences]
        self.executor.run(Group(0, jobs, sum(job.rows for job in jobs)))

    def label(self, scores: Any) -> str:
        return str(self.labels[int(np.argmax(scores))])


@pytest.fixture(scope="module")
def releases(magika_models: dict[str, Path]) -> dict[str, Release]:
    return {version: Release(folder) for version, folder in magika_models.items()}


def described(rows: int, **keys: object) -> dict[str, object]:
    return {"name": "bytes", "datatype": "INT32", "shape": [rows, 2 * EDGE], **keys}


def in_json(*contents: bytes) -> bytes:
    data = [features(content) for content in contents]
    return json.dumps({"inputs": [described(len(data), data=data)]}).encode()


@pytest.mark.parametrize("version", VERSIONS)
def test_both_releases_know_the_content_types_of_real_files(
    version: str, releases: dict[str, Release], truth: dict[str, bytes]
) -> None:
    release = releases[version]
    inference = release.inference(in_json(*truth.values()))
    release.run(inference)
    (output,) = json.loads(release.api.answer(inference).body)["outputs"]
    assert (output["name"], output["datatype"]) == ("target_label", "FP32")
    assert output["shape"] == [len(truth), len(release.labels)]
    scores = np.array(output["data"]).reshape(output["shape"])
    assert [release.label(row) for row in scores] == list(truth)


@pytest.mark.parametrize("version", VERSIONS)
def test_json_and_binary_bodies_give_one_result_to_the_bit(
    version: str, releases: dict[str, Release], truth: dict[str, bytes]
) -> None:
    release = releases[version]
    contents = [truth["python"], truth["html"]]
    plain = release.inference(in_json(*contents))
    data = np.array([features(content) for content in contents], np.int32).tobytes()
    sized = described(2, parameters={"binary_data_size": len(data)})
    head = json.dumps({"inputs": [sized], "parameters": {"binary_data_output": True}}).encode()
    binary = release.inference(head + data, inference_header_content_length=str(len(head)))
    for inference in (plain, binary):
        release.run(inference)
    (output,) = json.loads(release.api.answer(plain).body)["outputs"]
    reply = release.api.answer(binary)
    size = 4 * len(output["data"])
    assert np.array(output["data"], np.float32).tobytes() == reply.body[-size:]


def test_answers_do_not_depend_on_who_shares_a_run(releases: dict[str, Release], truth: dict[str, bytes]) -> None:
    release = releases["1.0.3"]
    assert release.model.batchable
    contents = [truth[name] for name in ("python", "json", "csv", "elf")]

    def jobs() -> list[Job]:
        inferences = [release.inference(in_json(content)) for content in contents]
        return [inference.job for inference in inferences]

    alone, together = jobs(), jobs()
    for job in alone:
        release.executor.run(Group(0, [job], 1))
    Executor(release.model, proofs=0).run(Group(0, together, len(together)))
    for one, other in zip(alone, together, strict=True):
        assert one.results is not None
        assert other.results is not None
        # A matrix product of several rows adds up in another order than that of one.
        np.testing.assert_allclose(one.results[0], other.results[0], rtol=0, atol=1e-5)
        assert release.label(one.results[0]) == release.label(other.results[0])
