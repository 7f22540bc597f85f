"""The command line: a table of commands, and `main`.

The module of a command is imported when that command is typed, so that `tiltyard --help` and
completion answer at once whatever the others need. Exit status: 0 done, 1 refused or failed, 2
wrong use.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Final

import typer

import gateway

COMPLETION_VARIABLE: Final = "_TILTYARD_COMPLETE"


@dataclass(frozen=True, slots=True)
class Command:
    """One command: `place` is `module:name` of a function, or of a Typer that holds its
    sub-commands.
    """

    place: str
    help: str


COMMANDS: Final = {
    "run": Command("gateway.cli.run:run", "Run the gateway until it is told to stop."),
    "demo": Command("gateway.cli.demo:demo", "Run a gateway with real models on real flights, to try it."),
    "check": Command("gateway.cli.check:check", "Say everything that is wrong with a configuration file."),
    "diff": Command("gateway.cli.diff:diff", "Show what a file would change in the running gateway."),
    "reload": Command("gateway.cli.reload:reload", "Have the running gateway read its file again."),
    "health": Command("gateway.cli.health:health", "Ask the running gateway whether it is ready."),
    "report": Command("gateway.cli.report:report", "Show how the challengers of a model compare with its champion."),
    "pairs": Command("gateway.cli.pairs:pairs_app", "Look at single pairs of answers."),
    "stats": Command("gateway.cli.stats:stats", "Compute a statistic on numbers from standard input."),
    "schema": Command("gateway.cli.schema:schema", "Print the JSON Schema of the configuration file."),
}
"""In the order in which `tiltyard --help` lists them."""


def make_app(typed: str | None) -> typer.Typer:
    """The whole command line; of all commands only the one that was typed is real, None for all."""
    app = typer.Typer(
        name="tiltyard",
        help="A model-serving gateway in which challengers meet the champion on live traffic.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name, command in COMMANDS.items():
        if typed in (None, name):
            _add(app, name, command)
        else:
            app.command(name, help=command.help)(_listed)
    return app


def main() -> None:
    """Run the command that was typed."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    everything = COMPLETION_VARIABLE in os.environ
    make_app(None if everything else next(iter(words), ""))(prog_name="tiltyard")


def _add(app: typer.Typer, name: str, command: Command) -> None:
    module, _, attribute = command.place.partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=name, help=command.help)
    else:
        app.command(name, help=command.help)(found)


def _listed() -> None:
    """Stands for a command in the list of commands."""


def _show_version(asked: bool) -> None:
    if asked:
        print(f"tiltyard {gateway.__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Options before any command."""
