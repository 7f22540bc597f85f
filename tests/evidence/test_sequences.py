"""A challenger follows a sequence from its first request to its first loss, and no other."""

from gateway.evidence.sequences import MAX_KNOWN, UNSEEN, Sequences


def broken(sequences: Sequences, sequence: str, at: int, *, starts: bool = False) -> str | None:
    run = sequences.run(sequence, starts, at)
    return None if run is None else run.broken


def test_an_ordinary_request_is_part_of_nothing() -> None:
    assert Sequences().run("", True, 1) is None


def test_a_sequence_is_followed_from_its_first_request() -> None:
    sequences = Sequences()

    assert broken(sequences, "a", 1, starts=True) == ""
    assert broken(sequences, "a", 2) == ""
    assert broken(sequences, "b", 3) == UNSEEN


def test_a_loss_ends_it_until_it_starts_anew() -> None:
    sequences = Sequences()
    run = sequences.run("a", True, 1)
    assert run is not None

    run.break_off("queue_full")
    run.break_off("expired")

    assert broken(sequences, "a", 2) == "queue_full"
    assert broken(sequences, "a", 3, starts=True) == ""
    assert broken(sequences, "a", 4) == ""
    assert run.broken == "queue_full"


def test_a_loss_of_the_former_run_says_nothing_about_the_next() -> None:
    sequences = Sequences()
    former = sequences.run("a", True, 1)
    sequences.run("a", True, 2)
    assert former is not None

    former.break_off("expired")

    assert broken(sequences, "a", 3) == ""


def test_a_request_that_was_overtaken_is_a_loss() -> None:
    sequences = Sequences()
    sequences.run("a", True, 1)
    sequences.run("a", False, 5)

    assert broken(sequences, "a", 3) == UNSEEN
    assert broken(sequences, "a", 6) == UNSEEN


def test_a_start_that_was_overtaken_starts_nothing() -> None:
    sequences = Sequences()

    assert broken(sequences, "a", 5) == UNSEEN
    assert broken(sequences, "a", 3, starts=True) == UNSEEN
    assert broken(sequences, "a", 6) == UNSEEN
    assert broken(sequences, "a", 7, starts=True) == ""


def test_a_loss_on_the_way_breaks_the_sequence_it_names() -> None:
    sequences = Sequences()
    for name in "ab":
        sequences.run(name, True, 1)

    sequences.lose("a")
    sequences.lose("never heard of")

    assert broken(sequences, "a", 2) == UNSEEN
    assert broken(sequences, "b", 2) == ""


def test_a_loss_of_nobody_knows_what_breaks_all() -> None:
    sequences = Sequences()
    for name in "ab":
        sequences.run(name, True, 1)

    sequences.lose_any()

    assert [broken(sequences, name, 2) for name in "ab"] == [UNSEEN, UNSEEN]
    assert broken(sequences, "a", 3, starts=True) == ""


def test_what_is_forgotten_is_not_followed_any_more() -> None:
    sequences = Sequences()
    sequences.run("first", True, 1)
    sequences.run("second", True, 1)
    sequences.run("first", False, 2)

    for number in range(MAX_KNOWN - 1):
        sequences.run(f"s{number}", True, 3)

    assert broken(sequences, "first", 4) == ""
    assert broken(sequences, "second", 4) == UNSEEN


def test_one_request_at_a_time_is_at_the_challenger() -> None:
    sequences = Sequences()
    sequences.begin("a")
    sequences.begin("")

    assert sequences.busy("a")
    assert not sequences.busy("b")
    assert not sequences.busy("")
    sequences.end("a")
    sequences.end("never begun")
    assert not sequences.busy("a")
