"""The table a person reads: plain text, one finding a line."""

from __future__ import annotations

from statistics import median

from loadtests.bench.findings import Finding, Measure, Series

HEADINGS = ("what", "subject", "beside", "judged: median (min - max)", "target", "holds", "")


def render(findings: list[Finding]) -> str:
    """All findings as one table."""
    lines = [HEADINGS, *(_cells(finding) for finding in findings)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([text[0], "-" * len(text[0]), *text[1:]])


def markdown(findings: list[Finding]) -> str:
    """The same table for docs/performance.md."""
    lines = [HEADINGS, tuple("---" for _ in HEADINGS), *(_cells(finding) for finding in findings)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(finding: Finding) -> tuple[str, ...]:
    judged = finding.judged()
    spread = f" ({_number(min(judged))} - {_number(max(judged))})" if len(judged) > 1 else ""
    unit = "" if finding.measure is Measure.RATIO else f" {finding.unit}"
    sign = "x" if finding.measure is Measure.RATIO else ""
    verdict = f"{_number(finding.middle())}{sign}{unit}{spread}"
    target = ""
    if finding.limit is not None:
        target = f"{'≥' if finding.at_least else '≤'} {_number(finding.limit)}{sign}{unit}"
    holds = {True: "yes", False: "NO", None: ""}[finding.holds()]
    subject, rival = _series(finding.subject, finding.unit), _series(finding.rival, finding.unit)
    return (finding.row, subject, rival, verdict, target, holds, finding.note)


def _series(series: Series | None, unit: str) -> str:
    return f"{series.name} {_number(median(series.values))} {unit}" if series else ""


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"
