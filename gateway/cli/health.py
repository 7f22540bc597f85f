"""`tiltyard health`: whether the running gateway is ready, for container health checks and scripts."""

from __future__ import annotations

import json as json_format
from typing import Annotated

import typer

from gateway.cli.running import AdminOption, ConfigOption, JsonOption, NotReached, admin_url, body_of, call


def health(
    config: ConfigOption = None,
    admin: AdminOption = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for an answer.")] = 2.0,
    json: JsonOption = False,
) -> None:
    """Ask the running gateway whether it is ready."""
    try:
        found = body_of(call("GET", f"{admin_url(config, admin)}/readyz", timeout))
    except NotReached as error:
        found = {"status": "not-reached", "detail": str(error)}
    status = found.get("status")
    if json:
        typer.echo(json_format.dumps(found))
    else:
        detail = found.get("detail")
        typer.echo(f"{status}: {detail}" if detail else str(status))
    raise typer.Exit(0 if status == "ready" else 1)
