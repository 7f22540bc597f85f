"""What the demo shows: an invitation at the start, progress that stays in place, a summary at the end.

On a terminal progress is redrawn where it stands; elsewhere it is one plain line every few seconds. Lines that are
meant to be copied are never broken. Decides nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

Phase = Literal["replaying", "through", "stopping"]
REDRAW_S: Final = 0.5
PLAIN_LINE_S: Final = 5.0
NOTHING: Final = "-"


@dataclass(frozen=True, slots=True)
class Section:
    """Some lines under a heading."""

    heading: str
    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class VersionLine:
    """What is known of one version. `share` of the pairs agree with the champion, 95 % surely `lower` to `upper`."""

    name: str
    is_champion: bool
    requests: int
    lost: int = 0
    """Requests without a comparison, for whatever reason."""
    share: float | None = None
    lower: float | None = None
    upper: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the demo is. Latencies are those that the client has seen lately."""

    phase: Phase
    done: int
    total: int
    at: datetime | None
    per_second: float
    p50_ms: float | None
    p99_ms: float | None
    failed: int
    troubles: Sequence[str]
    versions: Sequence[VersionLine]


class Screen(Protocol):
    """Where the demo is seen."""

    every_s: float
    """How often `progress` is worth calling."""

    def say(self, *sections: Section) -> None:
        """Print something that stays."""
        ...

    def progress(self, progress: Progress) -> None:
        """Show how far things are."""
        ...

    def close(self) -> None:
        """Leave the last progress where it is."""
        ...


def screen_of(stdout_is_terminal: bool) -> Screen:
    """The screen for this standard output."""
    return TerminalScreen(Console(highlight=False)) if stdout_is_terminal else PlainScreen()


class PlainScreen:
    """Lines for a log or a pipe."""

    every_s = PLAIN_LINE_S

    def __init__(self) -> None:
        self._last: tuple[Phase, Sequence[str]] | None = None

    def say(self, *sections: Section) -> None:
        """Print headings and lines."""
        for section in sections:
            print(section.heading, *(f"  {line}" for line in section.lines), sep="\n", flush=True)

    def progress(self, progress: Progress) -> None:
        """One line while flights are replayed; when they are no more, one at each change."""
        now = (progress.phase, progress.troubles)
        if progress.at is not None and (progress.phase == "replaying" or now != self._last):
            print(plain_line(progress), flush=True)
        self._last = now

    def close(self) -> None:
        """Nothing is held."""


class TerminalScreen:
    """A screen for a person."""

    every_s = REDRAW_S

    def __init__(self, console: Console):
        self._console = console
        # Redrawn by the demo's own loop: no thread beside it.
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

    def say(self, *sections: Section) -> None:
        """Print headings and lines, each line whole for whoever copies it."""
        for section in sections:
            self._console.print(Text(section.heading, style="bold"), soft_wrap=True)
            for line in section.lines:
                self._console.print(Text(f"  {line}"), soft_wrap=True)
            if section.lines:
                self._console.print()

    def progress(self, progress: Progress) -> None:
        """Redraw."""
        if not self._live.is_started:
            self._live.start()
        self._live.update(drawn(progress), refresh=True)

    def close(self) -> None:
        """Leave the picture and give the cursor back."""
        if self._live.is_started:
            self._live.stop()
            self._console.print()


def drawn(progress: Progress) -> Group:
    """The picture of a moment, at most ten lines of 80 columns."""
    troubles = [Text(f"  {line}", style="red") for line in progress.troubles]
    return Group(_how_far(progress), _pace(progress), Text(), _versions(progress.versions), *troubles)


def _how_far(progress: Progress) -> Table:
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    done = ProgressBar(progress.total, progress.done, complete_style="cyan", finished_style="green")
    flights = f"{progress.done:,} of {progress.total:,} flights"
    grid.add_row(done, flights, Text(_what_next(progress), style="dim"))
    return grid


def _what_next(progress: Progress) -> str:
    match progress.phase:
        case "replaying":
            return _time_left(progress)
        case "through":
            return "all through"
        case "stopping":
            return "stopping"


def _pace(progress: Progress) -> Text:
    when = f"{progress.at:%a %-d %b %Y %H:%M} UTC" if progress.at else NOTHING
    text = Text("  ").join(
        [
            Text(when, style="bold"),
            Text(f"{progress.per_second:.0f}/s"),
            Text(f"p50 {_ms(progress.p50_ms)}  p99 {_ms(progress.p99_ms)}"),
            Text(f"{progress.failed:,} failed", style="red" if progress.failed else "dim"),
        ]
    )
    text.no_wrap = True
    return text


def _versions(versions: Sequence[VersionLine]) -> Table:
    table = Table.grid(padding=(0, 3))
    table.add_column()
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    table.add_row("version", "requests", "lost", "agrees with the champion", "p99", style="dim")
    for one in versions:
        name = Text(f"{one.name} {'champion' if one.is_champion else 'challenger'}", style="bold" * one.is_champion)
        agreement = Text("answers", style="dim") if one.is_champion else Text(agreement_text(one))
        lost = Text(NOTHING, style="dim") if one.is_champion else Text(f"{one.lost:,}", style="red" * bool(one.lost))
        table.add_row(name, f"{one.requests:,}", lost, agreement, _ms(one.p99_ms))
    return table


def agreement_text(one: VersionLine) -> str:
    """The share of agreement and how sure it is, such as `90.4% (89.9% to 90.9%)`."""
    if one.share is None or one.lower is None or one.upper is None:
        return NOTHING
    return f"{one.share:.1%} ({one.lower:.1%} to {one.upper:.1%})"


def plain_line(progress: Progress) -> str:
    """The same in one line."""
    parts = [
        f"{progress.done:,} of {progress.total:,} flights",
        f"{progress.at:%Y-%m-%d %H:%M} UTC" if progress.at else NOTHING,
        f"{progress.per_second:.0f}/s",
        f"p50 {_ms(progress.p50_ms)}, p99 {_ms(progress.p99_ms)}",
        f"{progress.failed:,} failed",
    ]
    for one in progress.versions:
        if not one.is_champion:
            lost = f", {one.lost:,} lost" if one.lost else ""
            parts.append(f"version {one.name}: {one.requests:,} copied{lost}, agrees {agreement_text(one)}")
    return "; ".join([*parts, *progress.troubles])


def is_terminal() -> bool:
    """Whether standard output is a terminal on which a cursor can move."""
    return sys.stdout.isatty() and Console().is_dumb_terminal is False


def _time_left(progress: Progress) -> str:
    if progress.per_second < 0.1:
        return ""
    minutes, seconds = divmod(round((progress.total - progress.done) / progress.per_second), 60)
    return f"{minutes}:{seconds:02d} left"


def _ms(milliseconds: float | None) -> str:
    if milliseconds is None:
        return NOTHING
    return f"{milliseconds:.1f} ms" if milliseconds < 100 else f"{milliseconds:.0f} ms"
