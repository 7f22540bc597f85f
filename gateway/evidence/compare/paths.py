"""JSONPath: writing the place of a difference, reading the places to ignore.

Written: `$.a[2].z`, and `$['a.b']` for a key that is no plain (ASCII) name, quoted as in RFC 9535
section 2.7. Read: those, double quotes, and `[*]` or `.*` for every member; it covers all below it.
Other JSONPath (slices, filters, `..`) is refused by name rather than half understood.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias


class Wildcard(enum.Enum):
    """Every member of a list or an object."""

    ANY = "*"


Step: TypeAlias = "int | str | None"  # an index, a key, or None: the place itself
Pattern: TypeAlias = "tuple[int | str | Wildcard, ...]"

_STEP: Final = re.compile(
    r"""\.(?:(?P<any_name>\*)(?=[.[]|$)|(?P<name>[^.\[\]'"\s]+))
    |\[(?:(?P<index>[0-9]+)|(?P<any_item>\*)
        |'(?P<single>(?:[^'\\]|\\.)*)'|"(?P<double>(?:[^"\\]|\\.)*)")\]""",
    re.VERBOSE | re.DOTALL,
)
_TO_ESCAPE: Final = re.compile(r"['\\\x00-\x1f]")
_ESCAPE: Final = re.compile(r"\\u([0-9A-Fa-f]{4})|\\.", re.DOTALL)
_SHORT_ESCAPES: Final = {
    "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", "'": "\\'", "\\": "\\\\",
}  # fmt: skip
_LONG_ESCAPES: Final = {short: character for character, short in _SHORT_ESCAPES.items()}
_MOST_DIGITS: Final = 18
_BEYOND_ANY_LIST: Final = 10**_MOST_DIGITS


class InvalidPath(ValueError):
    """A path to ignore that cannot be read; the text says which and what is allowed."""


def child(path: str, step: Step) -> str:
    """The path of one member of what `path` names."""
    if type(step) is int:
        return f"{path}[{step}]"
    if step is None:
        return path
    assert isinstance(step, str)
    if step.isascii() and step.isidentifier():
        return f"{path}.{step}"
    return f"{path}['{_TO_ESCAPE.sub(_escaped, step)}']"


def parse(text: str) -> Pattern:
    """Read one path; `InvalidPath` when it is none, or uses more than names, indices and `[*]`."""
    steps: list[int | str | Wildcard] = []
    place = 1
    while text.startswith("$") and place < len(text):
        found = _STEP.match(text, place)
        if found is None:
            break
        steps.append(_step(found))
        place = found.end()
    if not text.startswith("$") or place < len(text):
        raise InvalidPath(f"{text!r} is not a path like $.a, $.a[2], $.a[*].b or $['a.b']")
    return tuple(steps)


def _step(found: re.Match[str]) -> int | str | Wildcard:
    match found.lastgroup:
        case "name":
            return found["name"]
        case "index":
            digits = found["index"]
            return int(digits) if len(digits) <= _MOST_DIGITS else _BEYOND_ANY_LIST
        case "single":
            return _unquoted(found["single"])
        case "double":
            return _unquoted(found["double"])
        case _:
            return Wildcard.ANY


def _unquoted(inner: str) -> str:
    """A quoted name without its escapes; a backslash before anything else just stands for it."""
    text = _ESCAPE.sub(_unescaped, inner)
    # Two escapes of one astral character are two surrogates until they are joined.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else _LONG_ESCAPES.get(found[0], found[0][1:])


def _escaped(found: re.Match[str]) -> str:
    part = found[0]
    return _SHORT_ESCAPES.get(part) or f"\\u{ord(part):04x}"


@dataclass(slots=True, eq=False)
class _Node:
    members: dict[int | str, _Node] = field(default_factory=dict)
    every: _Node | None = None
    covered: bool = False


Ignored: TypeAlias = "tuple[_Node, ...]"
"""Which ignored paths may still match below a place; empty: none, `EVERYTHING`: all is ignored."""

NOTHING: Final[Ignored] = ()
# Not a tuple display: compiled code keeps such a one unboxed, and it would not be the same object twice.
EVERYTHING: Final[Ignored] = tuple([_Node(covered=True)])  # noqa: C409


def ignoring(patterns: Sequence[Pattern]) -> Ignored:
    """The starting state, at `$`, for these paths."""
    root = _Node()
    for pattern in patterns:
        node = root
        for step in pattern:
            if isinstance(step, Wildcard):
                node.every = node.every or _Node()
                node = node.every
            else:
                node = node.members.setdefault(step, _Node())
        node.covered = True
    if root.covered:
        return EVERYTHING
    return (root,) if patterns else NOTHING


class Place(NamedTuple):
    """Where in the answers a value stands, and which ignored paths may still match below it."""

    path: str
    ignored: Ignored

    def at(self, step: Step) -> Place:
        """One step down."""
        return Place(child(self.path, step), below(self.ignored, step))

    def ignores(self, step: Step) -> bool:
        """Whether the member at `step`, and with it all below, is ignored."""
        return below(self.ignored, step) is EVERYTHING


def below(ignored: Ignored, step: Step) -> Ignored:
    """The state one step down."""
    if not ignored or ignored is EVERYTHING or step is None:
        return ignored
    reached: list[_Node] = []
    for node in ignored:
        for candidate in (node.members.get(step), node.every):
            if candidate is not None:
                if candidate.covered:
                    return EVERYTHING
                reached.append(candidate)
    return tuple(reached)
