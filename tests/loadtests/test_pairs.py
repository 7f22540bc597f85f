"""Which rate is one that Tiltyard holds, what a turn of it costs, and what happens where trials promised too much."""

from collections.abc import Callable

import pytest

from loadtests.bench.drive import Turn
from loadtests.bench.load import Outcome
from loadtests.bench.pairs import LOWERING, MOST_LOWERINGS, Rounds, Shadowed, at_a_held_rate, is_held
from loadtests.bench.report import Accounting

RATE = 10_000.0


def shadowed(stored: int = 10_000, answered: int = 10_000, unsent: int = 0, seconds: float = 1.0) -> Shadowed:
    turn = Turn(
        Outcome(answered=answered, unsent=unsent, seconds=seconds),
        cpu_ns={1: 500_000_000, 2: 300_000_000},
    )
    counted = Accounting(
        eligible=answered,
        sampled_out=0,
        skipped=answered - stored,
        sent=stored,
        ok=stored,
        error=0,
        timeout=0,
        cancelled=0,
        stored=stored,
        unstored=0,
    )
    return Shadowed(turn, counted)


def rounds(*kept: float, rate: float = RATE) -> Rounds:
    return Rounds(rate, {}, [shadowed(stored=int(share * 10_000), seconds=10_000 / rate) for share in kept])


def keeping_below(limit: float, asked: list[float]) -> Callable[[float], Rounds]:
    """Rounds that keep every pair up to this rate, and too few above it."""

    def measure(rate: float) -> Rounds:
        asked.append(rate)
        return rounds(*[1.0 if rate <= limit else 0.9] * 3, rate=rate)

    return measure


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        pytest.param(shadowed(), True, id="all kept, in time"),
        pytest.param(shadowed(stored=9_900), True, id="as many kept as are asked for"),
        pytest.param(shadowed(stored=9_890), False, id="too few kept"),
        pytest.param(shadowed(seconds=1.02), True, id="a little late"),
        pytest.param(shadowed(seconds=1.1), False, id="kept, but later than they were due"),
        pytest.param(shadowed(unsent=1), False, id="not all could be sent"),
    ],
)
def test_a_rate_is_held_when_pairs_are_kept_and_nothing_piles_up(turn: Shadowed, expected: bool) -> None:
    assert is_held(turn.kept(), turn.pace(RATE)) is expected


def test_a_pair_costs_what_all_processes_used_by_the_pairs_stored() -> None:
    assert shadowed(stored=8_000).us_per_pair() == 100.0


def test_what_is_rolled_after_a_turn_is_in_its_bill() -> None:
    turn = shadowed().turn.and_later({2: 100_000_000})
    assert turn.cpu_ns == {1: 500_000_000, 2: 400_000_000}


def test_one_bad_round_of_three_is_the_machines() -> None:
    assert rounds(1.0, 0.8, 1.0).hold()
    assert not rounds(0.9, 0.8, 1.0).hold()


def test_rounds_that_hold_are_measured_once() -> None:
    asked: list[float] = []
    assert at_a_held_rate(keeping_below(RATE, asked), RATE).rate == RATE
    assert asked == [RATE]


def test_rounds_that_keep_too_few_are_measured_again_at_a_lower_rate() -> None:
    asked: list[float] = []
    found = at_a_held_rate(keeping_below(0.95 * RATE, asked), RATE)
    assert asked == [RATE, RATE * LOWERING]
    assert found.rate == RATE * LOWERING
    assert found.hold()


def test_what_never_holds_is_reported_as_it_is() -> None:
    asked: list[float] = []
    found = at_a_held_rate(keeping_below(1.0, asked), RATE)
    assert len(asked) == 1 + MOST_LOWERINGS
    assert found.rate == asked[-1]
    assert not found.hold()
