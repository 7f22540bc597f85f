"""Tensors of the Open Inference Protocol in an answer: found by name, their data in a flat list.

Nested `data` is flattened row by row: [[1, 2], [3, 4]] and [1, 2, 3, 4] hold the same values at the
same places; what tells tensors of another size apart is the count of values, `….shape`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from gateway.evidence.compare.outcome import Findings
from gateway.evidence.compare.paths import Ignored, Place, Step, below
from gateway.evidence.compare.values import Json

Object: TypeAlias = "dict[str, Json]"


def outputs_place(ignored: Ignored) -> Place:
    """The place of `outputs[]`, under what is ignored at `$`."""
    return Place("$.outputs", below(ignored, "outputs"))


def find(answer: Json, name: str) -> tuple[Step, Json] | None:
    """The output `name`: (index, tensor) in `outputs[]`, or else (name, value) at the top level."""
    if not isinstance(answer, dict):
        return None
    outputs = answer.get("outputs")
    if isinstance(outputs, list):
        for index, tensor in enumerate(outputs):
            if isinstance(tensor, dict) and tensor.get("name") == name:
                return index, tensor
    return (name, answer[name]) if name in answer else None


def by_name(answer: Json) -> dict[str, tuple[int, Object]] | None:
    """All outputs by name, in order; None unless each is an object with a name of its own."""
    outputs = answer.get("outputs") if isinstance(answer, dict) else None
    if not isinstance(outputs, list):
        return None
    named: dict[str, tuple[int, Object]] = {}
    for index, tensor in enumerate(outputs):
        name = tensor.get("name") if isinstance(tensor, dict) else None
        if isinstance(tensor, dict) and isinstance(name, str):
            named[name] = (index, tensor)
    return named if len(named) == len(outputs) else None


def flat(data: list[Json]) -> list[Json]:
    """Nested lists as one, row by row; the same list when it is flat already."""
    if list not in map(type, data):
        return data
    values: list[Json] = []
    rows = [iter(data)]
    while rows:
        for item in rows[-1]:
            if isinstance(item, list):
                rows.append(iter(item))
                break
            values.append(item)
        else:
            rows.pop()
    return values


def side_by_side(
    left: dict[str, tuple[int, Object]],
    right: dict[str, tuple[int, Object]],
    outputs: Place,
    findings: Findings,
) -> Iterator[tuple[Step, Json, Json]]:
    """Tensors of the same name under the champion's index; one that has no partner differs."""
    for name, (index, tensor) in left.items():
        if name not in right:
            findings.part(outputs, index)
            continue
        ours, theirs = tensor, right[name][1]
        one, other = _values(ours), _values(theirs)
        if one is not None and other is not None:
            if len(one) != len(other):
                findings.part(outputs.at(index), "shape")
                ours, theirs = _without_values(ours), _without_values(theirs)
            elif one is not ours["data"] or other is not theirs["data"]:
                ours, theirs = {**ours, "data": one}, {**theirs, "data": other}
        yield index, ours, theirs
    for name, (index, _) in right.items():
        if name not in left:
            findings.part(outputs, index)


def _values(tensor: Object) -> list[Json] | None:
    data = tensor.get("data")
    return flat(data) if isinstance(data, list) else None


def _without_values(tensor: Object) -> Object:
    return {key: value for key, value in tensor.items() if key not in ("shape", "data")}
