"""Comparing two decoded answers: what agrees, what differs, where, and by how much."""

import copy
import math

import pytest

from gateway.evidence.compare import MAX_STORED_PATHS, Outcome, Rule, compile_rule
from gateway.evidence.compare.numbers import LARGEST
from gateway.evidence.compare.values import Json

LABEL = Rule("label", "label")
SCORE = Rule("number", "score", absolute=0.01, relative=0.001)
WHOLE = Rule("json", absolute=0.01)


def oip(**outputs: Json) -> dict[str, Json]:
    """An Open Inference answer with these outputs, in this order."""
    tensors = [
        {"name": name, "datatype": "FP64", "shape": [len(data)], "data": data}
        if isinstance(data, list)
        else {"name": name, "datatype": "FP64", "shape": [1], "data": [data]}
        for name, data in outputs.items()
    ]
    return {"model_name": "m", "outputs": tensors}


def compare(rule: Rule, champion: Json, challenger: Json) -> Outcome:
    given = copy.deepcopy([champion, challenger])
    outcome = compile_rule(rule, max_paths=None).compare(champion, challenger)
    assert repr([champion, challenger]) == repr(given)  # answers are read, never changed
    return outcome


def found(rule: Rule, champion: Json, challenger: Json) -> tuple[float | None, list[str]]:
    outcome = compare(rule, champion, challenger)
    assert outcome.agree is (not outcome.paths)
    assert outcome.omitted == 0
    return outcome.difference, list(outcome.paths)


SAME = (0, [])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (0.0, -0.0),
        (2**53, float(2**53)),
        (10**400, 10**400),
        ("yes", "yes"),
        (None, None),
        (True, True),
        (math.nan, -math.nan),
        (math.inf, math.inf),
    ],
)
@pytest.mark.parametrize("rule", [LABEL, Rule("number", "label"), Rule("json")])
def test_equal_values_agree(rule: Rule, one: Json, other: Json) -> None:
    assert found(rule, oip(label=one), oip(label=other)) == SAME
    assert found(rule, {"label": one}, {"label": other}) == SAME


@pytest.mark.parametrize(
    ("one", "other", "numbers_apart"),
    [
        (1, True, None),
        (0, False, None),
        (1, "1", None),
        ("1", True, None),
        (0, None, None),
        ("a", "b", None),
        (True, False, None),
        (1.0, math.nan, None),
        (1.0, math.inf, None),
        (math.inf, -math.inf, None),
        (1, 2, 1),
        (2**53, 2**53 + 1, 1),
        (float(2**53), 2**53 + 1, 1),
        (10**400, 10**400 + 1, 1),
        (10**400, 0.5, LARGEST),
        (1.7e308, -1.7e308, LARGEST),
        (5e-324, 0, 5e-324),
    ],
)
def test_different_values_differ(one: Json, other: Json, numbers_apart: float | None) -> None:
    for left, right in ((one, other), (other, one)):
        assert found(LABEL, {"label": left}, {"label": right}) == (1, ["$.label"])
        for rule in (Rule("number", "label"), Rule("json")):
            assert found(rule, {"label": left}, {"label": right}) == (numbers_apart, ["$.label"])
            place = ["$.outputs[0].data[0]"]
            assert found(rule, oip(label=left), oip(label=right)) == (numbers_apart, place)


def test_booleans_are_no_numbers_wherever_they_stand_in_a_tensor() -> None:
    assert found(LABEL, oip(label=[1, True]), oip(label=[True, 1])) == (
        2,
        ["$.outputs[0].data[0]", "$.outputs[0].data[1]"],
    )
    assert found(LABEL, oip(label=[True, 0]), oip(label=[True, 0.0])) == SAME


@pytest.mark.parametrize(
    ("rule", "one", "other", "want"),
    [
        (Rule("number", "x"), 1, 1.5, (0.5, ["$.x"])),
        (Rule("number", "x", absolute=0.5), 1, 1.5, (0.5, [])),
        (Rule("number", "x", absolute=0.25), 1, 1.5, (0.5, ["$.x"])),
        (Rule("number", "x", relative=0.5), 1, 2, (1, [])),
        (Rule("number", "x", relative=0.25), 1, 2, (1, ["$.x"])),
        (Rule("number", "x", absolute=0.1, relative=0.5), -2, -1, (1, [])),
        (Rule("number", "x", absolute=1, relative=1e-9), -0.5, 0.5, (1, [])),
        (Rule("number", "x", absolute=1), 2**60, 2**60 + 1, (1, [])),
        (Rule("number", "x", absolute=1), 2**60, 2**60 + 2, (2, ["$.x"])),
        (Rule("number", "x", relative=0.5), 10**400, 10**400 * 2, (LARGEST, [])),
        (Rule("number", "x", relative=0.5), 1.7e308, -1.7e308, (LARGEST, ["$.x"])),
    ],
)  # fmt: skip
def test_numbers_agree_within_the_larger_tolerance(
    rule: Rule, one: Json, other: Json, want: tuple[float, list[str]]
) -> None:
    assert found(rule, {"x": one}, {"x": other}) == want
    assert found(rule, {"x": other}, {"x": one}) == want


def test_difference_is_the_largest_even_when_only_another_is_too_large() -> None:
    rule = Rule("number", "score", relative=0.01)
    champion, challenger = oip(score=[1000.0, 1.0]), oip(score=[1005.0, 1.5])
    assert found(rule, champion, challenger) == (5.0, ["$.outputs[0].data[1]"])


def test_tolerance_is_not_for_labels() -> None:
    rule = Rule("label", "x", absolute=1, relative=1)
    assert found(rule, {"x": 1}, {"x": 1.5}) == (1, ["$.x"])


def test_only_the_named_output_counts_and_of_a_tensor_only_its_values() -> None:
    champion = {"id": "a", "outputs": [
        {"name": "score", "datatype": "FP32", "shape": [1], "data": [0.5]},
        {"name": "label", "datatype": "INT64", "shape": [2, 1], "data": [1, 2]},
    ]}  # fmt: skip
    challenger = {"id": "b", "outputs": [
        {"name": "label", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0], "parameters": {}},
    ]}  # fmt: skip
    assert found(LABEL, champion, challenger) == SAME
    # Matched by name; named by the champion's place.
    assert found(LABEL, champion, oip(label=[1, 3])) == (1, ["$.outputs[1].data[1]"])


@pytest.mark.parametrize("rule", [LABEL, Rule("number", "label"), Rule("json")])
def test_nested_data_is_flattened_row_by_row(rule: Rule) -> None:
    nested, flat = oip(label=[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]), oip(label=list(range(1, 9)))
    nested["outputs"][0]["shape"] = flat["outputs"][0]["shape"] = [2, 2, 2]
    assert found(rule, nested, flat) == SAME
    flat["outputs"][0]["data"][6] = 8
    assert found(rule, nested, flat) == (1, ["$.outputs[0].data[6]"])
    assert found(rule, flat, nested) == (1, ["$.outputs[0].data[6]"])


@pytest.mark.parametrize("rule", [LABEL, Rule("number", "label"), Rule("json")])
def test_another_count_of_values_is_the_shape(rule: Rule) -> None:
    want = (None, ["$.outputs[1].shape"])
    assert found(rule, oip(a=1, label=[1, 2]), oip(a=1, label=[1, 2, 3])) == want
    assert found(rule, oip(a=1, label=[1, 2]), oip(a=1, label=[])) == want
    assert found(rule, oip(a=1, label=[[1], [2]]), oip(a=1, label=[[5, 6, 7]])) == want


def test_a_count_that_differs_hides_no_other_part_of_the_tensor() -> None:
    champion, challenger = oip(label=[1, 2]), oip(label=[1])
    challenger["outputs"][0]["datatype"] = "INT64"
    want = (None, ["$.outputs[0].datatype", "$.outputs[0].shape"])
    assert found(WHOLE, champion, challenger) == want


@pytest.mark.parametrize("rule", [LABEL, Rule("number", "label"), Rule("json")])
@pytest.mark.parametrize(
    ("champion", "challenger", "paths"),
    [
        (oip(label=1), oip(), ["$.outputs[0]"]),
        (oip(a=1, label=1), oip(a=1), ["$.outputs[1]"]),
        (oip(), oip(label=1), ["$.outputs[0]"]),
        (oip(a=1), oip(a=1, label=1), ["$.outputs[1]"]),
        ({"label": 1}, {}, ["$.label"]),
        ({}, {"label": 1}, ["$.label"]),
    ],
)
def test_an_output_that_only_one_has_is_named_by_its_place_there(
    rule: Rule, champion: Json, challenger: Json, paths: list[str]
) -> None:
    assert found(rule, champion, challenger) == (None, paths)


@pytest.mark.parametrize(
    ("champion", "challenger", "paths"),
    [
        ({"label": 1}, [1], ["$.label"]),
        ("down", {"label": 1}, ["$.label"]),
        (oip(label=1), {"label": 1}, ["$.label", "$.outputs[0]"]),
        ({"outputs": [5, {"name": "label", "data": [1]}]}, oip(label=1), []),
        ({"outputs": [{"name": "label"}]}, oip(label=1), ["$.outputs[0].data"]),
        ({"outputs": [{"name": "label", "data": 1}]}, oip(label=1), ["$.outputs[0].data"]),
        (oip(label=[1, {"a": [1]}]), oip(label=[1, {"a": [2]}]), ["$.outputs[0].data[1].a[0]"]),
    ],
)
def test_odd_answers_are_compared_as_far_as_they_go(champion: Json, challenger: Json, paths: list[str]) -> None:
    assert found(LABEL, champion, challenger)[1] == paths


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        (oip(other=1), "$.outputs"),
        ({"other": 1}, "$.label"),
        ({"error": "out of memory"}, "$.label"),
        ([], "$.label"),
        (None, "$.label"),
        ({"outputs": [{"name": "label", "shape": [1]}]}, "$.outputs[0].data"),
    ],
)
def test_an_output_that_neither_has_is_no_agreement(answer: Json, path: str) -> None:
    assert found(LABEL, answer, answer) == (None, [path])
    assert found(LABEL, answer, copy.deepcopy(answer)) == (None, [path])


def test_plain_outputs_may_be_lists_and_objects() -> None:
    rule = Rule("number", "y", absolute=0.1)
    champion = {"y": [{"p": 0.5, "q": [1, 2]}, {"p": 1}]}
    challenger = {"y": [{"p": 0.55, "q": [1, 3]}, {"p": 1}]}
    assert found(rule, champion, challenger) == (1, ["$.y[0].q[1]"])


@pytest.mark.parametrize(
    ("champion", "challenger", "difference", "paths"),
    [
        ({"a": {"b": [1, 2.0]}}, {"a": {"b": [1.0, 2]}}, 0, []),
        ({"a": 1}, {"a": 1.005}, 0.005, []),
        ({"a": 1, "b": 1}, {"a": 1.005, "b": 3}, 2, ["$.b"]),
        ({"a": 1, "b": "x"}, {"a": 3, "b": "y"}, None, ["$.a", "$.b"]),
        ({"a": [1, 2]}, {"a": [1, 2, 3, 4]}, None, ["$.a[2]"]),
        ({"a": [1, 2, 3, 4]}, {"a": [1]}, None, ["$.a[1]"]),
        ({"a": [1, 2, 3]}, {"a": [9, 2]}, None, ["$.a[0]", "$.a[2]"]),
        ({"a": [[]]}, {"a": []}, None, ["$.a[0]"]),
        ({"a": {"x": 1, "y": 2}}, {"a": [1, 2]}, None, ["$.a"]),
        ({"a": {"x": 1}}, {"a": 1}, None, ["$.a"]),
        ({"a": []}, {"a": {}}, None, ["$.a"]),
        ({"a": None}, {}, None, ["$.a"]),
        ({"a": [0, 0, {"z": 1}]}, {"a": [0, 0, {"z": 5}]}, 4, ["$.a[2].z"]),
        ({"a.b": 1, "": 1, "ok_1": 1}, {"a.b": 2, "": 2, "ok_1": 2}, 1,
         ["$.ok_1", "$['']", "$['a.b']"]),
        ({"it's": 1, "a\\b": 1, "\n\x01": 1}, {}, None,
         [r"$['\n\u0001']", r"$['a\\b']", r"$['it\'s']"]),
        ({"1a": 1, "größe": 1}, {}, None, ["$['1a']", "$['größe']"]),
        ([1], [2], 1, ["$[0]"]),
        (1, 2, 1, ["$"]),
        ([], {}, None, ["$"]),
        ("x", None, None, ["$"]),
    ],
)  # fmt: skip
def test_whole_answers(champion: Json, challenger: Json, difference: float | None, paths: list[str]) -> None:
    size, where = found(WHOLE, champion, challenger)
    assert where == paths
    assert size == (difference if difference is None else pytest.approx(difference))


def test_whole_answers_have_their_tensors_matched_by_name() -> None:
    champion, challenger = oip(a=[1, 2], b=3), oip(b=3, a=[1, 2])
    assert found(WHOLE, champion, challenger) == SAME
    challenger["outputs"][1]["data"][1] = 7
    assert found(WHOLE, champion, challenger) == (5, ["$.outputs[0].data[1]"])
    assert found(WHOLE, oip(a=1, b=1), oip(a=1, c=1)) == (None, ["$.outputs[1]"])


def test_tensors_without_a_list_of_values_are_compared_as_they_are() -> None:
    shared_memory = {"name": "a", "shape": [2], "parameters": {"shared_memory_region": "r"}}
    champion, challenger = {"outputs": [shared_memory]}, oip(a=[1, 2])
    assert found(WHOLE, champion, copy.deepcopy(champion)) == SAME
    want = ["$.outputs[0].data", "$.outputs[0].datatype", "$.outputs[0].parameters"]
    assert found(Rule("json", ignore=("$.model_name",)), champion, challenger) == (None, want)


def test_outputs_that_are_no_tensors_are_plain_json() -> None:
    for outputs in ([1, 2], [{"name": "a"}, {"name": "a"}], [{"name": 1}], {"name": "a"}):
        assert found(WHOLE, {"outputs": outputs}, {"outputs": copy.deepcopy(outputs)}) == SAME
    assert found(WHOLE, {"outputs": [1, 2]}, {"outputs": [2, 1]}) == (
        1,
        ["$.outputs[0]", "$.outputs[1]"],
    )


def test_paths_are_sorted_as_text() -> None:
    assert found(LABEL, oip(label=[0] * 12), oip(label=[0, 1, 1, *[0] * 8, 1]))[1] == [
        "$.outputs[0].data[11]",
        "$.outputs[0].data[1]",
        "$.outputs[0].data[2]",
    ]


@pytest.mark.parametrize(
    ("ignore", "paths"),
    [
        ((), ["$.id", "$.list[0].score", "$.list[0].tag", "$.list[1].score", "$['a.b']"]),
        (("$.id",), ["$.list[0].score", "$.list[0].tag", "$.list[1].score", "$['a.b']"]),
        (("$.list[*].score",), ["$.id", "$.list[0].tag", "$['a.b']"]),
        (("$.list[0]",), ["$.id", "$.list[1].score", "$['a.b']"]),
        (("$.list",), ["$.id", "$['a.b']"]),
        (("$.list[*]", "$['a.b']"), ["$.id"]),
        (("$.list.*.tag", '$["a.b"]'), ["$.id", "$.list[0].score", "$.list[1].score"]),
        (("$.list[*].score", "$.list[0].tag"), ["$.id", "$['a.b']"]),
        (("$.list[0].*", "$.list[*].score"), ["$.id", "$['a.b']"]),
        (("$.list[0].score.deeper", "$.other", "$.list[7]"),
         ["$.id", "$.list[0].score", "$.list[0].tag", "$.list[1].score", "$['a.b']"]),
        (("$[*]",), []),
        (("$",), []),
    ],
)  # fmt: skip
def test_ignored_paths_cover_everything_below_them(ignore: tuple[str, ...], paths: list[str]) -> None:
    champion = {"id": 1, "a.b": 1, "list": [{"score": 1, "tag": "x"}, {"score": 2}]}
    challenger = {"id": 2, "a.b": 2, "list": [{"score": 5, "tag": "y"}, {"score": 4}]}
    size, where = found(Rule("json", ignore=ignore), champion, challenger)
    assert where == paths
    assert (size == 0) is (not paths)


def test_what_is_ignored_may_be_missing_or_of_any_type_and_has_no_size() -> None:
    rule = Rule("json", ignore=("$.a", "$.b[*]", "$.n"), absolute=10)
    assert found(rule, {"a": 1, "b": [1, 2], "n": 1}, {"b": [[]], "n": 5}) == SAME
    assert found(rule, {"b": [1]}, {"b": {}}) == (None, ["$.b"])


def test_ignoring_the_first_surplus_place_leaves_the_next() -> None:
    champion, challenger = {"a": [1]}, {"a": [1, 2, 3]}
    assert found(Rule("json", ignore=("$.a[1]",)), champion, challenger)[1] == ["$.a[2]"]
    assert found(Rule("json", ignore=("$.a[1]", "$.a[2]")), champion, challenger) == SAME


@pytest.mark.parametrize(
    ("ignore", "want"),
    [
        ("$.outputs[0].data[0]", (1, ["$.outputs[0].data[1]"])),
        ("$.outputs[*].data", (0, [])),
        ("$.outputs[1]", (2, ["$.outputs[0].data[0]", "$.outputs[0].data[1]"])),
        ("$.outputs", (0, [])),
    ],
)
def test_ignored_paths_hold_for_named_outputs_too(ignore: str, want: tuple[float, list[str]]) -> None:
    rule = Rule("label", "label", ignore=(ignore,))
    assert found(rule, oip(label=[1, 1]), oip(label=[2, 2])) == want


def test_an_ignored_output_may_be_missing() -> None:
    rule = Rule("json", ignore=("$.outputs[1]", "$.outputs[0].shape"))
    assert found(rule, oip(a=[1], b=1), oip(a=[1, 2])) == SAME


def test_deep_nesting_exhausts_nothing() -> None:
    def nested(depth: int, value: Json) -> Json:
        for _ in range(depth):
            value = {"a": [value]}
        return value

    depth = 5_000
    for rule in (WHOLE, Rule("json", ordered=False), Rule("label", "a"), Rule("number", "a")):
        comparator = compile_rule(rule)
        assert comparator.compare(nested(depth, 1), nested(depth, 1)).agree
        (path,) = comparator.compare(nested(depth, 1), nested(depth, "x")).paths
        assert path == "$" + ".a[0]" * (depth if rule.ordered else 1)


def test_a_stored_outcome_keeps_few_paths_and_counts_the_rest() -> None:
    outcome = compile_rule(LABEL).compare(oip(label=[0] * 50), oip(label=[1] * 50))
    assert len(outcome.paths) == MAX_STORED_PATHS
    assert outcome.omitted == 50 - MAX_STORED_PATHS
    assert outcome.difference == 50
    assert not outcome.agree
    assert list(outcome.paths) == sorted(f"$.outputs[0].data[{index}]" for index in range(MAX_STORED_PATHS))


def test_no_paths_at_all_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="max_paths"):
        compile_rule(LABEL, max_paths=0)
