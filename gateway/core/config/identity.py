"""What makes two configurations the same: a canonical text, its id, what a reload may change."""

from __future__ import annotations

import hashlib
import json

from gateway.core.config.schema import Gateway

STATIC_KEYS = ("listen", "workers", "state", "limit_store")
"""Keys that are read at start only."""

ID_CHARACTERS = 12


def canonical(config: Gateway) -> bytes:
    """The configuration as JSON, defaults included; `Gateway.model_validate_json` reads it back."""
    document = config.model_dump(mode="json")
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def config_id(config: Gateway) -> str:
    """A short id that is the same exactly for what means the same."""
    return hashlib.sha256(canonical(config)).hexdigest()[:ID_CHARACTERS]


def needs_restart(old: Gateway, new: Gateway) -> list[str]:
    """The keys that differ and that a reload cannot change."""
    return [key for key in STATIC_KEYS if getattr(old, key) != getattr(new, key)]
