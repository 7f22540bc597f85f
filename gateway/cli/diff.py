"""`tiltyard diff FILE`: what a file would change in the running gateway, key by key, before anybody applies it.

Both sides are canonical, defaults included, so that writing a default out is no change.
"""

from __future__ import annotations

import json as json_format
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from gateway.cli.running import AdminOption, ConfigOption, JsonOption, NotReached, admin_url, body_of, call
from gateway.core.config import STATIC_KEYS, canonical, config_id
from gateway.core.configfile import ConfigError, load_config

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_MARKS = {"added": "+", "removed": "-", "changed": "~"}


class Change(msgspec.Struct, frozen=True):
    """One key that differs; `before` and `after` are None where there is nothing."""

    kind: Literal["added", "removed", "changed"]
    key: str
    before: object
    after: object

    def __str__(self) -> str:
        before, after = (json_format.dumps(value, ensure_ascii=False) for value in (self.before, self.after))
        said = {"added": after, "removed": before, "changed": f"{before} -> {after}"}
        return f"{_MARKS[self.kind]} {self.key}: {said[self.kind]}"


class Difference(msgspec.Struct, frozen=True):
    """All that differs between the running configuration and a file."""

    running: str
    file: str
    changes: tuple[Change, ...]
    needs_restart: tuple[str, ...]


def diff(
    file: Annotated[Path, typer.Argument(help="The configuration file.", show_default=False)],
    config: ConfigOption = None,
    admin: AdminOption = None,
    json: JsonOption = False,
) -> None:
    """Show what a file would change in the running gateway."""
    loaded = load_config(file, os.environ)
    if isinstance(loaded, list):
        _refuse(loaded, json)
        raise typer.Exit(1)
    try:
        running = body_of(call("GET", f"{admin_url(config or file, admin)}/api/config"))
        found = Difference(
            running=running["config_id"],
            file=config_id(loaded.config),
            changes=tuple(changes(running["config"], json_format.loads(canonical(loaded.config)))),
            needs_restart=(),
        )
    except (NotReached, KeyError) as error:
        detail = str(error) if isinstance(error, NotReached) else "it does not answer like a gateway"
        _say_not_reached(detail, json)
        raise typer.Exit(1) from error
    fixed = tuple(key for key in STATIC_KEYS if any(_is_under(change.key, key) for change in found.changes))
    _show(file, msgspec.structs.replace(found, needs_restart=fixed), json)


def changes(before: object, after: object, key: str = "") -> Iterator[Change]:
    """Every key that differs, in the order of the keys; lists are compared as a whole."""
    if before == after and type(before) is type(after):
        return
    if not (isinstance(before, dict) and isinstance(after, dict)):
        yield Change("changed", key, before, after)
        return
    for name in sorted(before.keys() | after.keys()):
        inner = _join(key, name)
        if name not in before:
            yield Change("added", inner, None, after[name])
        elif name not in after:
            yield Change("removed", inner, before[name], None)
        else:
            yield from changes(before[name], after[name], inner)


def _join(key: str, name: str) -> str:
    if not _PLAIN_KEY.fullmatch(name):
        return f"{key}[{json_format.dumps(name)}]"
    return f"{key}.{name}" if key else name


def _is_under(key: str, parent: str) -> bool:
    return key == parent or key.startswith(f"{parent}.")


def _show(file: Path, found: Difference, as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(found))
        return
    for change in found.changes:
        typer.echo(str(change))
    if not found.changes:
        typer.echo(f"{file}: no change: the running gateway has this configuration ({found.running})")
    for key in found.needs_restart:
        typer.echo(f"{key}: needs a restart; a reload would be refused", err=True)


def _refuse(errors: list[ConfigError], as_json: bool) -> None:
    if as_json:
        typer.echo(json_format.dumps({"code": "invalid-configuration", "errors": [str(error) for error in errors]}))
        return
    for error in errors:
        typer.echo(str(error), err=True)


def _say_not_reached(detail: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json_format.dumps({"code": "not-reached", "detail": detail}))
    else:
        typer.echo(f"not-reached: {detail}", err=True)
