"""From a file to a configuration, or to everything that is wrong with it, each with its position.

`load_config` reads files; all it decides is in `parse_config`. Nothing that can be in a file, nor a
file that cannot be read, makes either raise.
"""

from __future__ import annotations

import gc
import hashlib
import json
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from gateway.core.config import FileContext, Gateway
from gateway.core.config.section import Place
from gateway.core.config.values import named, shown
from gateway.core.configfile.advice import advice
from gateway.core.configfile.document import START, BadDocumentError, Node, Position, Scalar, end_of, parse
from gateway.core.configfile.messages import Complaint, broken_names, complaints
from gateway.core.configfile.plain import Values, find

MAX_FILE_BYTES = 16 * 2**20
MAX_ERRORS = 1000
MAX_ERRORS_READ = 10_000
SECRET_CHARACTERS = 4


@dataclass(frozen=True, slots=True, order=True)
class ConfigError:
    """One thing wrong with a file, or doubtful in it; line and column are from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid configuration, what is doubtful in it, and the text it was made of."""

    config: Gateway
    warnings: tuple[ConfigError, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where a text comes from: what errors call it, where its paths start, its variables."""

    file: str
    context: FileContext
    environment: Mapping[str, str]

    def errors(self, found: Iterable[tuple[Position, str]]) -> list[ConfigError]:
        """The errors in the order of the file, each once, at most MAX_ERRORS and that there are more."""
        errors = sorted({ConfigError(self.file, *position, text) for position, text in found})
        if len(errors) > MAX_ERRORS:
            last = errors[MAX_ERRORS]
            more = f"more than {MAX_ERRORS} errors; the rest is not shown"
            errors[MAX_ERRORS:] = [ConfigError(self.file, last.line, last.column, more)]
        return errors


def load_config(path: Path, environment: Mapping[str, str]) -> LoadedConfig | list[ConfigError]:
    """The configuration in a file, or all that is wrong with it."""
    source = Source(str(path), FileContext(path.absolute().parent, _digests()), environment)
    try:
        text = _text(_read(path))
    except BadDocumentError as error:
        return source.errors([(error.position, error.message)])
    return parse_config(text, source)


def parse_config(text: str, source: Source) -> LoadedConfig | list[ConfigError]:
    """The configuration a text describes, or all that is wrong with it."""
    with _collector_paused():
        return _parse_config(text, source)


def positions(text: str, places: Iterable[Place]) -> list[Position]:
    """Where each place stands in a text that was loaded before."""
    with _collector_paused():
        root = parse(text)
        return [find(root, place).value_position if root else START for place in places]


def _parse_config(text: str, source: Source) -> LoadedConfig | list[ConfigError]:
    try:
        root = parse(text)
    except BadDocumentError as error:
        return source.errors([(error.position, error.message)])
    if root is None:
        return source.errors([(START, "the file is empty; it needs at least `models:`")])
    values = Values(source.environment)
    plain = values.of(root)
    try:
        config = Gateway.model_validate_json(json.dumps(plain), context=source.context)
    except ValidationError as error:
        # A file that is none of ours may have an error in each of its million values.
        first = islice(error.errors(include_url=False), MAX_ERRORS_READ)
        refused = [one for details in first for one in complaints(details)]
        refused.extend(broken_names(plain))
        return source.errors(values.problems + _located(refused, root, values))
    if values.problems:
        return source.errors(values.problems)
    doubts = ((find(root, place).key_position, message) for place, message in advice(config))
    return LoadedConfig(config, tuple(source.errors(doubts)), text)


def _located(refused: list[Complaint], root: Node, values: Values) -> list[tuple[Position, str]]:
    located = []
    for complaint in refused:
        found = find(root, complaint.place)
        node = id(found.value)
        if node in values.spoiled:
            continue
        position = found.key_position if complaint.at_key else found.value_position
        message = complaint.message
        if isinstance(found.value, Scalar) and node in values.filled:
            message = _without_secrets(message, found.value.text, values.filled[node])
        located.append((position, message))
    return located


def _without_secrets(message: str, written: str, filled: str) -> str:
    """What came from the environment may be a secret, and errors are logged: name no part of it."""
    written = named(written)
    expected, got, _ = message.partition(", got ")
    if got:
        return f"{expected}, got the value of {written}"
    message = message.replace(shown(filled), written)
    message = message.replace(f"'{named(filled)}'", f"'{written}'")
    return message.replace(filled, written) if len(filled) >= SECRET_CHARACTERS else message


@contextmanager
def _collector_paused() -> Iterator[None]:
    # Nothing made here is a cycle, but the collector walks all of it again and again as it grows:
    # 10,000 models take 4.5 s with it and 1.5 s without.
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _digests() -> Callable[[Path], str]:
    """SHA-256 of files' content, each file read once however many versions name it."""
    known: dict[Path, str] = {}

    def digest(path: Path) -> str:
        if path not in known:
            with _open(path) as file:
                known[path] = hashlib.file_digest(file, "sha256").hexdigest()
        return known[path]

    return digest


def _read(path: Path) -> bytes:
    try:
        with _open(path) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise BadDocumentError(START, "no such file") from None
    except OSError as error:
        raise BadDocumentError(START, f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a path that no file can have
        raise BadDocumentError(START, f"cannot be read: {error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise BadDocumentError(START, f"larger than {MAX_FILE_BYTES // 2**20} MiB")
    return data


def _text(data: bytes) -> str:
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        position = end_of(data[: error.start].decode())
        raise BadDocumentError(position, "not UTF-8 text") from None


def _open(path: Path) -> BufferedReader:
    # Asked before it is opened: opening a pipe would wait for whoever writes to it.
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is not a regular file")
    return path.open("rb")
