"""Pairs for people: the two answers to one request side by side, and where they part."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.core.pair import Form, Pair
from gateway.evidence.report_text import duration_text, plain

_MOST_LINES: Final = 60
"""Lines shown of one body; `--json` has all of it."""
_LONGEST_LINE: Final = 2000
_MOST_PATHS: Final = 50
_FLAT_LIST = re.compile(r"\[\n\s+([^][{}]*)\n\s+\]")
_LINE_END = re.compile(r",\n\s+")


def pairs_text(pairs: Iterable[Pair]) -> RenderableType:
    """Every pair of a request, to be printed by rich."""
    return Group(*(part for pair in pairs for part in _pair(pair)))


def _pair(pair: Pair) -> list[RenderableType]:
    slices = ", ".join(f"{name}={value}" for name, value in pair.slices.items())
    about = [
        f"model {pair.model}  at {_time_text(pair.at_us)}  config {pair.config_id}",
        f"path {pair.path}",
        f"tenant {pair.tenant or '-'}  client {pair.client or '-'}" + (f"  slices {slices}" if slices else ""),
    ]
    head = Text(f"request {plain(pair.request_id)}\n", style="bold")
    head.append("\n".join(map(plain, about)), style="not bold")
    answers = Table(show_lines=True, expand=True)
    answers.add_column(Text(plain(f"champion {pair.champion}")), ratio=1, overflow="fold")
    answers.add_column(Text(plain(f"challenger {pair.challenger}")), ratio=1, overflow="fold")
    answers.add_row(
        f"{pair.champion_status} in {duration_text(pair.champion_us)}",
        f"{pair.challenger_status or '-'} in {duration_text(pair.challenger_us)}",
    )
    answers.add_row(
        Text(_body(pair.champion_answer, pair.champion_form)),
        Text(_body(pair.challenger_answer, pair.challenger_form)),
    )
    return [head, Text("\n" + _body(pair.request, pair.request_form)), answers, Text(_verdict(pair))]


def _verdict(pair: Pair) -> str:
    detail = f": {plain(pair.detail)}" if pair.detail else ""
    if pair.outcome != "ok":
        return f"{pair.outcome}{detail}"
    if pair.agree is None:
        return f"not compared{detail}"
    difference = "" if pair.difference is None else f", difference {pair.difference:.6g}"
    if pair.agree:
        return f"agree{difference}"
    shown = [f"\n  {plain(path)}" for path in pair.paths[:_MOST_PATHS]]
    more = len(pair.paths) - len(shown)
    return f"differ{difference}" + "".join(shown) + (f"\n  and {more:,} more" if more else "")


def _body(body: str, form: Form) -> str:
    """A body as far as it is kept, JSON on lines of its own."""
    if form == "none":
        return "(not kept)"
    lines = _laid_out(body).splitlines() if form == "text" else [f"{form} {body}"]
    more = len(lines) - _MOST_LINES
    shown = [_cut(plain(line)) for line in lines[:_MOST_LINES]]
    return "\n".join(shown) + (f"\n(and {more:,} more lines)" if more > 0 else "")


def _cut(line: str) -> str:
    more = len(line) - _LONGEST_LINE
    return line if more <= 0 else f"{line[:_LONGEST_LINE]} (and {more:,} more characters)"


def _laid_out(body: str) -> str:
    try:
        return _FLAT_LIST.sub(_on_one_line, msgspec.json.format(body))
    except msgspec.MsgspecError:
        return body


def _on_one_line(found: re.Match[str]) -> str:
    return f"[{_LINE_END.sub(', ', found[1])}]"


def _time_text(at_us: int) -> str:
    try:
        time = datetime.fromtimestamp(at_us / 1e6, UTC)
    except (OverflowError, OSError, ValueError):
        return f"{at_us} µs"
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
