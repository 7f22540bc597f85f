"""What clients send in the load test: a mix of tenants, models, sizes and mistakes, as values.

Each `Request` says what must come back. The mix is drawn from a seeded generator, so that two runs send the same
kinds in the same shares. Flights are the demo's held-out rows.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache

from gateway.demo.flights import NUMBER_INPUTS, STRING_INPUTS, Flight, read_flights

FLIGHTS_KEPT = 2000
FLIGHT_MODEL = "flight-delay"
PLAIN_MODEL = "scores"
BODY_CAP = 256 * 1024
INFER = f"/v2/models/{FLIGHT_MODEL}/infer"
PINNED = f"/v2/models/{FLIGHT_MODEL}/versions/2/infer"
PLAIN = f"/models/{PLAIN_MODEL}/score"
JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Request:
    """One request, and what must come back: the status, and the problem code where the gateway itself refuses.

    `model` is set when it counts as that model's request; `offered` when its challengers could see it.
    """

    kind: str
    path: str
    status: int = 200
    method: str = "POST"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))
    code: str = ""
    model: str = ""
    version: str = ""
    offered: bool = False


class Mix:
    """An endless mix of requests. `draw` gives the next one."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._flights = held_out_flights()
        self._kinds: tuple[tuple[int, Callable[[], Request]], ...] = (
            (60, self._one),
            (12, lambda: self._many("some flights", 32)),
            (2, lambda: self._many("many flights", 400)),
            (6, self._pinned),
            (10, self._plain),
            (2, self._metadata),
            (2, self._unknown_model),
            (2, self._not_json),
            (2, self._wrong_tensor),
            (1, self._too_large),
            (1, self._shadow_of_a_shadow),
        )

    def draw(self) -> Request:
        """The next request."""
        weights, makers = zip(*self._kinds, strict=True)
        make: Callable[[], Request] = self._random.choices(makers, weights)[0]
        return make()

    def __iter__(self) -> Iterator[Request]:
        while True:
            yield self.draw()

    def _one(self) -> Request:
        flight = self._random.choice(self._flights)
        return champion("one flight", flight.request_body(), flight.tenant)

    def _many(self, kind: str, count: int) -> Request:
        flights = self._random.sample(self._flights, count)
        return champion(kind, tensors(flights), flights[0].tenant)

    def _pinned(self) -> Request:
        flight = self._random.choice(self._flights)
        headers = JSON | {"x-tenant": flight.tenant}
        return Request("pinned version", PINNED, body=flight.request_body(), headers=headers,
                       model=FLIGHT_MODEL, version="2")  # fmt: skip

    def _plain(self) -> Request:
        body = json.dumps({"score": self._random.random()}).encode()
        return Request("plain JSON", PLAIN, body=body, model=PLAIN_MODEL, version="1", offered=True)

    def _metadata(self) -> Request:
        return Request("metadata", f"/v2/models/{FLIGHT_MODEL}", method="GET", headers={})

    def _unknown_model(self) -> Request:
        return Request("unknown model", "/v2/models/nobody/infer", 404, body=b"{}", code="model-not-found")

    def _not_json(self) -> Request:
        return champion("not JSON", b'{"inputs": [', "UA", 400)

    def _wrong_tensor(self) -> Request:
        tensor = {"name": "altitude", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}
        return champion("wrong tensor", json.dumps({"inputs": [tensor]}).encode(), "UA", 400)

    def _too_large(self) -> Request:
        body = b" " * (BODY_CAP + 1)
        return Request("too large", INFER, 413, body=body, code="body-too-large", model=FLIGHT_MODEL, version="1")

    def _shadow_of_a_shadow(self) -> Request:
        flight = self._random.choice(self._flights)
        headers = JSON | {"x-shadow": "1"}
        return Request("shadow of a shadow", INFER, 400, body=flight.request_body(), headers=headers,
                       code="shadow-not-allowed")  # fmt: skip


@cache
def held_out_flights() -> tuple[Flight, ...]:
    """Flights no version of the model was trained on; read once."""
    return tuple(itertools.islice(read_flights(), FLIGHTS_KEPT))


def champion(kind: str, body: bytes, tenant: str, status: int = 200) -> Request:
    """A request that the flight model's champion answers, with its own error where it is a bad one."""
    headers = JSON | {"x-tenant": tenant}
    return Request(kind, INFER, status, body=body, headers=headers, model=FLIGHT_MODEL, version="1", offered=True)


def tensors(flights: list[Flight]) -> bytes:
    """One request with a row for each flight."""
    rows = len(flights)
    inputs: list[dict[str, object]] = [
        {"name": name, "shape": [rows, 1], "datatype": "FP32", "data": [flight.numbers[at] for flight in flights]}
        for at, name in enumerate(NUMBER_INPUTS)
    ]
    inputs += [
        {"name": name, "shape": [rows, 1], "datatype": "BYTES", "data": [getattr(flight, name) for flight in flights]}
        for name in STRING_INPUTS
    ]
    return json.dumps({"inputs": inputs}).encode()
