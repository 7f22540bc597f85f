"""A plain JSON backend: `/models/{model}/REST` goes to `/REST` at the backend, whatever REST is.

POST is an inference; other methods are forwarded and never shadowed. `/models/{model}/versions/{v}/REST` reaches one
version.
"""

from __future__ import annotations

from gateway.core.snapshot import Model, Version
from gateway.edge.routing.route import ANY, Path

PREFIX = b"/models/"
_VERSIONS = b"versions/"


def path(model: Model, here: bytes, rest: bytes) -> Path | None:
    """What `rest` (behind `/models/{model}/`) means; None where it names a version that the model does not have."""
    version: Version | None = model.champion
    pinned = rest.startswith(_VERSIONS)
    if pinned:
        name, _, rest = rest.removeprefix(_VERSIONS).partition(b"/")
        version = model.versions.get(name.decode("ascii", "replace"))
    if version is None:
        return None
    return Path(here, version, ANY, b"/" + rest, inference=True, pinned=pinned)
