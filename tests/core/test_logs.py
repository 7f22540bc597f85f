"""What one event looks like, and that writing it can hurt nobody."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from gateway.core import logs
from gateway.core.logs import LIST_CAP, TEXT_CAP, capture_logging, log, name_process


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    former = logs._process
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    name_process(former)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_an_event_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    name_process("worker 0")

    log("config-refused", "error", errors=["a", "b"], took_ms=7, missing=None)

    line = capsys.readouterr().err
    assert line.count("\n") == 1
    event = json.loads(line)
    assert event.pop("at").endswith("Z")
    assert event == {
        "level": "error",
        "event": "config-refused",
        "process": "worker 0",
        "errors": ["a", "b"],
        "took_ms": 7,
        "missing": None,
    }


def test_a_terminal_gets_a_line_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    name_process("control")

    log("config-refused", "error", errors=["1:2: no", "3:4: nor this"], took_ms=7)

    lines = terminal.getvalue().splitlines()
    assert lines[0][8:] == " error   control    config-refused took_ms=7"
    assert lines[1:] == ["    1:2: no", "    3:4: nor this"]


def test_nothing_from_outside_moves_the_cursor_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    log("seen", name="\x1b[2Jü\r")

    assert "name=\\x1b[2Jü\\x0d\n" in terminal.getvalue()


def test_long_values_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    log("seen", text="x" * 3000, items=list(range(1000)), inner={"text": "y" * 3000}, odd={1, 2}.__class__)

    event = json.loads(capsys.readouterr().err)
    assert event["text"] == "x" * TEXT_CAP + "… (3000 characters)"
    assert event["items"] == [*range(LIST_CAP), "… (1000 in all)"]
    assert len(event["inner"]["text"]) < 2100
    assert event["odd"] == "<class 'set'>"


def test_a_stream_that_cannot_be_written_is_nobodys_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Broken())
    log("seen")
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    log("seen")


def test_what_libraries_log_becomes_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    capture_logging()

    logging.getLogger("library").warning("careful with %s", "this")
    logging.getLogger("library").info("not worth a line")
    try:
        raise ZeroDivisionError("a defect")
    except ZeroDivisionError:
        logging.getLogger("asyncio").exception("Task failed")

    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["level"]) == ("library-message", "warning")
    assert (first["logger"], first["message"]) == ("library", "careful with this")
    assert second["level"] == "error"
    assert second["trace"].endswith("ZeroDivisionError: a defect\n")
