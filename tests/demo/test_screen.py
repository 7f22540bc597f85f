import re
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from gateway.demo.screen import PlainScreen, Progress, Section, TerminalScreen, VersionLine, plain_line, screen_of

NOW = datetime(2013, 4, 2, 9, 5, tzinfo=UTC)
CHAMPION = VersionLine("1", is_champion=True, requests=12345, p99_ms=4.25)
SECOND = VersionLine("2", False, 12340, lost=5, share=0.904, lower=0.899, upper=0.909, p99_ms=123.4)
THIRD = VersionLine("3", False, 0)
PROGRESS = Progress(
    phase="replaying",
    done=12345,
    total=86768,
    at=NOW,
    per_second=150.2,
    p50_ms=1.234,
    p99_ms=6.3,
    failed=0,
    troubles=(),
    versions=(CHAMPION, SECOND, THIRD),
)


def terminal(width: int = 80) -> tuple[TerminalScreen, StringIO]:
    written = StringIO()
    console = Console(
        file=written,
        force_terminal=True,
        width=width,
        height=24,
        color_system=None,
        highlight=False,
        # Whatever terminal the tests run on: this one moves its cursor.
        _environ={"TERM": "xterm"},
    )
    return TerminalScreen(console), written


def visible(written: StringIO) -> list[str]:
    """What has been written since the terminal was last told to go back to the start of a line."""
    return frames(written)[-1]


def frames(written: StringIO) -> list[list[str]]:
    texts = (re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text) for text in written.getvalue().split("\r"))
    return [[line.rstrip() for line in text.splitlines()] for text in texts if text.strip()]


def test_a_plain_line_has_everything_in_one():
    assert plain_line(PROGRESS) == (
        "12,345 of 86,768 flights; 2013-04-02 09:05 UTC; 150/s; p50 1.2 ms, p99 6.3 ms; 0 failed; "
        "version 2: 12,340 copied, 5 lost, agrees 90.4% (89.9% to 90.9%); version 3: 0 copied, agrees -"
    )


def test_troubles_are_never_hidden():
    trouble = replace(PROGRESS, failed=3, troubles=["failed: 3 requests: status 503 overloaded"])
    screen, written = terminal()
    screen.progress(trouble)
    screen.close()

    assert "3 failed" in plain_line(trouble)
    assert plain_line(trouble).endswith("; failed: 3 requests: status 503 overloaded")
    assert "  failed: 3 requests: status 503 overloaded" in visible(written)
    assert any("3 failed" in line for line in visible(written))


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_terminal_shows_the_versions_side_by_side_within_its_width(width):
    screen, written = terminal(width)
    screen.progress(PROGRESS)
    screen.close()
    lines = visible(written)

    assert max(map(len, lines)) <= width
    assert len([line for line in lines if line]) == 6
    assert lines[0].endswith("12,345 of 86,768 flights  8:15 left")
    assert lines[1] == "Tue 2 Apr 2013 09:05 UTC  150/s  p50 1.2 ms  p99 6.3 ms  0 failed"
    rows = [line.split() for line in lines[3:7]]
    assert rows[1] == ["1", "champion", "12,345", "-", "answers", "4.2", "ms"]
    assert rows[2] == ["2", "challenger", "12,340", "5", "90.4%", "(89.9%", "to", "90.9%)", "123", "ms"]
    assert rows[3] == ["3", "challenger", "0", "0", "-", "-"]


@pytest.mark.parametrize(("phase", "words"), [("through", "all through"), ("stopping", "stopping")])
def test_a_terminal_says_what_the_demo_does_when_it_does_not_replay(phase, words):
    screen, written = terminal()
    screen.progress(replace(PROGRESS, phase=phase))
    screen.close()

    assert visible(written)[0].endswith(f"flights  {words}")


def test_before_the_first_answer_there_is_nothing_to_say_of_it():
    screen, written = terminal()
    screen.progress(replace(PROGRESS, at=None, done=0, per_second=0.0, p50_ms=None, p99_ms=None, versions=()))
    screen.close()

    assert visible(written)[0].endswith("0 of 86,768 flights")
    assert visible(written)[1] == "-  0/s  p50 -  p99 -  0 failed"


def test_lines_that_are_meant_to_be_copied_are_never_broken(capsys):
    long = "curl " + "x" * 300
    screen, written = terminal()
    screen.say(Section("Copy:", [long]), Section("Alone", []))
    PlainScreen().say(Section("Copy:", [long]))

    assert visible(written) == ["Copy:", f"  {long}", "", "Alone"]
    assert capsys.readouterr().out == f"Copy:\n  {long}\n"


def test_what_is_said_while_progress_is_shown_stays_above_it():
    screen, written = terminal()
    screen.progress(PROGRESS)
    screen.say(Section("All flights are through.", []))
    screen.progress(replace(PROGRESS, phase="through"))
    screen.close()

    # It is written where the picture was, and the picture below it.
    (said,) = [frame for frame in frames(written) if "All flights are through." in frame]
    assert said[0] == "All flights are through."
    assert "of 86,768 flights" in said[1]
    assert visible(written)[0].endswith("all through")


def test_a_log_has_a_line_while_flights_are_replayed_and_then_one_at_each_change(capsys):
    screen = PlainScreen()
    screen.progress(replace(PROGRESS, at=None))
    for phase in ("replaying", "replaying", "through", "through"):
        screen.progress(replace(PROGRESS, phase=phase))
    for _ in range(2):
        screen.progress(replace(PROGRESS, phase="through", troubles=["not applied: demo.yaml:1:1: no"]))
    screen.progress(replace(PROGRESS, phase="stopping"))
    screen.close()

    assert len(capsys.readouterr().out.splitlines()) == 5


def test_the_screen_is_chosen_by_what_standard_output_is():
    assert isinstance(screen_of(True), TerminalScreen)
    assert isinstance(screen_of(False), PlainScreen)
