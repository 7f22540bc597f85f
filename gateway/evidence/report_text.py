"""The report for people: what was counted, whether answers agree, how fast they came, and what to look at first.

Takes the document alone, so that a running gateway and a state directory give the same page. Text of requests is shown
as text, never as markup or as commands to the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.evidence.report_document import (
    ChallengerReport,
    Report,
    SliceAgreement,
    WorstMismatch,
)

_MOST_SLICES: Final = 10
"""Values shown of a dimension; the document has more."""
_MOST_PATHS: Final = 3


def report_text(report: Report) -> RenderableType:
    """The whole report, to be printed by rich."""
    parts: list[RenderableType] = [_heading(report)]
    if not report.challengers:
        parts.append(Text("No challenger is configured, and none ever was."))
    for version, challenger in report.challengers.items():
        parts += _challenger(report.champion, version, challenger)
    return Group(*parts)


def plain(text: str) -> str:
    """Text as a terminal can show it: what is not printable is written as an escape."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def duration_text(microseconds: int) -> str:
    """A duration with three digits and the unit that suits it."""
    if microseconds < 1000:
        return f"{microseconds} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.3g} ms"
    return f"{microseconds / 1_000_000:.3g} s"


def _heading(report: Report) -> Text:
    text = Text()
    text.append(plain(report.model), style="bold")
    text.append(f"  champion {plain(report.champion)}  config {report.config_id}\n")
    requests = report.requests
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in requests.outcomes.items() if count)
    text.append(f"{requests.total:,} requests" + (f": {outcomes}" if outcomes else ""))
    if report.latency is not None:
        latency = report.latency
        text.append(
            f"\nchampion latency p50 ~{duration_text(latency.p50_us)}"
            f"  p90 ~{duration_text(latency.p90_us)}  p99 ~{duration_text(latency.p99_us)}"
        )
    return text


def _challenger(champion: str, version: str, challenger: ChallengerReport) -> Iterator[RenderableType]:
    title = f"challenger {plain(version)}"
    if not challenger.active:
        title += " (no longer configured)"
    yield Text(f"\n{title}", style="bold")
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in (*_comparison(champion, challenger), *_counts(challenger)):
        table.add_row(Text(name), Text(value))
    yield table
    yield Text()
    if challenger.latency.champion and challenger.latency.challenger:
        yield _latencies(champion, version, challenger)
        yield Text()
    for dimension, values in challenger.slices.items():
        yield _slices(dimension, values, challenger.slices_left_out.get(dimension, 0))
        yield Text()
    if challenger.worst:
        yield _worst(challenger.worst)


def _counts(one: ChallengerReport) -> Iterator[tuple[str, str]]:
    yield "eligible", f"{one.eligible:,}"
    yield "  sampled out", f"{one.sampled_out:,}"
    yield "  skipped", _reasons(one.skipped)
    yield "  sent", f"{one.sent:,}"
    for name in ("ok", "error", "timeout", "cancelled"):
        share = {"error": one.error_share, "timeout": one.timeout_share}.get(name)
        count: int = getattr(one, name)
        yield f"    {name}", f"{count:,}" + (f" ({share:.2%})" if share else "")
    yield "  pairs stored", f"{one.stored:,}"
    yield "  pairs not stored", _reasons(one.unstored)
    if one.balanced:
        yield "account", "balanced"
    else:
        yield "account", f"{one.in_flight:,} in flight, {one.to_store:,} pairs to store"


def _comparison(champion: str, one: ChallengerReport) -> Iterator[tuple[str, str]]:
    agreement = one.agreement
    if agreement.share is None or agreement.lower is None or agreement.upper is None:
        yield "agreement", f"no pairs compared with champion {plain(champion)}"
    else:
        interval = f"{agreement.lower:.2%} to {agreement.upper:.2%} at {agreement.confidence:.0%}"
        yield (
            "agreement",
            f"{agreement.share:.2%} ({interval}), {agreement.agree:,} of {agreement.compared:,}",
        )
    if one.incomparable:
        yield "not comparable", f"{one.incomparable:,}"
    if one.pairs_other_champions:
        yield "beside other champions", f"{one.pairs_other_champions:,} pairs, not counted here"
    if one.difference is not None:
        found = one.difference
        yield (
            "difference",
            f"p50 {found.p50:.6g}  p90 {found.p90:.6g}  p99 {found.p99:.6g}  max {found.max:.6g}",
        )
    if one.pairs_from and one.pairs_to:
        yield "pairs kept", f"from {one.pairs_from} to {one.pairs_to}"


def _reasons(reasons: Mapping[str, int]) -> str:
    total = sum(reasons.values())
    named = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
    return f"{total:,}" + (f" ({named})" if named else "")


def _latencies(champion: str, version: str, challenger: ChallengerReport) -> Table:
    table = Table("latency", box=None, pad_edge=False, header_style="dim")
    for name in ("p50", "p90", "p99"):
        table.add_column(name, justify="right")
    sides = (
        (f"champion {champion}", challenger.latency.champion),
        (f"challenger {version}", challenger.latency.challenger),
    )
    for name, latency in sides:
        if latency is not None:
            numbers = (latency.p50_us, latency.p90_us, latency.p99_us)
            table.add_row(Text(plain(name)), *map(duration_text, numbers))
    return table


def _slices(dimension: str, values: Mapping[str, SliceAgreement], left_out: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(Text(plain(dimension)))
    for name in ("compared", "agreement", "interval"):
        table.add_column(name, justify="right")
    for value, one in list(values.items())[:_MOST_SLICES]:
        if one.share is None or one.lower is None or one.upper is None:
            table.add_row(Text(plain(value)), f"{one.compared:,}", one.note, "")
        else:
            interval = f"{one.lower:.2%} to {one.upper:.2%}"
            table.add_row(Text(plain(value)), f"{one.compared:,}", f"{one.share:.2%}", interval)
    more = max(len(values) - _MOST_SLICES, 0) + left_out
    if more:
        table.add_row(f"and {more:,} more", "", "", "")
    return table


def _worst(worst: tuple[WorstMismatch, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("worst mismatches", no_wrap=True)
    table.add_column("difference", justify="right")
    table.add_column("where")
    for one in worst:
        difference = "in kind" if one.difference is None else f"{one.difference:.6g}"
        table.add_row(Text(plain(one.request_id)), difference, Text(_where(one)))
    return table


def _where(one: WorstMismatch) -> str:
    shown = [plain(path) for path in one.paths[:_MOST_PATHS]]
    more = len(one.paths) - len(shown) + one.paths_left_out
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
