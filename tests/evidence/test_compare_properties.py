"""What holds for every pair of answers and every rule."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from gateway.evidence.compare import Outcome, Rule, compile_rule
from gateway.evidence.compare.paths import Wildcard, parse
from gateway.evidence.compare.values import Json

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "a", "1", "true"])
    | st.text(max_size=3)
)
keys = st.sampled_from(["a", "b", "a.b", "id", "outputs", "name", "data", "shape", "label"])
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)
numbers = st.integers(-3, 3) | st.floats(-3, 3)
data_lists = st.recursive(
    st.lists(numbers | scalars, max_size=5), lambda rows: st.lists(rows, max_size=3), max_leaves=4
)
tensors = st.builds(
    lambda name, data, shape: {"name": name, "datatype": "FP64", "shape": shape, "data": data},
    st.sampled_from(["label", "score"]),
    data_lists,
    st.lists(st.integers(0, 3), max_size=3),
)
oip_answers = st.builds(
    lambda model, outputs: {"model_name": model, "outputs": outputs},
    st.sampled_from(["m", "n"]),
    st.lists(tensors, max_size=3),
)
answers = oip_answers | st.builds(lambda tree: {"label": tree}, trees) | trees
tolerances = st.sampled_from([0.0, 1e-9, 0.5, 2.0])
patterns = st.sampled_from(
    ["$.a", "$.id", "$['a.b']", "$.a[*].b", "$[*].a", "$.label[*]", "$.label[0]", "$.outputs[0].data",
     "$.outputs[*].shape", "$.outputs[*].data[1]", "$.label.a", "$"]
)  # fmt: skip
rules = st.builds(
    Rule,
    kind=st.sampled_from(["label", "number", "json"]),
    output=st.just("label"),
    absolute=tolerances,
    relative=tolerances,
    ignore=st.lists(patterns, max_size=2).map(tuple),
) | st.builds(
    Rule,
    kind=st.just("json"),
    absolute=tolerances,
    ignore=st.lists(patterns, max_size=2).map(tuple),
    ordered=st.just(False),
)


def compare(rule: Rule, champion: Json, challenger: Json) -> Outcome:
    return compile_rule(rule, max_paths=None).compare(champion, challenger)


def near(answer: Json, data: st.DataObject) -> Json:
    """A copy of the answer with a few values exchanged, as a challenger's tends to be."""
    if isinstance(answer, list):
        return [near(item, data) for item in answer]
    if isinstance(answer, dict):
        return {key: near(item, data) for key, item in answer.items()}
    return data.draw(scalars) if data.draw(st.integers(0, 4)) == 0 else answer


def covers(pattern: tuple[int | str | Wildcard, ...], path: tuple[int | str | Wildcard, ...]) -> bool:
    return len(pattern) <= len(path) and all(
        step is Wildcard.ANY or step == place for step, place in zip(pattern, path, strict=False)
    )


@given(rules.filter(lambda rule: rule.kind == "json"), answers)
def test_an_answer_agrees_with_itself(rule: Rule, answer: Json) -> None:
    for twin in (answer, copy.deepcopy(answer)):
        assert compare(rule, answer, twin) == Outcome(True, 0, ())


@given(rules, oip_answers)
def test_a_named_output_agrees_with_itself(rule: Rule, answer: Json) -> None:
    answer["outputs"].append({"name": "label", "data": [1]})
    assert compare(rule, answer, copy.deepcopy(answer)) == Outcome(True, 0, ())


@given(rules, answers, st.data())
def test_agreement_is_symmetric_and_is_having_no_paths(rule: Rule, one: Json, data: st.DataObject) -> None:
    other = data.draw(answers | st.just(near(one, data)))
    there, back = compare(rule, one, other), compare(rule, other, one)
    for outcome in (there, back):
        assert outcome.agree is (outcome.paths == ())
        assert list(outcome.paths) == sorted(set(outcome.paths))
        assert outcome.difference is None or outcome.difference >= 0
        assert outcome.difference is not None or not outcome.agree
    # An index to ignore is the champion's, and so is every path: with these, sides are not alike.
    if not any("outputs[0]" in path or "label[0]" in path for path in rule.ignore):
        assert there.agree is back.agree
        assert there.difference == back.difference


@given(rules.filter(lambda rule: rule.ordered), answers, patterns, st.data())
def test_ignoring_one_more_path_takes_away_what_it_covers_and_nothing_else(
    rule: Rule, champion: Json, more: str, data: st.DataObject
) -> None:
    challenger = data.draw(answers | st.just(near(champion, data)))
    narrower = Rule(rule.kind, rule.output, rule.absolute, rule.relative, (*rule.ignore, more), rule.ordered)
    before, after = compare(rule, champion, challenger), compare(narrower, champion, challenger)
    kept = {path for path in before.paths if not covers(parse(more), parse(path))}
    moved = set(after.paths) - kept
    assert kept <= set(after.paths)
    # Where a list is longer, its first place that is not ignored is the one that differs.
    for path in moved:
        *parent, index = parse(path)
        assert isinstance(index, int)
        assert any(parse(gone)[:-1] == tuple(parent) for gone in set(before.paths) - kept)


@given(rules, data_lists, data_lists, st.booleans())
def test_nesting_of_data_makes_no_difference(
    rule: Rule, one: list[Json], other: list[Json], tensor_is_alone: bool
) -> None:
    def answer(data: list[Json]) -> Json:
        extra = [] if tensor_is_alone else [{"name": "score", "data": [1]}]
        return {"outputs": [{"name": "label", "shape": [2], "data": data}, *extra]}

    def flattened(data: Json) -> list[Json]:
        return [leaf for item in data for leaf in flattened(item)] if isinstance(data, list) else [data]

    nested = compare(rule, answer(one), answer(other))
    assert nested == compare(rule, answer(flattened(one)), answer(flattened(other)))
    assert nested == compare(rule, answer(one), answer(flattened(other)))


@given(rules, answers, answers, st.integers(1, 3))
def test_a_bound_on_paths_changes_nothing_but_their_number(
    rule: Rule, champion: Json, challenger: Json, most: int
) -> None:
    whole = compare(rule, champion, challenger)
    bounded = compile_rule(rule, max_paths=most).compare(champion, challenger)
    assert (bounded.agree, bounded.difference) == (whole.agree, whole.difference)
    assert len(bounded.paths) == min(most, len(whole.paths))
    assert set(bounded.paths) <= set(whole.paths)
    assert (bounded.omitted > 0) >= (len(whole.paths) > most)
