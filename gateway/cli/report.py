"""`tiltyard report MODEL`: how the challengers of a model compare with its champion.

Asks the running gateway. When none answers and `--config` names its file, the state directory is read instead, which
standard error says. Exit codes: 0 done, 1 refused or failed, 2 wrong use.
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
from gateway.core.ports import PairStoreError
from gateway.core.snapshot import compile_snapshot
from gateway.evidence.report import UnknownModel, build_report
from gateway.evidence.report_document import Report
from gateway.evidence.report_text import report_text


def report(
    model: Annotated[str, typer.Argument(help="Name of the model.", show_default=False)],
    config: ConfigOption = None,
    admin: AdminOption = None,
    json: JsonOption = False,
) -> None:
    """Show how the challengers of a model compare with its champion."""
    try:
        found = _from_gateway(model, config, admin)
    except Failed as failed:
        refuse(failed, json)
    if json:
        typer.echo(msgspec.json.encode(found))
    else:
        Console(highlight=False, soft_wrap=False).print(report_text(found))


def _from_gateway(model: str, config: Path | None, admin: str | None) -> Report:
    try:
        response = call("GET", f"{admin_url(config, admin)}/api/models/{quote(model, safe='')}/report")
        if response.is_success:
            return msgspec.json.decode(response.content, type=Report)
        answer = body_of(response)
    except NotReached as error:
        if admin is not None or config is None:
            raise Failed("not-reached", str(error)) from error
        return _from_state(model, config, str(error))
    except msgspec.MsgspecError as error:
        raise Failed("not-reached", f"the gateway answers with another kind of report: {error}") from error
    raise Failed(str(answer.get("code")), str(answer.get("detail")))


def _from_state(model: str, config: Path, reason: str) -> Report:
    written = configuration(config)
    with stored_pairs(written.state) as store:
        # No server is started, so nobody looks at where their sockets would be.
        snapshot = compile_snapshot(written, written.state)
        try:
            found = build_report(snapshot, model, written.state, store)
        except UnknownModel as error:
            raise Failed("model-not-found", f"there is no model {model!r} in {config}") from error
        except PairStoreError as error:
            raise Failed("unavailable", str(error)) from error
    typer.echo(f"no gateway answers ({reason}): the report is of {written.state} as it is now", err=True)
    return found
