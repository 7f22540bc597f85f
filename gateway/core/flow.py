"""Steps one coroutine straight from I/O callbacks, without an asyncio Task.

A task and a future per request cost 6-8 us of the 25 a proxied request may cost (docs/performance.md), so a
request's life is a plain coroutine that suspends with `await pause()` and is stepped by whoever has news for it:
the client's connection, the backend's connection, the deadline sweep. The rules:

- whoever waits, waits in a loop over its own condition: a wake-up says "look again", never "it is there";
- news that arrives while the coroutine runs is not lost, because the condition is looked at before each pause;
- an error from outside (client gone, deadline) is thrown in at the pause, so `finally` blocks run as usual.

Never await an asyncio future in such a coroutine: nothing would step it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Pause:
    """What a flow is suspended on. Not a generator: compiled code would wrap that in one more, per request."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        # An iterator over one None is all that `await` needs, and it is made in C.
        return iter(_ONCE)  # type: ignore[return-value]


_ONCE = (None,)
_PAUSE = Pause()


def pause() -> Pause:
    """Suspend the running flow until someone wakes it or throws into it."""
    return _PAUSE


class Flow:
    """One coroutine and whether it is suspended.

    `on_done` is called once at its end, with the exception that escaped it or None.
    """

    __slots__ = ("_coroutine", "_on_done", "_pending", "_send", "_suspended", "done")

    def __init__(self, coroutine: Coroutine[Any, Any, None], on_done: Callable[[Exception | None], None]):
        self._coroutine = coroutine
        self._send = coroutine.send
        self._on_done = on_done
        self._suspended = True
        self._pending: Exception | None = None
        self.done = False

    def wake(self) -> None:
        """Let the coroutine look at its conditions again; nothing happens while it is running or done."""
        if not self._suspended:
            return
        self._suspended = False
        try:
            self._send(None)
        except StopIteration:
            self._end(None)
        except Exception as crash:  # noqa: BLE001 - whatever escapes is told to the owner
            self._end(crash)
        else:
            if self._pending is None:
                self._suspended = True
            else:
                self._raise_pending()

    def throw(self, error: Exception) -> None:
        """Raise `error` at the coroutine's pause, or at its next one if it is running now."""
        if self.done:
            return
        self._pending = error
        if self._suspended:
            self._suspended = False
            self._raise_pending()

    def _raise_pending(self) -> None:
        try:
            while self._pending is not None:
                error, self._pending = self._pending, None
                self._coroutine.throw(error)
        except StopIteration:
            self._end(None)
        except Exception as crash:  # noqa: BLE001 - whatever escapes is told to the owner
            self._end(crash)
        else:
            self._suspended = True

    def _end(self, error: Exception | None) -> None:
        self.done = True
        self._on_done(error)
