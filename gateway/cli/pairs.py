"""`tiltyard pairs`: what was kept of single requests.

With `--config` the state directory is read, whether a gateway runs on it or not; with `--admin` the running gateway is
asked. Exit codes: 0 done, 1 refused or failed, 2 wrong use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import msgspec
import typer
from rich.console import Console

from gateway.cli.offline import Failed, configuration, refuse, stored_pairs
from gateway.cli.running import AdminOption, ConfigOption, JsonOption, NotReached, admin_url, body_of, call
from gateway.core.pair import Pair
from gateway.core.ports import PairStoreError
from gateway.evidence.pair_text import pairs_text

pairs_app = typer.Typer(no_args_is_help=True)


class Found(msgspec.Struct, frozen=True):
    """The pairs of one request, as the admin listener gives them too."""

    request_id: str
    pairs: tuple[Pair, ...]


@pairs_app.callback()
def pairs() -> None:
    """Look at single pairs of answers."""


@pairs_app.command()
def show(
    request_id: Annotated[str, typer.Argument(help="The answer's `x-request-id`.", show_default=False)],
    config: ConfigOption = None,
    admin: AdminOption = None,
    json: JsonOption = False,
) -> None:
    """Show the champion's and the challengers' answers to one request side by side."""
    try:
        if admin is None and config is not None:
            found = _from_state(request_id, config)
        else:
            found = _from_gateway(request_id, admin_url(config, admin))
    except Failed as failed:
        refuse(failed, json)
    if json:
        typer.echo(msgspec.json.encode(found))
    else:
        Console(highlight=False).print(pairs_text(found.pairs))


def _from_state(request_id: str, config: Path) -> Found:
    with stored_pairs(configuration(config).state) as store:
        try:
            found = store.find(request_id)
        except PairStoreError as error:
            raise Failed("unavailable", str(error)) from error
    if not found:
        raise Failed("pair-not-found", f"there is no pair of request {request_id!r}")
    return Found(request_id, tuple(found))


def _from_gateway(request_id: str, admin: str) -> Found:
    try:
        response = call("GET", f"{admin}/api/pairs/{quote(request_id, safe='')}")
        if response.is_success:
            return msgspec.json.decode(response.content, type=Found)
        answer = body_of(response)
    except NotReached as error:
        raise Failed("not-reached", str(error)) from error
    except msgspec.MsgspecError as error:
        raise Failed("not-reached", f"the gateway answers with another kind of pairs: {error}") from error
    raise Failed(str(answer.get("code")), str(answer.get("detail")))
