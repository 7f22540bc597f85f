"""What commands on evidence share: reading a state directory without a gateway, and saying why they fail."""

from __future__ import annotations

import json as json_format
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

from gateway.core.config import Gateway
from gateway.core.configfile import load_config
from gateway.core.ports import PairStore


class Failed(Exception):
    """The command cannot be done; `code` is stable, the text is for people."""

    def __init__(self, code: str, detail: str):
        super().__init__(detail)
        self.code = code


def configuration(file: Path) -> Gateway:
    """The configuration in a file. Raises Failed with all that is wrong with it."""
    loaded = load_config(file, os.environ)
    if isinstance(loaded, list):
        raise Failed("invalid-configuration", "\n".join(map(str, loaded)))
    return loaded.config


@contextmanager
def stored_pairs(state: Path) -> Iterator[PairStore]:
    """The pairs of a state directory, also beside a gateway that runs on it. Raises Failed if there is none."""
    from gateway.stores.parquet import ParquetPairs

    if not state.is_dir():
        raise Failed("no-state", f"there is no state directory {state}: no gateway has run with this configuration")
    store = ParquetPairs(state)
    try:
        yield store
    finally:
        store.close()


def refuse(failed: Failed, as_json: bool) -> NoReturn:
    """Say why, and end with status 1."""
    if as_json:
        typer.echo(json_format.dumps({"code": failed.code, "detail": str(failed)}))
    elif failed.code == "invalid-configuration":
        typer.echo(str(failed), err=True)
    else:
        typer.echo(f"{failed.code}: {failed}", err=True)
    raise typer.Exit(1)
