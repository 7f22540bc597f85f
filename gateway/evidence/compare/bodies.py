"""Two answers as they came over the wire, decoded and compared.

Equal bytes are decoded once: they still have to be a readable answer with what the rule compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.evidence.compare.answers import Body, Undecodable, decode
from gateway.evidence.compare.comparator import Comparator
from gateway.evidence.compare.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Uncompared:
    """A pair that could not be compared: whose answer is at fault, and how."""

    role: Literal["champion", "challenger"]
    cause: Undecodable


def compare_bodies(comparator: Comparator, champion: Body, challenger: Body) -> Outcome | Uncompared:
    """Compare two bodies; the champion's is looked at first."""
    ours = decode(champion)
    if isinstance(ours, Undecodable):
        return Uncompared("champion", ours)
    if champion.content == challenger.content and champion.head_length == challenger.head_length:
        return comparator.compare(ours, ours)
    theirs = decode(challenger)
    if isinstance(theirs, Undecodable):
        return Uncompared("challenger", theirs)
    return comparator.compare(ours, theirs)
