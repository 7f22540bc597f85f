"""What the routing file says under `compare:`, as a value that is known to be sound.

A rule that cannot mean anything (a negative tolerance, an unreadable path, a kind that needs an
output and has none) is refused here, with a sentence for the operator, never during traffic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from gateway.evidence.compare.paths import InvalidPath, Pattern, parse

Kind: TypeAlias = Literal["label", "number", "json"]
KINDS: Final[tuple[Kind, ...]] = ("label", "number", "json")


class InvalidRule(ValueError):
    """A rule that cannot be used; `key` is the key of `compare:` at fault."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Rule:
    """How two answers are compared; `ordered=False` (only for `json`) takes lists as multisets."""

    kind: Kind
    output: str | None = None
    absolute: float = 0.0
    relative: float = 0.0
    ignore: tuple[str, ...] = ()
    ordered: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidRule("kind", f"must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.kind != "json" and not self.output:
            raise InvalidRule("output", f"is needed for kind {self.kind}: which output to compare")
        if self.kind != "json" and not self.ordered:
            raise InvalidRule("order", "can be any only for kind json")
        for key, value in (("absolute", self.absolute), ("relative", self.relative)):
            if not (math.isfinite(value) and value >= 0):
                raise InvalidRule(f"tolerance.{key}", f"must be a number >= 0, not {value!r}")
        self.patterns()

    def patterns(self) -> tuple[Pattern, ...]:
        """The paths to ignore, read."""
        try:
            return tuple(parse(path) for path in self.ignore)
        except InvalidPath as error:
            raise InvalidRule("ignore", str(error)) from error
