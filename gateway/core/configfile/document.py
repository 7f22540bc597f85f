"""A YAML document as a tree that knows where everything stands in its file.

Built from the C parser's events with a stack of our own: composing nodes recursively, as the
library does, crashes the process at 100,000 brackets. Depth, size and what aliases unfold to are
bounded while it is built, so that whoever walks the tree may recurse and forget about both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from yaml import YAMLError
from yaml._yaml import CParser
from yaml.error import MarkedYAMLError
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
)
from yaml.reader import ReaderError

from gateway.core.config.values import named

MAX_DEPTH = 32
MAX_VALUES = 1_000_000


class Position(NamedTuple):
    """Line and column as an editor shows them, from 1."""

    line: int
    column: int


START = Position(1, 1)


class BadDocumentError(Exception):
    """The text is no YAML document that we read, which shows at `position`."""

    def __init__(self, position: Position, message: str) -> None:
        super().__init__(message)
        self.position = position
        self.message = message


@dataclass(slots=True, eq=False)
class Scalar:
    """A value without parts; `plain` unless it was quoted, which makes it text."""

    text: str
    plain: bool
    position: Position


@dataclass(slots=True, eq=False)
class Sequence:
    items: list[Node]
    position: Position


@dataclass(slots=True, eq=False)
class Mapping:
    entries: list[tuple[Node, Node]]
    position: Position
    _by_name: dict[str, tuple[Node, Node]] | None = None

    def entry(self, name: str) -> tuple[Node, Node] | None:
        """The first entry with this name. Indexed when first asked for: only errors ask."""
        if self._by_name is None:
            self._by_name = {}
            for key, value in self.entries:
                if isinstance(key, Scalar):
                    self._by_name.setdefault(key.text, (key, value))
        return self._by_name.get(name)


Node: TypeAlias = Scalar | Sequence | Mapping


def parse(text: str) -> Node | None:
    """The document of a text, None where there is nothing in it; BadDocumentError if it is none."""
    builder = _Builder()
    try:
        parser = CParser(text)
        while (event := parser.get_event()) is not None:
            builder.take(event)
    except ReaderError as error:
        # The C reader counts bytes of UTF-8.
        before = text.encode()[: error.position].decode(errors="ignore")
        raise BadDocumentError(end_of(before), f"not valid YAML: {error.reason}") from None
    except MarkedYAMLError as error:
        # What is missing at the end of the file is better looked for where it was opened.
        places = (place for place in (*_marks(error), *builder.innermost()) if place < end_of(text))
        raise BadDocumentError(next(places, START), f"not valid YAML: {_words(error)}") from None
    except YAMLError as error:
        raise BadDocumentError(START, f"not valid YAML: {error}") from None
    return builder.document


def end_of(text: str) -> Position:
    """Where the character after this text stands."""
    return Position(text.count("\n") + 1, len(text) - text.rfind("\n"))


@dataclass(slots=True)
class _Unfolded:
    """What a name given with `&` stands for, and how much an alias of it adds."""

    node: Node
    values: int
    height: int


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been seen."""

    parts: list[Node]
    position: Position
    anchor: str | None
    values_before: int
    height: int = 1


class _Builder:
    """Takes events in turn. `document` is what they have made once all are taken."""

    def __init__(self) -> None:
        self.document: Node | None = None
        self._open: list[_Open] = []
        self._anchors: dict[str, _Unfolded] = {}
        self._values = 0
        self._documents = 0

    def innermost(self) -> Iterator[Position]:
        """Where what is not closed yet was opened, the innermost first."""
        return (one.position for one in reversed(self._open))

    def take(self, event: Event) -> None:
        if isinstance(event, ScalarEvent):
            self._scalar(event)
        elif isinstance(event, CollectionStartEvent):
            self._begin(event)
        elif isinstance(event, MappingEndEvent):
            self._end(is_mapping=True)
        elif isinstance(event, SequenceEndEvent):
            self._end(is_mapping=False)
        elif isinstance(event, AliasEvent):
            self._alias(event, event.anchor or "")
        elif isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise BadDocumentError(_start(event), "a second document; a file has one")

    def _scalar(self, event: ScalarEvent) -> None:
        position = _start(event)
        if event.tag is not None:
            raise _tagged(position, event.tag)
        node = Scalar(event.value, not event.style, position)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Unfolded(node, 1, 0)
        self._add(node, 1)

    def _begin(self, event: CollectionStartEvent) -> None:
        position = _start(event)
        if event.tag is not None:
            raise _tagged(position, event.tag)
        if len(self._open) == MAX_DEPTH:
            raise _too_deep(position)
        self._open.append(_Open([], position, event.anchor, self._values))

    def _end(self, *, is_mapping: bool) -> None:
        ended = self._open.pop()
        node: Node
        if is_mapping:
            parts = iter(ended.parts)
            node = Mapping(list(zip(parts, parts, strict=True)), ended.position)
        else:
            node = Sequence(ended.parts, ended.position)
        if ended.anchor is not None:
            # Named only now, an alias inside of what it names is an unknown name: no cycles.
            values = self._values - ended.values_before + 1
            self._anchors[ended.anchor] = _Unfolded(node, values, ended.height)
        if self._open:
            self._open[-1].height = max(self._open[-1].height, ended.height + 1)
        self._add(node, 1)

    def _alias(self, event: AliasEvent, name: str) -> None:
        position = _start(event)
        unfolded = self._anchors.get(name)
        if unfolded is None:
            message = f"alias '*{named(name)}' has no complete '&{named(name)}' before it"
            raise BadDocumentError(position, message)
        if len(self._open) + unfolded.height > MAX_DEPTH:
            raise _too_deep(position)
        self._open[-1].height = max(self._open[-1].height, unfolded.height + 1)
        self._add(unfolded.node, unfolded.values, position)

    def _add(self, node: Node, values: int, position: Position | None = None) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            message = f"more than {MAX_VALUES} values, aliases unfolded"
            raise BadDocumentError(position or node.position, message)
        if self._open:
            self._open[-1].parts.append(node)
        else:
            self.document = node


def _start(event: Event) -> Position:
    mark = event.start_mark
    return Position(mark.line + 1, mark.column + 1) if mark else START


def _tagged(position: Position, tag: str) -> BadDocumentError:
    return BadDocumentError(position, f"tags such as {named(tag)} have no place here")


def _too_deep(position: Position) -> BadDocumentError:
    return BadDocumentError(position, f"nested deeper than {MAX_DEPTH} levels")


def _marks(error: MarkedYAMLError) -> list[Position]:
    marks = [mark for mark in (error.problem_mark, error.context_mark) if mark]
    return [Position(mark.line + 1, mark.column + 1) for mark in marks]


def _words(error: MarkedYAMLError) -> str:
    problem = error.problem or "it cannot be read"
    if "cannot start any token" in problem:
        return "a character that can start nothing here (a tab? a text to be put in quotes?)"
    if "mapping values are not allowed" in problem:
        return "a ':' that has no place here (an indentation? a text to be put in quotes?)"
    return f"{error.context}, {problem}" if error.context else problem
