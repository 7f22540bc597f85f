"""Two JSON values side by side, in document order.

Iterative, so that no nesting exhausts the interpreter's stack; a path is written only where a value
differs or a container is entered. A frame is what is left of one pair of containers, and its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import TypeAlias

from gateway.evidence.compare.outcome import Findings
from gateway.evidence.compare.paths import EVERYTHING, Place, Step
from gateway.evidence.compare.values import CONTAINERS, Json, plainly_equal

Members: TypeAlias = "Iterable[tuple[Step, Json, Json]]"
Frame: TypeAlias = "tuple[Iterator[tuple[Step, Json, Json]], Place]"
PairLists: TypeAlias = Callable[["list[Json]", "list[Json]", Place, Findings], Members]


def walk(members: Members, place: Place, findings: Findings, lists: PairLists) -> None:
    """Compare members of the value at `place`, each (step, champion's, challenger's), and below."""
    frames: list[Frame] = [(iter(members), place)]
    while frames:
        rest, place = frames[-1]
        for step, left, right in rest:
            kind = type(left)
            if left is right or (kind is list and plainly_equal(left, right)):
                continue
            if kind is not type(right) or kind not in CONTAINERS:
                # Within one type, Python's equality is JSON's, and most values are equal.
                if kind is not type(right) or left != right:
                    findings.values(left, right, place, step)
            else:
                inside = place.at(step)
                if inside.ignored is not EVERYTHING:
                    frames.append((iter(_members(left, right, inside, findings, lists)), inside))
                    break
        else:
            frames.pop()


def in_order(left: list[Json], right: list[Json], place: Place, findings: Findings) -> Members:
    """Pair lists by place; where one is longer, the first place that only it has differs."""
    shorter, longer = len(left), len(right)
    if shorter > longer:
        shorter, longer = longer, shorter
    for index in range(shorter, longer):
        if not place.ignores(index):
            findings.part(place, index)
            break
    return zip(count(), left, right, strict=False)


def by_key(
    left: dict[str, Json], right: dict[str, Json], place: Place, findings: Findings
) -> list[tuple[Step, Json, Json]]:
    """Pair objects by key; a key that only one has differs."""
    if left.keys() != right.keys():
        for one, other in ((left, right), (right, left)):
            for key in one:
                if key not in other:
                    findings.part(place, key)
    return [(key, value, right[key]) for key, value in left.items() if key in right]


def _members(left: Json, right: Json, place: Place, findings: Findings, lists: PairLists) -> Members:
    if isinstance(left, list) and isinstance(right, list):
        return lists(left, right, place, findings)
    assert isinstance(left, dict)
    assert isinstance(right, dict)
    return by_key(left, right, place, findings)
