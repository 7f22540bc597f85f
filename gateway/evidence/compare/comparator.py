"""A rule compiled into the function that compares two decoded answers.

A kind is one function here and a row in `_KINDS`. The common cases (the named tensor's flat data is
the same; whole answers are one object) are decided without a walk: this runs for every stored pair.
Comparing never raises, whatever the answers hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Final

from gateway.evidence.compare.outcome import (
    AGREED,
    Findings,
    LabelFindings,
    NumberFindings,
    Outcome,
)
from gateway.evidence.compare.paths import Place, Step, ignoring
from gateway.evidence.compare.rule import Kind, Rule
from gateway.evidence.compare.tensors import (
    Object,
    by_name,
    find,
    flat,
    outputs_place,
    side_by_side,
)
from gateway.evidence.compare.unordered import Multisets
from gateway.evidence.compare.values import Json, plainly_equal
from gateway.evidence.compare.walk import by_key, in_order, walk

MAX_STORED_PATHS: Final = 20
"""How many differing paths an outcome keeps unless told otherwise; the rest is counted."""


@dataclass(frozen=True, slots=True)
class _Plan:
    rule: Rule
    output: str
    root: Place
    outputs: Place
    max_paths: int | None

    def findings(self) -> Findings:
        if self.rule.kind == "label":
            return LabelFindings(self.max_paths)
        return NumberFindings(self.max_paths, self.rule.absolute, self.rule.relative)


class Comparator:
    """Compares a champion's decoded answer with a challenger's by one rule."""

    __slots__ = ("_compare", "_plan")

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._compare = _KINDS[plan.rule.kind]

    def compare(self, champion: Json, challenger: Json) -> Outcome:
        """What differs, by the rule; the answers are not changed."""
        return self._compare(self._plan, champion, challenger)


def compile_rule(rule: Rule, max_paths: int | None = MAX_STORED_PATHS) -> Comparator:
    """Make the comparator of a rule; `max_paths` None keeps every differing path."""
    if max_paths is not None and max_paths < 1:
        raise ValueError("max_paths must be at least 1")
    ignored = ignoring(rule.patterns())
    root = Place("$", ignored)
    return Comparator(_Plan(rule, rule.output or "", root, outputs_place(ignored), max_paths))


def _compare_output(plan: _Plan, champion: Json, challenger: Json) -> Outcome:
    """Kinds `label` and `number`: the named output only, and of a tensor its values only."""
    ours, theirs = find(champion, plan.output), find(challenger, plan.output)
    if ours is None or theirs is None or type(ours[0]) is not type(theirs[0]):
        return _missing(plan, champion, challenger, ours, theirs)
    step, left = ours
    right = theirs[1]
    if isinstance(step, int) and isinstance(left, dict) and isinstance(right, dict):
        return _compare_tensors(plan, step, left, right)
    findings = plan.findings()
    walk([(step, left, right)], plan.root, findings, in_order)
    return findings.outcome()


def _compare_tensors(plan: _Plan, index: int, left: Object, right: Object) -> Outcome:
    ours, theirs = left.get("data"), right.get("data")
    if not (isinstance(ours, list) and isinstance(theirs, list)):
        return _compare_unlike_tensors(plan, index, left, right)
    if plainly_equal(ours, theirs):
        return AGREED
    ours, theirs = flat(ours), flat(theirs)
    findings = plan.findings()
    if len(ours) == len(theirs):
        members = zip(count(), ours, theirs, strict=False)
        walk(members, _data_place(plan.outputs, index), findings, in_order)
    else:
        findings.part(plan.outputs.at(index), "shape")
    return findings.outcome()


def _compare_unlike_tensors(plan: _Plan, index: int, left: Object, right: Object) -> Outcome:
    """One at least has no list of values; where neither has any, nothing is compared either."""
    findings = plan.findings()
    place = plan.outputs.at(index)
    if "data" in left and "data" in right:
        walk([("data", left["data"], right["data"])], place, findings, in_order)
    else:
        findings.part(place, "data")
    return findings.outcome()


@lru_cache(maxsize=256)
def _data_place(outputs: Place, index: int) -> Place:
    return outputs.at(index).at("data")


def _missing(
    plan: _Plan,
    champion: Json,
    challenger: Json,
    ours: tuple[Step, Json] | None,
    theirs: tuple[Step, Json] | None,
) -> Outcome:
    """The output is not in both at the same kind of place.

    In neither is a difference too: nothing was compared, and that must not count as agreement.
    """
    findings = plan.findings()
    for found in (ours, theirs):
        if found is not None and isinstance(found[0], int):
            findings.part(plan.outputs, found[0])
        elif found is not None:
            findings.part(plan.root, found[0])
    if ours is None and theirs is None:
        has_tensors = by_name(champion) is not None or by_name(challenger) is not None
        findings.part(plan.root, "outputs" if has_tensors else plan.output)
    return findings.outcome()


def _compare_json(plan: _Plan, champion: Json, challenger: Json) -> Outcome:
    """Kind `json`: everything; a tensor by its name, its values always in order."""
    if champion is challenger:
        return AGREED
    findings = plan.findings()
    lists = in_order if plan.rule.ordered else Multisets(plan.rule.absolute, plan.rule.relative)
    ours, theirs = by_name(champion), by_name(challenger)
    if ours is None or theirs is None:
        walk([(None, champion, challenger)], plan.root, findings, lists)
        return findings.outcome()
    assert isinstance(champion, dict)
    assert isinstance(challenger, dict)
    rest = by_key(champion, challenger, plan.root, findings)
    walk([one for one in rest if one[0] != "outputs"], plan.root, findings, lists)
    tensors = side_by_side(ours, theirs, plan.outputs, findings)
    walk(tensors, plan.outputs, findings, in_order)
    return findings.outcome()


_KINDS: Final[dict[Kind, Callable[[_Plan, Json, Json], Outcome]]] = {
    "label": _compare_output,
    "number": _compare_output,
    "json": _compare_json,
}
