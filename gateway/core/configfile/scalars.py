"""What a scalar means: the YAML 1.2 core schema, and `${VAR}` from the environment.

Only `true` and `false` are booleans, so `mode: off` is a text. A variable stands for text inside a
value: it cannot bring structure with it, and a value left unquoted means what it would mean if
the variable's text stood there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

Meaning = str | int | float | bool | None

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = {"0o": (re.compile(r"0o[0-7]+"), 8), "0x": (re.compile(r"0x[0-9a-fA-F]+"), 16)}
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_FIRST_OF_A_NUMBER = frozenset("-+.0123456789")
MOST_DIGITS = 18

_VARIABLE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class VariableError(Exception):
    """A `${…}` that stands for nothing; `reference` is how it begins in the file."""

    def __init__(self, reference: str, message: str) -> None:
        super().__init__(message)
        self.reference = reference
        self.message = message


def meaning(text: str) -> Meaning:
    """What a plain scalar means."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    return _number(text) if text[0] in _FIRST_OF_A_NUMBER else text


def substitute(text: str, environment: Mapping[str, str]) -> str:
    """The text with its variables filled in; VariableError for the first that cannot be."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if not match[2] or not _VARIABLE_NAME.fullmatch(match[1]):
            raise VariableError("${", "expected ${NAME}; write $${ for a literal ${")
        found = environment.get(match[1])
        if found is None:
            raise VariableError(match[0], f"environment variable {match[1]} is not set")
        if not found.isascii() and found.encode(errors="replace").decode() != found:
            raise VariableError(match[0], f"environment variable {match[1]} is not UTF-8")
        return found

    return _VARIABLE.sub(value, text)


def _number(text: str) -> Meaning:
    if _INTEGER.fullmatch(text):
        # What no key can hold anyway; as a float it is refused in the same words, at no cost.
        return int(text) if len(text) <= MOST_DIGITS else float(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "", 1))
    pattern, base = _BASED.get(text[:2], (None, 10))
    if pattern and pattern.fullmatch(text) and len(text) <= MOST_DIGITS:
        return int(text, base)
    return text
