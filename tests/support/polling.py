"""Waiting for something to become true, with a deadline and a message, instead of for a time."""

import threading
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

Found = TypeVar("Found")

INTERVAL_S = 0.02
_never = threading.Event()


def eventually(look: Callable[[], Found], what: str, patience_s: float = 20.0) -> Found:
    """The first true thing that `look` finds; AssertionError naming `what` when there is none."""
    deadline = monotonic() + patience_s
    while True:
        found = look()
        if found:
            return found
        if monotonic() > deadline:
            raise AssertionError(f"not within {patience_s:g} s: {what}; last seen: {found!r}")
        _never.wait(INTERVAL_S)
