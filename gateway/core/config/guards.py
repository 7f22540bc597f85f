"""What operators write about the guards. Guards that this version does not have can only be off."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from gateway.core.config.section import Section, not_yet
from gateway.core.config.values import Size, refuse

_ONLY_OFF = not_yet("enforce$|monitor$", "the guard can only be off")


def _no_limits(value: object) -> object:
    if isinstance(value, list | tuple) and value:
        raise refuse("limits are not available in this version; only an empty list is")
    return () if isinstance(value, list) else value


class Off(Section):
    """A guard that this version does not have yet."""

    mode: Annotated[Literal["off"], _ONLY_OFF] = Field("off", description="Only `off` for now.")


class Auth(Off):
    """Who may call. Not in this version yet."""


class Geofence(Off):
    """From which countries. Not in this version yet."""

    later: ClassVar[frozenset[str]] = frozenset({"database", "deny", "allow"})


class Bots(Off):
    """Which automated clients. Not in this version yet."""

    later: ClassVar[frozenset[str]] = frozenset({"tag", "throttle", "block"})


class Sizes(Section):
    """How large a request may be."""

    later: ClassVar[frozenset[str]] = frozenset({"decompressed", "json_depth", "elements"})

    body: Size = Field(4 * 2**20, description="Largest request body; a larger one is refused with 413.")
    mode: Annotated[Literal["enforce", "off"], not_yet("monitor$", "a size guard is `enforce` or `off`")] = Field(
        "enforce", description="Whether the guard refuses or lets everything pass."
    )


class Guards(Section):
    """What every request must pass before it is answered; defaults for all models."""

    auth: Auth = Field(Auth(), description="Who may call.")
    geofence: Geofence = Field(Geofence(), description="From which countries.")
    bots: Bots = Field(Bots(), description="Which automated clients.")
    limits: Annotated[
        tuple[()],
        BeforeValidator(_no_limits),
        WithJsonSchema({"type": "array", "maxItems": 0}),
    ] = Field((), description="Rate limits; only an empty list for now.")
    sizes: Sizes = Field(Sizes(), description="How large requests may be.")


class ModelGuards(Section):
    """A model's own guards, which go before the gateway's `guards`, key by key."""

    later: ClassVar[frozenset[str]] = frozenset({"auth", "geofence", "bots", "limits"})

    sizes: Sizes | None = Field(None, description="How large a request to this model may be.")
