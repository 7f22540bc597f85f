"""NVIDIA's own Python client (`tritonclient[http]`) against a running gateway with the demo's real models."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from gateway.demo.flights import read_flights
from tests.support.fixtures import StartGateway
from tests.support.gateway_process import GatewayProcess, config
from tests.support.polling import eventually

MODELS = Path(__file__).resolve().parents[2] / "gateway" / "demo" / "data"


@pytest.fixture
def gateway(start_gateway: StartGateway) -> GatewayProcess:
    versions = {name: {"onnx": str(MODELS / f"delay-{name}.onnx")} for name in ("1", "2")}
    compare = {"output": "label", "kind": "label"}
    model = {"versions": versions, "champion": "1", "challengers": {"2": {}}, "compare": compare}
    return start_gateway(config({"flight-delay": model}))


@pytest.fixture
def client(gateway: GatewayProcess) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(gateway.inference.removeprefix("http://"))


def flight_inputs(*, binary: bool) -> list[triton.InferInput]:
    """The inputs of one real flight."""
    flight = next(itertools.islice(read_flights(), 1))
    inputs = []
    for tensor in json.loads(flight.request_body())["inputs"]:
        kind = np.object_ if tensor["datatype"] == "BYTES" else np.float32
        values = [v.encode() for v in tensor["data"]] if kind is np.object_ else tensor["data"]
        made = triton.InferInput(tensor["name"], tensor["shape"], tensor["datatype"])
        made.set_data_from_numpy(np.array(values, dtype=kind).reshape(tensor["shape"]), binary_data=binary)
        inputs.append(made)
    return inputs


def outputs(*, binary: bool) -> list[triton.InferRequestedOutput]:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in ("label", "probability")]


def test_server_and_model_are_live_and_ready(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("flight-delay")
    assert client.is_model_ready("flight-delay", "2")


def test_metadata_tells_the_server_and_the_models_tensors(client: triton.InferenceServerClient) -> None:
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("flight-delay")
    assert metadata["name"] == "flight-delay"
    assert {tensor["name"]: tensor["datatype"] for tensor in metadata["outputs"]} == {
        "label": "INT64",
        "probability": "FP32",
    }


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_json_and_binary_bodies_give_the_same_answer(
    client: triton.InferenceServerClient, compression: str | None
) -> None:
    answers = [
        client.infer(
            "flight-delay",
            flight_inputs(binary=binary),
            outputs=outputs(binary=binary),
            request_id="flight-1",
            request_compression_algorithm=compression,
            response_compression_algorithm=None,
        )
        for binary in (False, True)
    ]
    as_json, as_binary = answers
    assert as_json.get_response()["id"] == as_binary.get_response()["id"] == "flight-1"
    assert as_json.as_numpy("label") == as_binary.as_numpy("label")
    assert as_json.as_numpy("probability") == pytest.approx(as_binary.as_numpy("probability"), abs=1e-7)


def test_a_version_in_the_path_reaches_that_version(client: triton.InferenceServerClient) -> None:
    answer = client.infer("flight-delay", flight_inputs(binary=True), model_version="2", outputs=outputs(binary=True))
    assert answer.get_response()["model_version"] == "2"


def test_errors_are_told_in_words(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="no such model"):
        client.get_model_metadata("weather")
    with pytest.raises(InferenceServerException, match="carrier"):
        client.infer("flight-delay", flight_inputs(binary=True)[:2])


def test_binary_answers_are_compared_with_the_challengers(
    gateway: GatewayProcess, client: triton.InferenceServerClient
) -> None:
    for _ in range(5):
        client.infer("flight-delay", flight_inputs(binary=True), outputs=outputs(binary=True))

    def compared() -> bool:
        report = gateway.get("/api/models/flight-delay/report").json()
        return bool(report["challengers"]["2"]["agreement"]["compared"] == 5)

    eventually(compared, "five compared pairs in the report")
