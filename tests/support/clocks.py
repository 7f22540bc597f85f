"""Time that passes only when a test says so.

with stopped_clock(server, exchange) as clock:
    ... the modules' `time` and whatever is given `clock` as its event loop see its time ...
    clock.passes(10.0)
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from types import ModuleType
from typing import Any
from unittest import mock

import pytest


@dataclass(order=True)
class Timer:
    """What `call_later` gives; `cancel` keeps it from running."""

    when: float
    number: int
    callback: Callable[..., Any] = field(compare=False)
    arguments: tuple[Any, ...] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Stands in for the `time` module and for the timers of an event loop."""

    def __init__(self, now: float = 1000.0):
        self.now = now
        self._timers: list[Timer] = []
        self._numbers = count()

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_800_000_000.0 + self.now

    def call_later(self, delay: float, callback: Callable[..., Any], *arguments: Any) -> Timer:
        timer = Timer(self.now + delay, next(self._numbers), callback, arguments)
        heapq.heappush(self._timers, timer)
        return timer

    @property
    def waiting(self) -> int:
        """Timers that are set."""
        return sum(not timer.cancelled for timer in self._timers)

    def passes(self, seconds: float) -> None:
        """Let time pass, and what was set for that time happen."""
        end = self.now + seconds
        while self._timers and self._timers[0].when <= end:
            timer = heapq.heappop(self._timers)
            self.now = max(self.now, timer.when)
            if not timer.cancelled:
                timer.callback(*timer.arguments)
        self.now = end


@contextmanager
def stopped_clock(*modules: ModuleType) -> Iterator[Clock]:
    """A clock that these modules read instead of the real one."""
    clock = Clock()
    with ExitStack() as stack:
        if all(str(module.__file__).endswith(".py") for module in modules):
            for module in modules:
                stack.enter_context(mock.patch.object(module, "time", clock))
        elif asyncio._get_running_loop() is None:
            # Compiled code has bound the real module.
            for name in ("monotonic", "time"):
                stack.enter_context(mock.patch.object(time, name, getattr(clock, name)))
        else:
            pytest.skip("compiled code reads the clock that the event loop needs; tested with the sources")
        yield clock
