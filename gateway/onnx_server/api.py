"""What is served at which path, and what the answer says. No sockets, no waiting: one call in, one
answer out.

`Api.handle` answers everything at once but an inference, which comes back as `Inference`: its job
is to be run, then `Api.answer` makes the reply. Every refusal has the protocol's body `{"error":
…}`. The server serves one version of one model: any other name in a path is 404.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import msgspec

import gateway
from gateway.core.snapshot import ModelServer
from gateway.onnx_server.batching import Job, job_for
from gateway.onnx_server.content import decoded
from gateway.onnx_server.errors import Refused, shown
from gateway.onnx_server.messages import Codec, InferenceRequest
from gateway.onnx_server.session import PLATFORM, Model, TensorSpec

MAX_BODY_BYTES = 256 * 1024 * 1024
"""A request's body, as it is sent and when decompressed. The gateway's own cap is usually far
below.
"""
EXTENSIONS = ("binary_tensor_data",)

Fields = list[tuple[bytes, bytes]]

_JSON = b"content-type: application/json\r\n"
_BINARY = b"content-type: application/octet-stream\r\n"
_CODING = b"content-encoding"
_JSON_LENGTH = b"inference-header-content-length"


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. `lines` are field lines in wire form, without those that frame it."""

    status: int
    lines: list[bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class Inference:
    """An inference that fits the model. Run `job`, then ask `Api.answer`."""

    request: InferenceRequest
    job: Job


class Api:
    """The protocol for one version of one model."""

    def __init__(self, server: ModelServer, model: Model):
        self._model = model
        self._codec = Codec(server.model, server.version, model)
        name, version = server.model.encode(), server.version.encode()
        at = [b"/v2/models/" + name, b"/v2/models/" + name + b"/versions/" + version]
        self._infer = frozenset(path + b"/infer" for path in at)
        documents = {
            (b"/v2",): {
                "name": "tiltyard",
                "version": gateway.__version__,
                "extensions": EXTENSIONS,
            },
            (b"/v2/health/live",): {"live": True},
            (b"/v2/health/ready",): {"ready": True},
            tuple(at): _metadata(server, model),
            tuple(path + b"/ready" for path in at): {"name": server.model, "ready": True},
        }
        self._documents = {
            path: Reply(200, [_JSON], msgspec.json.encode(document))
            for paths, document in documents.items()
            for path in paths
        }
        self._served = f"model {server.model!r} version {server.version!r}"

    def handle(self, method: str, path: bytes, fields: Fields, body: bytes) -> Reply | Inference:
        """Answer a request, or say that an inference must be run first. `path` is without its
        query.
        """
        try:
            if path in self._infer and method == "POST":
                return self._inference(fields, body)
            return self._document(method, path)
        except Refused as refused:
            return refusal(refused)

    def _document(self, method: str, path: bytes) -> Reply:
        path = unquote_to_bytes(path).rstrip(b"/")
        document = self._documents.get(path)
        if document is not None:
            return document if method in ("GET", "HEAD") else _not_allowed(b"GET, HEAD")
        if path in self._infer:
            return _not_allowed(b"POST")
        if path.startswith(b"/v2/models/"):
            raise Refused(404, f"nothing at {_shown_path(path)}: this server has {self._served}")
        raise Refused(
            404,
            f"nothing at {_shown_path(path)}: the Open Inference Protocol is at /v2",
        )

    def _inference(self, fields: Fields, body: bytes) -> Inference:
        coding = b""
        length: int | None = None
        for name, value in fields:
            if name == _CODING:
                coding = coding + b"," + value if coding else value
            elif name == _JSON_LENGTH:
                if length is not None:
                    raise Refused(400, "more than one Inference-Header-Content-Length")
                length = _json_length(value)
        if coding:
            body = decoded(body, coding, MAX_BODY_BYTES)
        request = self._codec.decode(body, length)
        outputs = tuple([output.name for output in request.outputs])
        return Inference(request, job_for(self._model, request.inputs, outputs, len(body)))

    def answer(self, inference: Inference) -> Reply:
        """The reply to an inference whose job is done."""
        job = inference.job
        if job.failure is not None:
            return refusal(Refused(job.failure.status, job.failure.reason))
        assert job.results is not None, "an answer is asked for before its job is done"
        body, json_length = self._codec.encode(inference.request, job.results)
        if json_length is None:
            return Reply(200, [_JSON], body)
        return Reply(200, [_BINARY, b"%b: %d\r\n" % (_JSON_LENGTH, json_length)], body)


def refusal(refused: Refused) -> Reply:
    """The protocol's error answer."""
    return Reply(refused.status, [_JSON], msgspec.json.encode({"error": refused.message}))


def _not_allowed(allowed: bytes) -> Reply:
    reply = refusal(Refused(405, f"the method does not fit this path; allowed: {allowed.decode()}"))
    return Reply(reply.status, [*reply.lines, b"allow: %b\r\n" % allowed], reply.body)


def _json_length(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise Refused(400, "Inference-Header-Content-Length is not a number of bytes")
    length = int(value)
    if length == 0:
        # A raw request names neither tensor nor shape: the server would have to guess both.
        raise Refused(400, "raw binary requests are not offered; describe the tensors in JSON before the data")
    return length


def _shown_path(path: bytes) -> str:
    return shown(path.decode("utf-8", "replace"))


def _metadata(server: ModelServer, model: Model) -> dict[str, object]:
    return {
        "name": server.model,
        "versions": [server.version],
        "platform": PLATFORM,
        "inputs": _described(model.inputs),
        "outputs": _described(model.outputs),
    }


def _described(specs: Iterable[TensorSpec]) -> list[dict[str, object]]:
    return [{"name": spec.name, "datatype": spec.datatype.name, "shape": spec.shape} for spec in specs]
