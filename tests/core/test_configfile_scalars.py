"""What plain scalars mean in YAML 1.2, and what `${VAR}` stands for."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.configfile.scalars import VariableError, meaning, substitute

ENVIRONMENT = {"A": "1", "B_2": "two", "EMPTY": "", "NESTED": "${A}", "BYTES": "\udcff"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("", None), ("~", None), ("null", None), ("Null", None), ("nULL", "nULL")),
        *(("true", True), ("FALSE", False), ("True", True), ("tRue", "tRue")),
        *((text, text) for text in ("yes", "no", "on", "off", "y", "N", "Off")),
        *(("0", 0), ("-1", -1), ("+12", 12), ("007", 7), ("0o17", 15), ("0xfF", 255)),
        *((text, text) for text in ("1_000", "0b1", "0o8", "0xg", "1:30", "2s", "4MiB", "-", "+", ".", "1.2.3")),
        *(("1.5", 1.5), ("1e-6", 1e-6), (".5", 0.5), ("-2.", -2.0), ("+1E3", 1000.0)),
        *((".inf", math.inf), ("-.INF", -math.inf), (".Inf", math.inf), (".iNf", ".iNf")),
        *(("9" * 400, math.inf), ("1e400", math.inf), ("1" + "0" * 30, 1e30)),
        *((text, text) for text in ("2026-11-23", "::1", "a b", "=", "<<", "0x" + "f" * 40)),
    ],
)
def test_a_plain_scalar_means_what_yaml_1_2_says(text: str, value: object) -> None:
    found = meaning(text)

    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_a_number() -> None:
    found = meaning(".nan")

    assert isinstance(found, float)
    assert math.isnan(found)


@given(st.text())
def test_any_text_means_something(text: str) -> None:
    found = meaning(text)

    assert found is None or isinstance(found, str | int | float)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${A}", "1"),
        ("x${A}y${B_2}", "x1ytwo"),
        ("${EMPTY}", ""),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("${NESTED}", "${A}"),
        ("$A {A} $", "$A {A} $"),
    ],
)
def test_variables_are_filled_in_once(text: str, filled: str) -> None:
    assert substitute(text, ENVIRONMENT) == filled


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${C}", "environment variable C is not set"),
        ("${a}", "environment variable a is not set"),
        ("${}", "expected ${NAME}; write $${ for a literal ${"),
        ("${A", "expected ${NAME}; write $${ for a literal ${"),
        ("${A:-1}", "expected ${NAME}; write $${ for a literal ${"),
        ("${1A}", "expected ${NAME}; write $${ for a literal ${"),
        ("${BYTES}", "environment variable BYTES is not UTF-8"),
    ],
)
def test_a_variable_that_stands_for_nothing_is_an_error(text: str, words: str) -> None:
    with pytest.raises(VariableError) as caught:
        substitute(text, ENVIRONMENT)

    assert caught.value.message == words
