"""The protocol as one server speaks it: paths, documents, inference over every datatype, refusals."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway
from gateway.onnx_server import api as api_module
from gateway.onnx_server.api import Api, Inference, Reply
from gateway.onnx_server.batching import Group
from gateway.onnx_server.execution import Executor
from gateway.onnx_server.session import Model
from tests.onnx_server import graphs

Json = dict[str, Any]
INFER = b"/v2/models/m/infer"


class Served:
    """A model, and what its server answers when every inference is run at once."""

    def __init__(self, model: Model):
        self.api = Api(graphs.server_of(Path("model.onnx")), model)
        self.executor = Executor(model)

    def ask(self, method: str, path: bytes, body: bytes = b"", **fields: str) -> Reply:
        sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
        reply = self.api.handle(method, path, sent, body)
        if isinstance(reply, Inference):
            self.executor.run(Group(0, [reply.job], reply.job.rows))
            reply = self.api.answer(reply)
        return reply

    def infer(self, request: object) -> Json:
        reply = self.ask("POST", INFER, json.dumps(request).encode())
        assert reply.status == 200, reply.body
        found: Json = json.loads(reply.body)
        return found

    def error(self, request: object) -> str:
        return error_of(self.ask("POST", INFER, json.dumps(request).encode()), 400)


def error_of(reply: Reply, status: int) -> str:
    assert reply.status == status, reply.body
    assert b"content-type: application/json\r\n" in reply.lines
    (message,) = json.loads(reply.body).values()
    assert json.loads(reply.body) == {"error": message}
    return str(message)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(graphs.loaded(tmp_path_factory.mktemp("m"), graphs.identity("FP32", ["N", 2])))


def fp32(*rows: tuple[float, float]) -> Json:
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [len(rows), 2], "data": rows}]}


METADATA = {
    "name": "m",
    "versions": ["1"],
    "platform": "onnx_onnxv1",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
}
SERVER = {"name": "tiltyard", "version": gateway.__version__, "extensions": ["binary_tensor_data"]}


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (b"/v2", SERVER),
        (b"/v2/", SERVER),
        (b"/v2/health/live", {"live": True}),
        (b"/v2/health/ready", {"ready": True}),
        (b"/v2/models/m", METADATA),
        (b"/v2/models/m/versions/1", METADATA),
        (b"/v2/models/%6d/versions/%31", METADATA),
        (b"/v2/models/m/ready", {"name": "m", "ready": True}),
        (b"/v2/models/m/versions/1/ready", {"name": "m", "ready": True}),
    ],
)
def test_a_document_is_at_its_path(path: bytes, document: Json, served: Served) -> None:
    reply = served.ask("GET", path)
    assert (reply.status, json.loads(reply.body)) == (200, document)
    assert served.ask("HEAD", path) == reply


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"",
        b"*",
        b"/v1/models/m:predict",
        b"/v2/models",
        b"/v2/models/other",
        b"/v2/models/m/versions/2",
        b"/v2/models/m/versions/2/infer",
        b"/v2/models/other/infer",
        b"/v2/models/M/infer",
        b"/v2/models/m/generate",
        b"/v2/repository/index",
        b"/v2/models/\xff%ff",
        b"/" + b"x" * 10_000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_any_other_path_is_not_found(method: str, path: bytes, served: Served) -> None:
    message = error_of(served.ask(method, path, b"{}"), 404)
    assert len(message) < 300


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", INFER, b"POST"),
        ("PUT", INFER, b"POST"),
        ("POST", b"/v2/models/m", b"GET, HEAD"),
        ("DELETE", b"/v2/models/m/versions/1", b"GET, HEAD"),
        ("POST", b"/v2/health/live", b"GET, HEAD"),
    ],
)
def test_another_method_is_refused_with_those_allowed(method: str, path: bytes, allowed: bytes, served: Served) -> None:
    reply = served.ask(method, path)
    error_of(reply, 405)
    assert b"allow: " + allowed + b"\r\n" in reply.lines


VALUES: dict[str, list[object]] = {
    "BOOL": [True, False],
    "INT8": [-128, 127],
    "INT16": [-32768, 32767],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "FP16": [-1.5, 65504.0],
    "FP32": [0.1, -3.4028234663852886e38],
    "FP64": [0.1, -1.7976931348623157e308],
    "BYTES": ["", "é \0 \U0001f600"],
}


@pytest.mark.parametrize("datatype", VALUES)
def test_every_datatype_passes_in_json_and_in_binary_with_one_result(datatype: str, tmp_path: Path) -> None:
    served = Served(graphs.loaded(tmp_path, graphs.identity(datatype, [None, 1])))
    given = {"name": "x", "datatype": datatype, "shape": [2, 1]}

    in_json = served.infer({"inputs": [{**given, "data": VALUES[datatype]}]})
    (output,) = in_json["outputs"]
    assert (output["datatype"], output["shape"]) == (datatype, [2, 1])
    if datatype == "FP32":
        assert [np.float32(value) for value in output["data"]] == [
            np.float32(0.1),
            np.float32(-3.4028234663852886e38),
        ]
    else:
        assert output["data"] == VALUES[datatype]

    data = binary_of(datatype, VALUES[datatype])
    sized = {**given, "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [sized], "parameters": {"binary_data_output": True}}).encode()
    length = str(len(head))
    reply = served.ask("POST", INFER, head + data, inference_header_content_length=length)
    assert reply.status == 200, reply.body
    assert reply.body.endswith(data)
    (answered,) = json.loads(reply.body[: -len(data)])["outputs"]
    assert answered["parameters"] == {"binary_data_size": len(data)}
    assert b"content-type: application/octet-stream\r\n" in reply.lines
    json_length = b"inference-header-content-length: %d\r\n" % (len(reply.body) - len(data))
    assert json_length in reply.lines


def binary_of(datatype: str, values: list[object]) -> bytes:
    if datatype == "BYTES":
        texts = [str(value).encode() for value in values]
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    return np.array(values, graphs.onnx.helper.tensor_dtype_to_np_dtype(graphs.ELEMENTS[datatype])).tobytes()


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_read(coding: str, compress: Any, served: Served) -> None:
    body = json.dumps(fp32((1, 2))).encode()
    reply = served.ask("POST", INFER, compress(body), content_encoding=coding)
    assert json.loads(reply.body)["outputs"][0]["data"] == [1, 2]


def test_a_compressed_body_cannot_become_a_large_one(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "MAX_BODY_BYTES", 1000)
    body = gzip.compress(b" " * 1001)
    error_of(served.ask("POST", INFER, body, content_encoding="gzip"), 413)


def test_an_unknown_coding_is_refused(served: Served) -> None:
    message = error_of(served.ask("POST", INFER, b"", content_encoding="br"), 415)
    assert "'br'" in message


@pytest.mark.parametrize("length", ["", "-1", "1.5", "x", "1" * 30, "+2", "\u0662", "99"])
def test_a_json_length_that_is_none_is_refused(length: str, served: Served) -> None:
    reply = served.ask("POST", INFER, b"{}", inference_header_content_length=length)
    assert "Inference-Header-Content-Length" in error_of(reply, 400)


def test_two_json_lengths_are_refused(served: Served) -> None:
    fields = [(b"inference-header-content-length", b"2")] * 2
    reply = served.api.handle("POST", INFER, fields, b"{}")
    assert isinstance(reply, Reply)
    assert "more than one" in error_of(reply, 400)


def test_a_raw_binary_request_is_refused_with_what_to_do_instead(served: Served) -> None:
    reply = served.ask("POST", INFER, bytes(8), inference_header_content_length="0")
    assert "describe the tensors in JSON" in error_of(reply, 400)


def test_a_fixed_batch_is_kept_to(tmp_path: Path) -> None:
    served = Served(graphs.loaded(tmp_path, graphs.identity("FP32", [2, 2])))
    assert served.infer(fp32((1, 2), (3, 4)))["outputs"][0]["data"] == [1, 2, 3, 4]
    assert "takes shape [2, 2], not [1, 2]" in served.error(fp32((1, 2)))


@pytest.mark.parametrize("shape", [[], [2], [1, 2, 1]])
def test_a_model_of_undeclared_shape_takes_any(shape: list[int], tmp_path: Path) -> None:
    served = Served(graphs.loaded(tmp_path, graphs.identity("FP64", None)))
    data = [float(place) for place in range(int(np.prod(shape)))]
    given = {"name": "x", "datatype": "FP64", "shape": shape, "data": data}
    (output,) = served.infer({"inputs": [given]})["outputs"]
    assert (output["shape"], output["data"]) == (shape, data)


def test_input_that_makes_the_model_fail_is_the_clients_error(tmp_path: Path) -> None:
    served = Served(graphs.loaded(tmp_path, graphs.lookup([1.0])))
    given = {"name": "i", "datatype": "INT64", "shape": [1], "data": [5]}
    assert "out of data bounds" in served.error({"inputs": [given]})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
almost_tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["x", "y"]) | json_values,
        "datatype": st.sampled_from(["FP32", "BYTES"]) | json_values,
        "shape": st.lists(st.integers(-1, 3) | st.integers(), max_size=3) | json_values,
        "data": st.lists(st.floats() | st.integers(), max_size=6) | json_values,
        "parameters": st.fixed_dictionaries(
            {}, optional={"binary_data_size": st.integers(-1, 20), "shared_memory_region": json_values}
        )
        | json_values,
    },
)
almost_requests = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=3) | json_values,
        "inputs": st.lists(almost_tensors, max_size=3) | json_values,
        "outputs": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from(["y", "x"])}, optional={"parameters": json_values}),
            max_size=2,
        )
        | json_values,
        "parameters": st.fixed_dictionaries({"binary_data_output": st.booleans()}) | json_values,
    },
)
bodies = (
    almost_requests.map(lambda request: json.dumps(request).encode())
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=200)
)
lengths = st.none() | st.integers(0, 300).map(str) | st.text(max_size=4)


@given(bodies, st.binary(max_size=30), lengths, st.sampled_from(["", "gzip", "deflate", "br"]))
def test_no_body_does_more_than_be_refused(
    served: Served, body: bytes, binary: bytes, length: str | None, coding: str
) -> None:
    fields = {} if length is None else {"inference_header_content_length": length}
    if coding:
        fields["content_encoding"] = coding
    reply = served.ask("POST", INFER, body + binary, **fields)
    if reply.status != 200:
        assert reply.status in (400, 415)
        error_of(reply, reply.status)


@given(
    st.lists(
        st.tuples(st.floats(width=32, allow_nan=False, allow_infinity=False)).map(lambda t: (t[0], 0.0)), max_size=4
    )
)
def test_what_fits_is_answered(served: Served, rows: list[tuple[float, float]]) -> None:
    (output,) = served.infer(fp32(*rows))["outputs"]
    assert output["data"] == [value for row in rows for value in row]
