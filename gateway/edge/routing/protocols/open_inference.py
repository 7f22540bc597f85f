"""Open Inference Protocol, REST (kserve/open-inference-protocol, `open_inference_rest.yaml`).

A model's paths are literal, so that finding a route is one dictionary look-up. The version in the path names the
gateway's version; the backend is asked without it, because it numbers its versions by itself. Bodies are opaque here.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway import __version__
from gateway.core.snapshot import Model, Version
from gateway.edge.routing.route import GET, POST, Path

SERVER_PATH = b"/v2"
LIVE_PATH = b"/v2/health/live"
READY_PATH = b"/v2/health/ready"
REPOSITORY_PREFIX = b"/v2/repository"
MODELS_PREFIX = b"/v2/models/"


def server_metadata() -> tuple[int, bytes]:
    """The answer to `GET /v2`."""
    document = {"name": "tiltyard", "version": __version__, "extensions": ["binary_tensor_data", "sequence"]}
    return 200, msgspec.json.encode(document)


def paths(model: Model) -> Iterator[Path]:
    """Every path of a model: its champion's, and each version's own."""
    base = MODELS_PREFIX + model.name.encode()
    yield from _paths(base, base, model.champion, pinned=False)
    for version in model.versions.values():
        yield from _paths(base + b"/versions/" + version.name.encode(), base, version, pinned=True)


def _paths(here: bytes, there: bytes, version: Version, *, pinned: bool) -> Iterator[Path]:
    yield Path(here, version, GET, there, inference=False, pinned=pinned)
    yield Path(here + b"/ready", version, GET, there + b"/ready", inference=False, pinned=pinned)
    yield Path(here + b"/infer", version, POST, there + b"/infer", inference=True, pinned=pinned)
