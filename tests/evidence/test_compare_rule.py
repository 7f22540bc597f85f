"""Rules and the paths in them: what is refused, and that what the configuration accepts is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.config.names import IGNORE_PATTERN
from gateway.evidence.compare import InvalidRule, Rule
from gateway.evidence.compare.paths import InvalidPath, Wildcard, child, parse


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("$", ()),
        ("$.a", ("a",)),
        ("$.a_1[2].z", ("a_1", 2, "z")),
        ("$.größe", ("größe",)),
        ("$.model-version", ("model-version",)),
        ("$[*].x.*", (Wildcard.ANY, "x", Wildcard.ANY)),
        ("$.*x", ("*x",)),
        ("$['a.b'][\"c d\"]", ("a.b", "c d")),
        (r"$['it\'s']", ("it's",)),
        (r'$["a\"b"]', ('a"b',)),
        (r"$['\\\/\b\t\n\f\r']", ("\\/\b\t\n\f\r",)),
        (r"$['\u00e9\ud83d\ude00']", ("é😀",)),
        (r"$['\q']", ("q",)),
        ("$['']", ("",)),
        ("$['*']", ("*",)),
        ("$['0'][0]", ("0", 0)),
        (f"$[{'9' * 5000}]", (10**18,)),
    ],
)
def test_paths_are_read(text: str, steps: tuple[object, ...]) -> None:
    assert parse(text) == steps


@pytest.mark.parametrize(
    "text",
    ["", "id", "a.b", "$.", "$..a", "$.a.", "$[", "$[]", "$[-1]", "$[1:2]", "$[?(@.a)]", "$['a]",
     "$.a b", " $.a", "$.a[1]]", "$.a['b'"],
)  # fmt: skip
def test_what_is_no_path_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidPath, match=r"\$\.a\[\*\]\.b"):
        parse(text)


@given(st.lists(st.integers(0, 10**6) | st.text()))
def test_a_written_path_is_read_back(steps: list[int | str]) -> None:
    path = "$"
    for step in steps:
        path = child(path, step)
    assert parse(path) == tuple(steps)


@given(st.from_regex(IGNORE_PATTERN, fullmatch=True))
def test_every_path_the_configuration_accepts_can_be_compiled(path: str) -> None:
    assert Rule("json", ignore=(path,)).patterns()


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"kind": "rank"}, "kind"),
        ({"kind": "label"}, "output"),
        ({"kind": "number", "output": ""}, "output"),
        ({"kind": "label", "output": "x", "ordered": False}, "order"),
        ({"kind": "json", "absolute": -1.0}, "tolerance.absolute"),
        ({"kind": "json", "relative": float("nan")}, "tolerance.relative"),
        ({"kind": "json", "relative": float("inf")}, "tolerance.relative"),
        ({"kind": "json", "ignore": ("$.a", "b")}, "ignore"),
    ],
)
def test_a_rule_that_means_nothing_is_refused_by_its_key(fields: dict[str, object], key: str) -> None:
    with pytest.raises(InvalidRule) as refused:
        Rule(**fields)
    assert refused.value.key == key
    assert str(refused.value) == f"{key}: {refused.value.reason}"
