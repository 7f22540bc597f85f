"""`tiltyard reload`: have the running gateway read its configuration file now, and say what came of it."""

from __future__ import annotations

import json as json_format

import typer

from gateway.cli.running import AdminOption, ConfigOption, JsonOption, NotReached, admin_url, body_of, call


def reload(config: ConfigOption = None, admin: AdminOption = None, json: JsonOption = False) -> None:
    """Have the running gateway read its file again."""
    try:
        response = call("POST", f"{admin_url(config, admin)}/api/reload")
        found = body_of(response)
    except NotReached as error:
        found, done = {"code": "not-reached", "detail": str(error)}, False
    else:
        done = response.is_success
    if json:
        typer.echo(json_format.dumps(found))
    elif done:
        typer.echo(f"{found['outcome']}: config {found['config_id']} in {found['took_ms']} ms")
    else:
        for reason in found.get("errors", ()):
            typer.echo(reason, err=True)
        typer.echo(f"{found.get('code')}: {found.get('detail')}", err=True)
    raise typer.Exit(0 if done else 1)
