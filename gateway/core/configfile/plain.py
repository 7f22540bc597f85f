"""From a document to the plain values that the schema validates, and back to where each one stands.

Problems are collected, not raised: a duplicate key or a variable that is not set leaves the rest of
the file to be looked at. A scalar that has a problem of its own is `spoiled`: what the schema would
say about it is no news.
"""

from __future__ import annotations

from collections.abc import Mapping as Environment
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from gateway.core.config.section import Place
from gateway.core.config.values import named
from gateway.core.configfile.document import Mapping, Node, Position, Scalar, Sequence
from gateway.core.configfile.scalars import Meaning, VariableError, meaning, substitute

Value: TypeAlias = Meaning | list["Value"] | dict[str, "Value"]


class Found(NamedTuple):
    """A value in the document; `key` is None for items of a list and for the whole."""

    key: Node | None
    value: Node

    @property
    def key_position(self) -> Position:
        return self.key.position if self.key else self.value.position

    @property
    def value_position(self) -> Position:
        empty = isinstance(self.value, Scalar) and self.value.plain and not self.value.text
        return self.key_position if empty else self.value.position


@dataclass(slots=True)
class Values:
    """Reads nodes as values. `filled` has, by the id of the node, what variables were put in."""

    environment: Environment[str, str]
    problems: list[tuple[Position, str]] = field(default_factory=list)
    spoiled: set[int] = field(default_factory=set)
    filled: dict[int, str] = field(default_factory=dict)

    def of(self, node: Node) -> Value:
        match node:
            case Scalar():
                return self._scalar(node)
            case Sequence():
                return [self.of(item) for item in node.items]
            case Mapping():
                return self._mapping(node)

    def _scalar(self, node: Scalar) -> Meaning:
        text = node.text
        if "${" in text:
            try:
                text = substitute(text, self.environment)
                self.filled[id(node)] = text
            except VariableError as error:
                self.problems.append((node.position, error.message))
                self.spoiled.add(id(node))
                return text
        return meaning(text) if node.plain else text

    def _mapping(self, node: Mapping) -> dict[str, Value]:
        values: dict[str, Value] = {}
        first: dict[str, Position] = {}
        for key, value in node.entries:
            if not isinstance(key, Scalar):
                self.problems.append((key.position, "a key must be a name"))
            elif key.text in first:
                line = first[key.text].line
                message = f"duplicate key '{named(key.text)}'; it is on line {line} already"
                if key.text == "champion":
                    message += ", and a model has one champion"
                self.problems.append((key.position, message))
            else:
                first[key.text] = key.position
                values[key.text] = self.of(value)
        return values


def find(root: Node, place: Place) -> Found:
    """What stands at a place, or the last thing on the way there."""
    found = Found(None, root)
    for part in place:
        below = _step(found.value, part)
        if below is None:
            break
        found = below
    return found


def _step(node: Node, part: str | int) -> Found | None:
    if isinstance(node, Mapping):
        entry = node.entry(str(part))
        return Found(*entry) if entry else None
    if isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
        return Found(None, node.items[part])
    return None
