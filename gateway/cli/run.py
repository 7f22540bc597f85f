"""`tiltyard run`: the gateway itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    config: Annotated[Path, typer.Option("--config", help="Configuration file.", metavar="FILE")],
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, max=64, help="Worker processes, instead of the file's."),
    ] = None,
) -> None:
    """Run the gateway until it is told to stop."""
    from gateway.runtime.launch import launch

    raise typer.Exit(launch(config, workers))
