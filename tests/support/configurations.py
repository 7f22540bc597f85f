"""Configurations without a file: validated and compiled in one step."""

import json
from collections.abc import Mapping
from pathlib import Path

from gateway.core.config import Gateway, canonical
from gateway.core.snapshot import Snapshot, compile_snapshot
from tests.support.gateway_process import one_model

RUNTIME_DIRECTORY = Path("/run/tiltyard-test")


def gateway(settings: Mapping[str, object]) -> Gateway:
    """The configuration that these settings describe; paths must be absolute."""
    return Gateway.model_validate_json(json.dumps(settings))


def snapshot(settings: Mapping[str, object]) -> Snapshot:
    """The same, compiled."""
    return compile_snapshot(gateway(settings), RUNTIME_DIRECTORY)


def numbered(port: int) -> tuple[Snapshot, bytes]:
    """One of many small configurations that differ, and its document."""
    compiled = snapshot(one_model(f"http://127.0.0.1:{port}", state="/state"))
    return compiled, canonical(compiled.config)
