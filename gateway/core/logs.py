"""What the gateway says about itself: one line per event on standard error.

JSON for machines; on a terminal a line a person can read. `log` is the only way to write one. The
rules:

- an event has a name that never changes (`config-refused`), a level, and fields; sentences go
  into fields;
- a cause is logged once, by whoever handles it;
- writing never raises and never waits for anything but the kernel; long texts are cut at a named
  bound.

Answered requests are not events: the access log has them.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Final, Literal

Level = Literal["info", "warning", "error"]

TEXT_CAP: Final = 2048
LIST_CAP: Final = 50

_process = "tiltyard"


def name_process(name: str) -> None:
    """Say which process this is in every line from here on."""
    global _process
    _process = name


def log(event: str, level: Level = "info", **fields: object) -> None:
    """Write one event. Values are text, numbers, or lists and mappings of them; others are shown
    by `str`.
    """
    capped = {name: _capped(value) for name, value in fields.items()}
    try:
        stream = sys.stderr
        line = _readable if stream.isatty() else _json
        stream.write(line(event, level, capped))
        stream.flush()
    except (OSError, ValueError):
        # A closed terminal or a full disk must not become the caller's problem.
        return


def _json(event: str, level: Level, fields: Mapping[str, object]) -> str:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    head = {"at": stamp, "level": level, "event": event, "process": _process}
    return json.dumps({**head, **fields}, separators=(",", ":"), default=str) + "\n"


def _readable(event: str, level: Level, fields: Mapping[str, object]) -> str:
    words = [time.strftime("%H:%M:%S"), level.ljust(7), _process.ljust(10), event]
    lists = ""
    for name, value in fields.items():
        if isinstance(value, list):
            lists += "".join(f"\n    {_plain(item)}" for item in value)
        else:
            words.append(f"{name}={_plain(value)}")
    return " ".join(words) + lists + "\n"


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    # A control character from outside must not move the reader's cursor.
    return "".join(letter if letter.isprintable() or letter == "\n" else f"\\x{ord(letter):02x}" for letter in text)


def _capped(value: object) -> object:
    match value:
        case str():
            return value if len(value) <= TEXT_CAP else f"{value[:TEXT_CAP]}… ({len(value)} characters)"
        case list() | tuple():
            shown = [_capped(item) for item in value[:LIST_CAP]]
            return shown if len(value) <= LIST_CAP else [*shown, f"… ({len(value)} in all)"]
        case Mapping():
            return {str(key): _capped(item) for key, item in value.items()}
        case _:
            return value


class _ToEvents(logging.Handler):
    """Turns what libraries log (asyncio's unhandled errors first of all) into events."""

    def emit(self, record: logging.LogRecord) -> None:
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        fields: dict[str, object] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[0] is not None:
            fields["trace"] = "".join(traceback.format_exception(*record.exc_info))[-TEXT_CAP:]
        log("library-message", level, **fields)


def capture_logging() -> None:
    """Send warnings and errors that libraries write with `logging` the same way as our own
    events.
    """
    logging.basicConfig(level=logging.WARNING, handlers=[_ToEvents()], force=True)
