"""`order: any`: lists as multisets."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.evidence.compare import Rule, compile_rule
from gateway.evidence.compare.values import Json


def found(
    champion: Json, challenger: Json, absolute: float = 0.0, ignore: tuple[str, ...] = ()
) -> tuple[float | None, list[str]]:
    rule = Rule("json", absolute=absolute, ignore=ignore, ordered=False)
    outcome = compile_rule(rule, max_paths=None).compare(champion, challenger)
    return outcome.difference, list(outcome.paths)


@pytest.mark.parametrize(
    ("champion", "challenger", "want"),
    [
        ([1, 2, 3], [3, 1.0, 2], (0, [])),
        (["a", None, True, 1, [], {}], [{}, [], 1, True, None, "a"], (0, [])),
        ([1, True], [True, 1], (0, [])),
        ([1, 1, 2], [1, 2, 2], (1, ["$[1]"])),
        ([1], [True], (None, ["$[0]"])),
        ([True, 1], [True, True], (None, ["$[1]"])),
        (["a", "b"], ["b", "c"], (None, ["$[0]", "$[1]"])),
        (["a"], ["a", "a"], (None, ["$[1]"])),
        (["a", "b", "c"], ["c"], (None, ["$[0]", "$[1]"])),
        ([1, 2, 9], [2, 1], (None, ["$[2]"])),
        ([5, 1], [1, 6], (1, ["$[0]"])),
        ([10**400, 1], [1, 10**400], (0, [])),
        ({"a": [{"k": "x", "v": 1}, {"k": "y", "v": 2}]},
         {"a": [{"k": "y", "v": 2}, {"k": "x", "v": 1}]}, (0, [])),
        ({"a": [{"k": "x", "v": 1}, {"k": "y", "v": 2}]},
         {"a": [{"k": "y", "v": 5}, {"k": "x", "v": 1}]}, (3, ["$.a[1].v"])),
        ({"a": [{"v": 1}, {"v": 2}, {"v": 3}]},
         {"a": [{"v": 3}, {"v": 9}, {"v": 2}]}, (8, ["$.a[0].v"])),
        ([[1, 2], [3, 4]], [[4, 3], [2, 1]], (0, [])),
        ([[["x"], ["y", "z"]]], [[["z", "y"], ["x"]]], (0, [])),
        ([{"a": 1}], [{"a": "1"}], (None, ["$[0]"])),
        ([{"a": 1}, 5], [5, {"b": 1}], (None, ["$[0]", "$[1]"])),
    ],
)  # fmt: skip
def test_lists_are_multisets(champion: Json, challenger: Json, want: tuple[float | None, list[str]]) -> None:
    assert found(champion, challenger) == want


@pytest.mark.parametrize(
    ("champion", "challenger", "absolute", "want"),
    [
        ([0, 1], [1, 2], 1, (1, [])),
        ([0, 10, 20], [21, 1, 11], 1, (1, [])),
        ([0, 10], [11, 5], 1, (5, ["$[0]"])),
        ([0, 100], [99.5], 1, (None, ["$[0]"])),
        ([{"v": 1.0}, {"v": 2.0}], [{"v": 2.001}, {"v": 1.001}], 0.01, (pytest.approx(0.001), [])),
    ],
)
def test_numbers_find_a_partner_within_the_tolerance(
    champion: Json, challenger: Json, absolute: float, want: tuple[float | None, list[str]]
) -> None:
    assert found(champion, challenger, absolute) == want


def test_ignored_parts_do_not_keep_items_apart() -> None:
    champion = {"a": [{"id": 1, "v": "x"}, {"id": 2, "v": "y"}]}
    challenger = {"a": [{"id": 7, "v": "y"}, {"v": "x"}]}
    assert found(champion, challenger, ignore=("$.a[*].id",)) == (0, [])
    assert found({"a": [1, 2]}, {"a": ["x"]}, ignore=("$.a[*]",)) == (0, [])


def test_the_values_of_a_tensor_keep_their_places() -> None:
    champion = {"outputs": [{"name": "x", "shape": [2], "data": [1, 2]}], "tags": ["a", "b"]}
    challenger = {"outputs": [{"name": "x", "shape": [2], "data": [2, 1]}], "tags": ["b", "a"]}
    assert found(champion, challenger) == (1, ["$.outputs[0].data[0]", "$.outputs[0].data[1]"])


def test_long_rows_are_told_apart_beyond_the_numbers_they_are_sorted_by() -> None:
    rows = [[0] * 40 + [n] for n in range(10)]
    assert found({"a": rows}, {"a": rows[::-1]}) == (0, [])


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
trees = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=15)


def shuffled(value: Json, data: st.DataObject) -> Json:
    if isinstance(value, list):
        return data.draw(st.permutations([shuffled(item, data) for item in value]))
    if isinstance(value, dict):
        return {key: shuffled(item, data) for key, item in value.items()}
    return value


@given(trees, st.data())
def test_any_shuffle_of_any_list_agrees(tree: Json, data: st.DataObject) -> None:
    assert found({"t": tree}, {"t": shuffled(tree, data)}) == (0, [])


@given(st.lists(st.integers(-20, 20), max_size=6), st.lists(st.integers(-20, 20), max_size=6))
def test_lists_of_numbers_agree_exactly_when_sorted_lists_do(champion: list[int], challenger: list[int]) -> None:
    for tolerance in (0, 1, 3):
        pairs = zip(sorted(champion), sorted(challenger), strict=False)
        want = len(champion) == len(challenger) and all(abs(a - b) <= tolerance for a, b in pairs)
        assert (found(champion, challenger, tolerance)[1] == []) is want


@given(trees, trees)
def test_sides_may_be_swapped(one: Json, other: Json) -> None:
    there, back = found({"t": [one]}, {"t": [other]}), found({"t": [other]}, {"t": [one]})
    assert (there[1] == []) is (back[1] == [])
    assert there[0] == back[0]


def test_the_same_item_many_times_is_one_object_in_memory() -> None:
    item: Json = {"a": [1, "x"]}
    assert found([item] * 5, copy.deepcopy([item] * 5)) == (0, [])
