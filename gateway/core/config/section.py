"""What all sections of a configuration share: strict, closed, frozen, all problems at once.

A rule over several keys is an after-validator that collects `Problem`s, each at the key that is at
fault, and raises them together with `refuse_all`; the loader reports each at its own position.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError

from gateway.core.config.values import refuse, shown

Place = tuple[str | int, ...]
Problem = tuple[Place, str]


class Section(BaseModel):
    """A mapping of the file. Keys that are not fields are errors.

    `later` names keys of later versions; `found` names fields that no file may set.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    later: ClassVar[frozenset[str]] = frozenset()
    found: ClassVar[frozenset[str]] = frozenset()


def refuse_all(problems: list[Problem]) -> None:
    """Raise the problems found in a section, each with its place inside it; return if none are."""
    if problems:
        text = "; ".join(message for _, message in problems)
        raise PydanticCustomError("problems", "{text}", {"text": text, "problems": problems})


def not_yet(pattern: str, instead: str) -> BeforeValidator:
    """Refuse what only a later version can do, saying so instead of calling it wrong."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and re.match(pattern, value):
            raise refuse(f"{shown(value)} is not available in this version; {instead}")
        return value

    return BeforeValidator(check)
