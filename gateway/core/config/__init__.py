"""What operators write, as types: strict, frozen, with a canonical form and an id.

`gateway.core.configfile` makes one of a YAML file; `gateway.core.snapshot` compiles it.
"""

from gateway.core.config.addresses import Address
from gateway.core.config.guards import Auth, Bots, Geofence, Guards, ModelGuards, Off, Sizes
from gateway.core.config.identity import STATIC_KEYS, canonical, config_id, needs_restart
from gateway.core.config.models import (
    Batch,
    Breaker,
    Challenger,
    Compare,
    Model,
    ModelPairs,
    Payload,
    Tls,
    Tolerance,
    Version,
)
from gateway.core.config.names import FileContext
from gateway.core.config.schema import Gateway, Http, Listen, Pairs, Shadow
from gateway.core.config.section import Section
from gateway.core.config.values import (
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

__all__ = [
    "STATIC_KEYS",
    "Address",
    "Auth",
    "Batch",
    "Bots",
    "Breaker",
    "Challenger",
    "Compare",
    "FileContext",
    "Gateway",
    "Geofence",
    "Guards",
    "Http",
    "Listen",
    "Model",
    "ModelGuards",
    "ModelPairs",
    "Off",
    "Pairs",
    "Payload",
    "Section",
    "Shadow",
    "Sizes",
    "Tls",
    "Tolerance",
    "Version",
    "canonical",
    "config_id",
    "format_duration",
    "format_size",
    "needs_restart",
    "parse_duration",
    "parse_size",
]
