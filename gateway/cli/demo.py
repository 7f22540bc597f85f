"""`tiltyard demo`: the whole gateway with real models, and real flights replayed as its traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(  # noqa: PLR0913 - its parameters are the options of a command
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of the inference listener, 0 for any.")
    ] = 8080,
    admin_port: Annotated[
        int, typer.Option("--admin-port", min=0, max=65535, help="Port of the admin listener, 0 for any.")
    ] = 8081,
    state: Annotated[
        Path, typer.Option("--state", help="Directory that keeps everything, also for the next demo.", metavar="DIR")
    ] = Path("state/demo"),
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=100_000, help="Flights per second.")] = 150,
    flights: Annotated[
        int | None, typer.Option("--flights", min=1, help="Replay so many flights, instead of all.", metavar="N")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop when the flights are through.")] = False,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Begin with the first flight again, not after the last demo's.")
    ] = False,
) -> None:
    """Run a gateway with real models on real flights, until Ctrl-C."""
    import asyncio

    import uvloop

    from gateway.demo.demo import Options, run_demo
    from gateway.demo.place import Place, Ports
    from gateway.demo.screen import is_terminal, screen_of

    if port and port == admin_port:
        raise typer.BadParameter("the two listeners need a port each", param_hint="--admin-port")
    options = Options(Place(state), Ports(port, admin_port), rate, flights, once, from_start)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        raise typer.Exit(runner.run(run_demo(options, screen_of(is_terminal()))))
