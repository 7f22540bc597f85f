"""The configuration file: YAML with positions in, a valid configuration or all its errors out."""

from gateway.core.configfile.document import Position
from gateway.core.configfile.load import (
    ConfigError,
    LoadedConfig,
    Source,
    load_config,
    parse_config,
    positions,
)

__all__ = [
    "ConfigError",
    "LoadedConfig",
    "Position",
    "Source",
    "load_config",
    "parse_config",
    "positions",
]
