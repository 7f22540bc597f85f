"""A challenger sees its share of the requests: the same ones for the same key, whatever others see."""

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.evidence.sampling import sampled

KEYS = [f"0192f3a0-{number:04x}-7000-8000-{number * 7919:012x}" for number in range(40_000)]
SHARES = st.floats(0, 1)


def sample(challenger: str, share: float, model: str = "m") -> list[bool]:
    return [sampled(model, challenger, key, share) for key in KEYS]


def sigma(share: float, count: int = len(KEYS)) -> float:
    return sqrt(count * share * (1 - share))


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_the_share_is_what_was_asked_for(share: float) -> None:
    assert abs(sum(sample("2", share)) - share * len(KEYS)) < 3 * sigma(share)


@pytest.mark.parametrize(("share", "seen"), [(0.0, 0), (-0.0, 0), (1.0, len(KEYS))])
def test_nothing_and_everything_are_exact(share: float, seen: int) -> None:
    assert sum(sample("2", share)) == seen


@pytest.mark.parametrize(("one", "other"), [(("m", "2"), ("m", "3")), (("m", "2"), ("n", "2"))])
def test_what_one_challenger_sees_says_nothing_about_what_another_sees(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    first, second = (sample(challenger, 0.3, model) for model, challenger in (one, other))

    both = sum(map(lambda a, b: a and b, first, second))

    assert abs(both - 0.09 * len(KEYS)) < 3 * sigma(0.09)


def test_the_order_of_requests_decides_nothing() -> None:
    forward = dict(zip(KEYS, sample("2", 0.3), strict=True))

    assert all(sampled("m", "2", key, 0.3) == forward[key] for key in reversed(KEYS))


@given(st.text(), st.text(), st.text(), SHARES, SHARES)
def test_a_larger_share_keeps_everybody_who_was_in(
    model: str, challenger: str, key: str, one: float, two: float
) -> None:
    smaller, larger = sorted((one, two))

    assert sampled(model, challenger, key, larger) or not sampled(model, challenger, key, smaller)


@given(st.binary(max_size=40), SHARES)
def test_keys_of_any_bytes_are_sampled(key: bytes, share: float) -> None:
    text = key.decode("utf-8", "surrogateescape")

    assert sampled("m", "2", text, share) is sampled("m", "2", text, share)


def test_names_are_not_run_together() -> None:
    """`ab` + `c` and `a` + `bc` are different challengers."""
    seen = {tuple(sampled(model, challenger, key, 0.5) for key in KEYS[:64]) for model, challenger in
            (("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"))}  # fmt: skip

    assert len(seen) == 4
