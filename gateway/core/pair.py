"""The pair record: one champion answer beside one challenger's answer to the same request.

A request with three challengers leaves three pairs that share its request id, so that a hung challenger delays nobody
else's record. Failed challenger calls leave a record too (`outcome` other than `ok`, nothing compared).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Outcome = Literal["ok", "error", "timeout", "cancelled"]
Form = Literal["text", "base64", "sha256", "none"]
"""How a body is kept: as text, as base64 where it is not UTF-8, as the SHA-256 of its bytes, or not at all."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One pair. Times in microseconds (`at_us` since 1970); `difference` is None where it is no number.

    `sequence` counts all records of the state directory from 1, so that a reader sees a missing one. `probability` is
    the share with which this challenger sampled at the time (0-1], for weighted estimates.
    """

    sequence: int
    request_id: str
    at_us: int
    model: str
    champion: str
    challenger: str
    config_id: str
    tenant: str
    client: str
    path: str
    slices: dict[str, str]
    probability: float
    outcome: Outcome
    detail: str
    agree: bool | None
    difference: float | None
    paths: tuple[str, ...]
    champion_status: int
    champion_us: int
    challenger_status: int
    challenger_us: int
    request: str
    request_form: Form
    champion_answer: str
    champion_form: Form
    challenger_answer: str
    challenger_form: Form
