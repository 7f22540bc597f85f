"""All routes of one snapshot, and the finding of one.

Decided on are exactly the bytes that are forwarded: nothing is decoded or normalised first, so a path cannot mean one
thing here and another at the backend. What could (dot segments, encoded slashes, backslashes, NUL) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway.core.counters import Counters
from gateway.core.problems import Problem, Refusal
from gateway.core.snapshot import Model, Snapshot, Target
from gateway.edge.meters import Meter
from gateway.edge.routing.protocols import open_inference, plain_json
from gateway.edge.routing.route import GET, Local, Path, Route
from gateway.edge.tap import Tap
from gateway.upstream.replicas import Registry, Replicas

_AMBIGUOUS = re.compile(rb"%(?:2[ef]|5c|00)|\\|//|/\.\.?(?:[/;?]|\Z)|%(?![0-9a-f]{2})", re.IGNORECASE)
NOTED = frozenset({b"x-request-id", b"x-shadow", b"x-request-timeout-ms"})
_VIA = b"via: 1.1 tiltyard\r\n"


class Table:
    """The routes of one snapshot, bound to this process's pools and counters."""

    __slots__ = ("_counters", "_exact", "_meters", "_registry", "_tapped", "noted", "snapshot", "tenant_field")

    def __init__(
        self,
        snapshot: Snapshot,
        registry: Registry,
        counters: Counters,
        tap: Tap,
        readiness: Callable[[], tuple[int, bytes]],
    ):
        self.snapshot = snapshot
        self.tenant_field = (snapshot.config.tenant_header or "").encode()
        self.noted = NOTED | {self.tenant_field}
        """Request fields that the life of a request looks at."""
        self._tapped = {
            model.name: tap.tapped(snapshot.id, model) for model in snapshot.models.values() if model.challengers
        }
        self._registry = registry
        self._counters = counters
        self._meters: dict[tuple[str, str], Meter] = {}
        alive = Local(GET, lambda: (200, b'{"live":true}'))
        ready = Local(GET, readiness)
        self._exact: dict[bytes, Route | Local] = {
            b"/livez": alive,
            b"/readyz": ready,
            open_inference.SERVER_PATH: Local(GET, open_inference.server_metadata),
            open_inference.LIVE_PATH: alive,
            open_inference.READY_PATH: ready,
        }
        for model in snapshot.models.values():
            for version in model.versions:
                # Had now, also where routes are made as they are asked for: no request must meet a full disk.
                self._meter(model.name, version)
            if model.protocol == "open-inference":
                for path in open_inference.paths(model):
                    self._exact[path.here] = self._route(model, path)

    def find(self, path: bytes) -> Route | Local | Refusal:
        """The route of a path (without its query)."""
        route = self._exact.get(path)
        return route if route is not None else self._search(path)

    def replicas(self) -> set[Replicas]:
        """Every set of replicas that some route leads to."""
        return {self._registry.of(v) for model in self.snapshot.models.values() for v in model.versions.values()}

    def _search(self, path: bytes) -> Route | Refusal:
        if _AMBIGUOUS.search(path):
            return Refusal(Problem.BAD_REQUEST, "the path could be read in more than one way")
        if path.startswith(open_inference.REPOSITORY_PREFIX):
            return Refusal(Problem.FORBIDDEN, "models are loaded by the operator, not by clients")
        if path.startswith(plain_json.PREFIX):
            return self._plain(path)
        if path.startswith(open_inference.MODELS_PREFIX):
            return self._unknown(path.removeprefix(open_inference.MODELS_PREFIX))
        return Refusal(Problem.NOT_FOUND, "nothing is served at this path")

    def _plain(self, here: bytes) -> Route | Refusal:
        name, _, rest = here.removeprefix(plain_json.PREFIX).partition(b"/")
        model = self.snapshot.models.get(name.decode("ascii", "replace"))
        path = plain_json.path(model, here, rest) if model and model.protocol == "json" else None
        if model is None or path is None:
            return Refusal(Problem.MODEL_NOT_FOUND, "no such model or version")
        route = self._route(model, path)
        if len(self._exact) < 4 * len(self.snapshot.models) + 1024:
            # Clients use few paths again and again; the bound keeps a scanner from filling memory.
            self._exact[here] = route
        return route

    def _unknown(self, rest: bytes) -> Refusal:
        name, _, tail = rest.partition(b"/")
        model = self.snapshot.models.get(name.decode("ascii", "replace"))
        if model is not None and model.protocol == "json":
            return Refusal(Problem.MODEL_NOT_FOUND, f"this model is served at /models/{model.name}/")
        if model is None or tail.startswith(b"versions/"):
            return Refusal(Problem.MODEL_NOT_FOUND, "no such model or version")
        return Refusal(Problem.NOT_FOUND, "the protocol has no such path")

    def _route(self, model: Model, path: Path) -> Route:
        version = path.version
        stamp = b"x-model-version: %b\r\n%bx-request-id: " % (version.name.encode(), _VIA)
        return Route(
            model=model,
            version=version,
            replicas=self._registry.of(version),
            meter=self._meter(model.name, version.name),
            methods=path.methods,
            path=path.there,
            inference=path.inference,
            tapped=self._tapped.get(model.name) if path.inference and not path.pinned else None,
            start=_start(version.targets, path.there),
            stamp=stamp,
        )

    def _meter(self, model: str, version: str) -> Meter:
        meter = self._meters.get((model, version))
        if meter is None:
            meter = self._meters[model, version] = Meter(self._counters, model, version)
        return meter


def _start(targets: tuple[Target, ...], path: bytes) -> bytes:
    if len(targets) != 1:
        return b""
    return b"POST %b%b HTTP/1.1\r\nhost: %b\r\n" % (targets[0].base_path, path, targets[0].authority)
