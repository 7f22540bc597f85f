"""YAML as a tree with positions, and how much of it may be asked of us."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.configfile.document import (
    MAX_DEPTH,
    MAX_VALUES,
    BadDocumentError,
    Mapping,
    Node,
    Position,
    Scalar,
    Sequence,
    end_of,
    parse,
)


def outline(node: Node | None) -> object:
    match node:
        case Scalar():
            return node.text if node.plain else f"'{node.text}'"
        case Sequence():
            return [outline(item) for item in node.items]
        case Mapping():
            return [(outline(key), outline(value)) for key, value in node.entries]
        case None:
            return None


def refusal(text: str) -> tuple[Position, str]:
    with pytest.raises(BadDocumentError) as caught:
        parse(text)
    return caught.value.position, caught.value.message


def test_a_document_keeps_its_order_its_quotes_and_its_repetitions() -> None:
    text = "a: 1\nb: ['x', \"y\", |\n  z\n]\na: {c: }\n"

    assert outline(parse(text.replace(", |\n  z\n", ""))) == [
        ("a", "1"),
        ("b", ["'x'", "'y'"]),
        ("a", [("c", "")]),
    ]


def test_every_value_knows_its_line_and_column() -> None:
    root = parse("# first\na:\n  - é: [1,\n      22]\n")

    assert isinstance(root, Mapping)
    (key, items), *_ = root.entries
    assert (root.position, key.position) == ((2, 1), (2, 1))
    assert isinstance(items, Sequence)
    assert items.position == (3, 3)
    inner = items.items[0]
    assert isinstance(inner, Mapping)
    numbers = inner.entries[0][1]
    assert isinstance(numbers, Sequence)
    assert [number.position for number in numbers.items] == [(3, 9), (4, 7)]


@pytest.mark.parametrize("text", ["", "\n\n", "# comment\n", "---\n...\n" * 0])
def test_nothing_is_no_document(text: str) -> None:
    assert parse(text) is None


def test_an_alias_stands_for_the_very_same_value() -> None:
    root = parse("a: &x {b: &y 1}\nc: [*x, *y]\n")

    assert isinstance(root, Mapping)
    (_, first), (_, again) = root.entries
    assert isinstance(again, Sequence)
    assert again.items[0] is first
    assert outline(again.items[1]) == "1"


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("a: [", (1, 4), "not valid YAML: while parsing a flow node"),
        ("a:\n\tb: 1", (2, 1), "a tab?"),
        ("a: b: c", (1, 5), "a ':' that has no place here"),
        ("a: 'x", (1, 4), "while scanning a quoted scalar"),
        ("é: \x07", (1, 4), "control characters are not allowed"),
        ("a\n\x00", (2, 1), "control characters are not allowed"),
        ("%YAML 3.0\n---\na", (1, 1), "incompatible YAML document"),
        ("a: !!str 1", (1, 4), "tags such as tag:yaml.org,2002:str have no place here"),
        ("a: !x {}", (1, 4), "tags such as !x have no place here"),
        ("a: *b", (1, 4), "alias '*b' has no complete '&b' before it"),
        ("a: &b [*b]", (1, 8), "alias '*b' has no complete '&b' before it"),
        ("a: 1\n--- \nb: 2", (2, 1), "a second document; a file has one"),
    ],
)
def test_what_cannot_be_read_is_refused_where_it_stands(text: str, position: Position, words: str) -> None:
    found, message = refusal(text)

    assert found == position
    assert words in message


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100_000])
def test_deep_nesting_is_refused_and_harms_nothing(opening: str, depth: int) -> None:
    position, message = refusal(opening * depth)

    assert message == f"nested deeper than {MAX_DEPTH} levels"
    assert position.line == 1


def test_nesting_up_to_the_bound_is_read() -> None:
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None


def bomb(levels: int, width: int) -> str:
    aliases = [", ".join([f"*a{level}"] * width) for level in range(levels - 1)]
    unfolding = [f"a{level}: &a{level} [{below}]" for level, below in enumerate(aliases, 1)]
    return "\n".join(["a0: &a0 [x]", *unfolding])


def test_aliases_that_unfold_to_too_much_are_refused_at_the_alias() -> None:
    position, message = refusal(bomb(levels=10, width=10))

    assert message == f"more than {MAX_VALUES} values, aliases unfolded"
    assert position.line == 7


def test_aliases_that_nest_too_deep_are_refused_at_the_alias() -> None:
    position, message = refusal(bomb(levels=40, width=1))

    assert message == f"nested deeper than {MAX_DEPTH} levels"
    assert position.line == MAX_DEPTH


def test_too_many_values_are_refused() -> None:
    _, message = refusal("[" + "1," * (MAX_VALUES + 1) + "]")

    assert message == f"more than {MAX_VALUES} values, aliases unfolded"


def test_an_entry_is_found_by_its_name() -> None:
    root = parse("a: 1\nb: 2\na: 3\n[x]: 4\n")

    assert isinstance(root, Mapping)
    assert [outline(value) for _, value in filter(None, [root.entry("a"), root.entry("b")])] == ["1", "2"]
    assert root.entry("c") is None


@given(st.text(alphabet=st.characters(exclude_characters="\r")), st.sampled_from(["", "\n", "\n\n"]))
def test_where_a_text_ends_is_counted_from_one(text: str, more: str) -> None:
    position = end_of(text + more)

    assert position.line == (text + more).count("\n") + 1
    assert position.column == len((text + more).split("\n")[-1]) + 1


YAML_PIECES = st.sampled_from([*"[]{}:,-?&*!|>'\"%@#\n\t ax1~", "  ", "\n  ", ": ", "- ", "&a ", "*a", "---\n", "\x00"])


@given(st.lists(YAML_PIECES, max_size=60).map("".join) | st.text())
def test_any_text_is_a_document_or_refused_within_it(text: str) -> None:
    try:
        outline(parse(text))
    except BadDocumentError as error:
        assert 1 <= error.position.line <= len(text.splitlines()) + 1  # noqa: PT017
        assert error.position.column >= 1  # noqa: PT017
