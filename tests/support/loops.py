"""Tests that are coroutines, run on the event loop that the gateway's processes run on."""

import asyncio
import functools
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

import uvloop

Parameters = ParamSpec("Parameters")


def on_event_loop(test: Callable[Parameters, Coroutine[Any, Any, None]]) -> Callable[Parameters, None]:
    """Make a test of a coroutine function."""

    @functools.wraps(test)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        try:
            runner.run(test(*args, **kwargs))
        finally:
            # Connections that rest in a pool are closed by the end of the loop. uvloop warns of each, and where
            # warnings are errors it never closes what it meant to warn of, and waits for it for ever.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                runner.close()

    return run


async def becomes(look: Callable[[], Any], what: str, patience_s: float = 20.0) -> None:
    """Let the loop turn until `look` finds something true; AssertionError naming `what` when it does not."""
    try:
        async with asyncio.timeout(patience_s):
            while not look():  # noqa: ASYNC110 - what is looked for is no event of the loop's
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not within {patience_s:g} s: {what}; last seen: {look()!r}") from None
