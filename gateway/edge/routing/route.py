"""A route: one path of one model (or of the gateway itself), with everything a request on it needs, precomputed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.core.snapshot import Model, Version
from gateway.edge.meters import Meter
from gateway.edge.tap import Tapped
from gateway.upstream.replicas import Replicas

GET = frozenset({"GET", "HEAD"})
POST = frozenset({"POST"})
ANY = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Path:
    """What a protocol says of one path. `pinned` paths name their version and never see another."""

    here: bytes
    version: Version
    methods: frozenset[str]
    there: bytes
    """The path at the backend."""
    inference: bool
    pinned: bool


@dataclass(frozen=True, slots=True)
class Local:
    """A path that the gateway answers itself; `answer` gives status and JSON body."""

    methods: frozenset[str]
    answer: Callable[[], tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Route:
    """A path that is forwarded."""

    model: Model
    version: Version
    replicas: Replicas
    meter: Meter
    methods: frozenset[str]
    path: bytes
    inference: bool
    tapped: Tapped | None
    """Where its POSTs are offered to the shadow; None where no challenger may see them."""
    start: bytes
    """Request line and Host of a POST without query, where there is but one replica; else empty."""
    stamp: bytes
    """Field lines that every answer of this route carries, up to the request id's value."""
