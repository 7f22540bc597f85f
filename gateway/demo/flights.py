"""Real flights in the order they were due to leave, each as the request a client would have sent.

The numbers and codes of a flight are what was known when it was due to leave; whether it came late was known only when
it had arrived, and for a cancelled or diverted flight never. Standard library only: the demo reads no data frame.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from gateway.demo.addresses import client_address

DATA: Final = Path(__file__).parent / "data"
FLIGHTS_FILE: Final = DATA / "flights.csv.gz"

NUMBER_INPUTS: Final = (
    "day_of_week",
    "departure_minute",
    "scheduled_minutes",
    "departures_in_hour",
    "visibility_miles",
    "wind_speed_mph",
    "humidity_percent",
)
STRING_INPUTS: Final = ("carrier", "origin", "destination")
COLUMNS: Final = ("scheduled", "flight", *STRING_INPUTS, *NUMBER_INPUTS, "arrival_delay_minutes")

LATE_AFTER_MINUTES: Final = 15


class FlightDataInvalid(ValueError):
    """The file of flights is not one: another header, or a row that cannot be read."""


@dataclass(frozen=True, slots=True)
class Flight:
    """One flight: what was known before it left (`numbers`, codes), and how it arrived."""

    scheduled: datetime
    number: int
    carrier: str
    origin: str
    destination: str
    numbers: tuple[float, ...]
    """In the order of `NUMBER_INPUTS`."""
    arrival_delay_minutes: int | None

    @property
    def tenant(self) -> str:
        """Who asks: the carrier."""
        return self.carrier

    @property
    def client(self) -> str:
        """Address the carrier asks from, out of the networks reserved for documentation."""
        return client_address(self.carrier, self.destination)

    @property
    def id(self) -> str:
        """Readable and unique in the file, such as `UA1545-EWR-20130401T0915Z`."""
        return f"{self.carrier}{self.number}-{self.origin}-{self.scheduled:%Y%m%dT%H%M}Z"

    @property
    def late(self) -> bool | None:
        """The true label: arrived more than 15 minutes late. None where it never arrived."""
        if self.arrival_delay_minutes is None:
            return None
        return self.arrival_delay_minutes > LATE_AFTER_MINUTES

    @property
    def label_known_at(self) -> datetime | None:
        """When the flight arrived, and its label with it. None where it never did."""
        if self.arrival_delay_minutes is None:
            return None
        scheduled_minutes = self.numbers[NUMBER_INPUTS.index("scheduled_minutes")]
        return self.scheduled + timedelta(minutes=scheduled_minutes + self.arrival_delay_minutes)

    def request_body(self) -> bytes:
        """The Open Inference Protocol request: every input a tensor of one row."""
        tensors = [
            {"name": name, "shape": [1, 1], "datatype": "FP32", "data": [value]}
            for name, value in zip(NUMBER_INPUTS, self.numbers, strict=True)
        ]
        codes = (self.carrier, self.origin, self.destination)
        tensors += [
            {"name": name, "shape": [1, 1], "datatype": "BYTES", "data": [code]}
            for name, code in zip(STRING_INPUTS, codes, strict=True)
        ]
        return json.dumps({"id": self.id, "inputs": tensors}, separators=(",", ":")).encode()


def read_flights(path: Path = FLIGHTS_FILE) -> Iterator[Flight]:
    """The held-out flights in the order they were due to leave; read as they are asked for."""
    with gzip.open(path, "rt", encoding="ascii", newline="") as text:
        rows = csv.DictReader(text)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise FlightDataInvalid(f"{path}: the first line must be {','.join(COLUMNS)}")
        for row in rows:
            try:
                yield _flight(row)
            except (TypeError, ValueError) as cause:
                raise FlightDataInvalid(f"{path}:{rows.line_num}: {cause}") from cause


def _flight(row: Mapping[str, str]) -> Flight:
    delay = row["arrival_delay_minutes"]
    return Flight(
        scheduled=datetime.fromisoformat(row["scheduled"]),
        number=int(row["flight"]),
        carrier=row["carrier"],
        origin=row["origin"],
        destination=row["destination"],
        numbers=tuple(float(row[name]) for name in NUMBER_INPUTS),
        arrival_delay_minutes=int(delay) if delay else None,
    )
