"""How this server says no: `Refused` is an answer to one request, `ModelUnusable` ends the process
at start.

Texts are made for the reader of the answer; what a client sent is shown cut and quoted, never at
full length.
"""

from __future__ import annotations

from collections.abc import Iterable

MAX_SHOWN_CHARACTERS = 80
MAX_SHOWN_NAMES = 12


class Refused(Exception):
    """One request cannot be answered: `status` and `message` go into the protocol's error body."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status
        self.message = message


class ModelUnusable(Exception):
    """The model file cannot be served; the text says which file, why, and what would help."""


def shown(value: object) -> str:
    """A client's value as it may appear in a message: quoted like Python does, and cut."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}…"


def listed(names: Iterable[str]) -> str:
    """Names of the model as they may appear in a message: the first ones."""
    known = list(names)
    text = ", ".join(known[:MAX_SHOWN_NAMES])
    return text if len(known) <= MAX_SHOWN_NAMES else f"{text} and {len(known) - MAX_SHOWN_NAMES} more"
