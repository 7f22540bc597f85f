"""`tiltyard check FILE`: whether a configuration is valid, and what is doubtful in it.

Exit codes: 0 valid, 1 not valid, 2 wrong use. The summary, or the JSON document, is on standard
output; errors and warnings are on standard error as `file:line:col: message`. Changes nothing.
"""

from __future__ import annotations

import json as json_format
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from gateway.cli.reachable import Endpoint, endpoint, probe
from gateway.core.config import Gateway, config_id
from gateway.core.config.section import Place
from gateway.core.configfile import ConfigError, LoadedConfig, load_config, positions

INVALID = "invalid-configuration"


def check(
    file: Annotated[Path, typer.Argument(help="The configuration file.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not try to connect to the backends.")] = False,
) -> None:
    """Validate a configuration file and say everything that is wrong with it."""
    loaded = load_config(file, os.environ)
    if isinstance(loaded, list):
        _refuse(loaded, as_json=json)
        raise typer.Exit(1)
    doubts = list(loaded.warnings)
    if not offline:
        doubts += unreachable(file, loaded)
    _accept(file, loaded.config, sorted(doubts), as_json=json)


def unreachable(file: Path, loaded: LoadedConfig) -> Iterator[ConfigError]:
    """A warning for each URL that nothing listens at, where the file names it first."""
    places = _places_of_urls(loaded.config)
    problems = dict(_with_progress({endpoint(url) for url in places}))
    dead = {url: problem for url in places if (problem := problems[endpoint(url)])}
    firsts = positions(loaded.text, [places[url][0] for url in dead])
    for (url, problem), position in zip(dead.items(), firsts, strict=True):
        others = len(places[url]) - 1
        also = f" (named {_count(others, 'more time')})" if others else ""
        message = f"backend {url} cannot be reached: {problem}{also}"
        yield ConfigError(str(file), *position, message)


def _places_of_urls(config: Gateway) -> dict[str, list[Place]]:
    places: dict[str, list[Place]] = {}
    for model_name, model in config.models.items():
        for version_name, version in model.versions.items():
            for index, url in enumerate(version.urls):
                place = ("models", model_name, "versions", version_name, "urls", index)
                places.setdefault(url, []).append(place)
    return places


def _with_progress(endpoints: set[Endpoint]) -> Iterator[tuple[Endpoint, str | None]]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("Connecting to the backends", total=len(endpoints))
        for result in probe(endpoints):
            progress.advance(task)
            yield result


def _refuse(errors: list[ConfigError], *, as_json: bool) -> None:
    if as_json:
        _print_json({"valid": False, "code": INVALID, "errors": _rows(errors), "warnings": []})
    else:
        for error in errors:
            typer.echo(str(error), err=True)


def _accept(file: Path, config: Gateway, doubts: list[ConfigError], *, as_json: bool) -> None:
    models, versions = len(config.models), sum(len(one.versions) for one in config.models.values())
    identity = config_id(config)
    if as_json:
        counts = {"config_id": identity, "models": models, "versions": versions}
        _print_json({"valid": True, **counts, "errors": [], "warnings": _rows(doubts)})
        return
    for doubt in doubts:
        line = f"{doubt.file}:{doubt.line}:{doubt.column}: warning: {doubt.message}"
        typer.echo(line, err=True)
    counted = f"{_count(models, 'model')}, {_count(versions, 'version')}"
    typer.echo(f"{file}: valid: {counted}, config {identity}")


def _rows(found: Iterable[ConfigError]) -> list[dict[str, str | int]]:
    return [{"file": one.file, "line": one.line, "column": one.column, "message": one.message} for one in found]


def _print_json(document: dict[str, object]) -> None:
    typer.echo(json_format.dumps(document))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
