"""The demo's own models on real flights: what is batched, and what was said alone, is the same."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from gateway.demo.flights import DATA, read_flights
from gateway.onnx_server.api import Api, Inference
from gateway.onnx_server.batching import Group
from gateway.onnx_server.execution import Executor
from gateway.onnx_server.session import load
from tests.onnx_server import graphs

FLIGHTS = 160
TOGETHER = 16


@pytest.mark.parametrize("path", sorted(DATA.glob("delay-*.onnx")), ids=lambda path: path.stem)
def test_flights_get_the_same_answers_together_as_alone(path: Path) -> None:
    model = load(path, threads=1)
    api = Api(graphs.server_of(path), model)
    executor = Executor(model, proofs=0)

    def inference(body: bytes) -> Inference:
        made = api.handle("POST", b"/v2/models/m/infer", [], body)
        assert isinstance(made, Inference), made
        return made

    flights = list(itertools.islice(read_flights(), FLIGHTS))
    for start in range(0, FLIGHTS, TOGETHER):
        bodies = [flight.request_body() for flight in flights[start : start + TOGETHER]]
        together = [inference(body) for body in bodies]
        alone = [inference(body) for body in bodies]
        executor.run(Group(0, [made.job for made in together], TOGETHER))
        for made in alone:
            executor.run(Group(0, [made.job], 1))
        for one, other, flight in zip(together, alone, flights[start:], strict=False):
            shared, single = (json.loads(api.answer(made).body) for made in (one, other))
            assert shared["id"] == single["id"] == flight.id
            assert shared["outputs"][0] == single["outputs"][0]
            np.testing.assert_allclose(shared["outputs"][1]["data"], single["outputs"][1]["data"], atol=1e-6)
    assert executor.ended is None
