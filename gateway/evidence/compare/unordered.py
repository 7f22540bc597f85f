"""Lists as multisets, for `order: any`: which item of one belongs to which of the other.

Items are grouped by skeleton: the item with every number blanked out, and without what is ignored.
Numbers in a list are matched in ascending order within the tolerance, as many as can be. Others
of one skeleton are matched where they are the same, then in the order of their numbers.
A matched pair is compared under the champion's index; an item left over differs, at its own index.
Deterministic, the same with the sides swapped, and O(n log n): fingerprints are remembered.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias

from gateway.evidence.compare.numbers import distance
from gateway.evidence.compare.outcome import Findings
from gateway.evidence.compare.paths import EVERYTHING, Ignored, Place, Step, below
from gateway.evidence.compare.values import CONTAINERS, Json, Number, is_number
from gateway.evidence.compare.walk import Members

_NUMBERS_TO_SORT_BY: Final = 16


class _Fingerprint(NamedTuple):
    """`skeleton` decides the group; `numbers` and then `exact` the order within it."""

    skeleton: bytes
    numbers: tuple[Number, ...]
    exact: bytes


class _Item(NamedTuple):
    numbers: tuple[Number, ...]
    exact: bytes
    at: int


_Groups: TypeAlias = "dict[bytes, list[_Item]]"
_Matches: TypeAlias = "Iterator[tuple[_Item | None, _Item | None]]"
_A_NUMBER: Final = b"#"


class Multisets:
    """Pairs lists without regard to order; holds the fingerprints of one comparison."""

    __slots__ = ("_absolute", "_known", "_relative")

    def __init__(self, absolute: float, relative: float) -> None:
        self._absolute = absolute
        self._relative = relative
        self._known: dict[tuple[int, Ignored], _Fingerprint] = {}

    def __call__(self, left: list[Json], right: list[Json], place: Place, findings: Findings) -> Members:
        ours, theirs = self._grouped(left, place.ignored), self._grouped(right, place.ignored)
        pairs: list[tuple[Step, Json, Json]] = []
        for skeleton in sorted(ours.keys() | theirs.keys()):
            match = self._match_numbers if skeleton == _A_NUMBER else _match_items
            for one, other in match(ours.get(skeleton, []), theirs.get(skeleton, [])):
                if one is None or other is None:
                    (alone,) = filter(None, (one, other))
                    findings.part(place, alone.at)
                else:
                    pairs.append((one.at, left[one.at], right[other.at]))
        return pairs

    def _grouped(self, items: list[Json], ignored: Ignored) -> _Groups:
        groups: _Groups = {}
        for index, item in enumerate(items):
            inside = below(ignored, index)
            if inside is not EVERYTHING:
                skeleton, numbers, exact = self._fingerprint(item, inside)
                groups.setdefault(skeleton, []).append(_Item(numbers, exact, index))
        for group in groups.values():
            group.sort()
        return groups

    def _match_numbers(self, ours: list[_Item], theirs: list[_Item]) -> _Matches:
        alone: tuple[list[_Item], list[_Item]] = ([], [])
        left, right = iter(ours), iter(theirs)
        one, other = next(left, None), next(right, None)
        while one is not None and other is not None:
            (a,), (b,) = one.numbers, other.numbers
            if a == b or distance(a, b, self._absolute, self._relative)[1]:
                yield one, other
                one, other = next(left, None), next(right, None)
            elif a < b:
                alone[0].append(one)
                one = next(left, None)
            else:
                alone[1].append(other)
                other = next(right, None)
        alone[0].extend(_remaining(one, left))
        alone[1].extend(_remaining(other, right))
        yield from _in_turn(*alone)

    def _fingerprint(self, value: Json, ignored: Ignored) -> _Fingerprint:
        if type(value) not in CONTAINERS:
            return _fingerprint_of_scalar(value)
        known = self._known.get((id(value), ignored))
        if known is not None:
            return known
        pending = [_Pending(None, value, ignored)]
        while True:
            top = pending[-1]
            inner = _next_inner(top)
            if inner is not None:
                pending.append(inner)
                continue
            done = self._known[id(top.value), top.ignored] = top.sealed()
            pending.pop()
            if not pending:
                return done
            pending[-1].parts.append((top.step, done))


class _Pending:
    """A container whose fingerprint is being made from those of its members."""

    __slots__ = ("ignored", "parts", "rest", "step", "value")

    def __init__(self, step: Step, value: Json, ignored: Ignored) -> None:
        members: Iterable[tuple[Step, Json]] = value.items() if isinstance(value, dict) else enumerate(_as_list(value))
        self.step = step
        self.value = value
        self.ignored = ignored
        self.rest: Iterator[tuple[Step, Json]] = iter(members)
        self.parts: list[tuple[Step, _Fingerprint]] = []

    def sealed(self) -> _Fingerprint:
        if isinstance(self.value, dict):
            parts = sorted((str(step).encode(errors="surrogatepass"), p) for step, p in self.parts)
        else:
            parts = [(b"", part) for part in sorted(part for _, part in self.parts)]
        tag = b"{" if isinstance(self.value, dict) else b"["
        skeleton = tag + b"".join(_framed(key) + _framed(part.skeleton) for key, part in parts)
        exact = b"".join(_framed(part.exact) for _, part in parts)
        numbers: list[Number] = []
        for _, part in parts:
            numbers.extend(part.numbers[: _NUMBERS_TO_SORT_BY - len(numbers)])
        return _Fingerprint(_digest(skeleton), tuple(numbers), _digest(exact))


def _next_inner(top: _Pending) -> _Pending | None:
    """Take in members of a container up to the next container, whose fingerprint must come first."""
    for step, member in top.rest:
        inside = below(top.ignored, step)
        if inside is EVERYTHING:
            continue
        if type(member) in CONTAINERS:
            return _Pending(step, member, inside)
        top.parts.append((step, _fingerprint_of_scalar(member)))
    return None


def _match_items(ours: list[_Item], theirs: list[_Item]) -> _Matches:
    """First the same with the same, then what is left in the order of its numbers."""
    waiting: dict[bytes, list[_Item]] = {}
    for item in reversed(theirs):
        waiting.setdefault(item.exact, []).append(item)
    left: list[_Item] = []
    for item in ours:
        twins = waiting.get(item.exact)
        if twins:
            yield item, twins.pop()
        else:
            left.append(item)
    taken = {item.at for twins in waiting.values() for item in twins}
    yield from _in_turn(left, [item for item in theirs if item.at in taken])


def _in_turn(ours: list[_Item], theirs: list[_Item]) -> _Matches:
    yield from zip(ours, theirs, strict=False)
    for item in ours[len(theirs) :]:
        yield item, None
    for item in theirs[len(ours) :]:
        yield None, item


def _remaining(current: _Item | None, rest: Iterator[_Item]) -> Iterator[_Item]:
    if current is not None:
        yield current
    yield from rest


def _fingerprint_of_scalar(value: Json) -> _Fingerprint:
    if is_number(value):
        assert isinstance(value, int | float)
        # Python gives 1 and 1.0 the same hash, in every process.
        return _Fingerprint(_A_NUMBER, (value,), struct.pack("<q", hash(value)))
    if isinstance(value, str):
        return _Fingerprint(b'"' + value.encode(errors="surrogatepass"), (), b"")
    return _Fingerprint(repr(value).encode(), (), b"")


def _as_list(value: Json) -> list[Json]:
    assert isinstance(value, list)
    return value


def _framed(part: bytes) -> bytes:
    return len(part).to_bytes(8, "little") + part


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()
