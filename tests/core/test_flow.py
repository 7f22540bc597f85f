"""A flow is stepped by whoever has news for it, and loses none."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.flow import Flow, pause


class Gone(Exception):
    """Something from outside."""


class Story:
    """A flow and what happened in it, in order."""

    def __init__(self, tell: "Callable[[Story], Coroutine[Any, Any, None]]"):
        self.told: list[str] = []
        self.ends: list[Exception | None] = []
        self.flow = Flow(tell(self), self.ends.append)

    def says(self, what: str) -> None:
        self.told.append(what)


async def two_steps(story: Story) -> None:
    story.says("first")
    await pause()
    story.says("second")
    await pause()
    story.says("third")


def test_nothing_happens_before_it_is_woken() -> None:
    story = Story(two_steps)
    assert story.told == []
    story.flow.wake()
    assert story.told == ["first"]


def test_every_wake_goes_to_the_next_pause() -> None:
    story = Story(two_steps)
    for told in (["first"], ["first", "second"], ["first", "second", "third"]):
        assert not story.flow.done
        story.flow.wake()
        assert story.told == told
    assert story.flow.done


def test_its_end_is_told_once() -> None:
    story = Story(two_steps)
    for _ in range(10):
        story.flow.wake()
    story.flow.throw(Gone())
    assert story.ends == [None]


def test_what_escapes_it_is_told_to_the_owner() -> None:
    async def fail(story: Story) -> None:
        await pause()
        raise ValueError("a defect")

    story = Story(fail)
    story.flow.wake()
    assert story.ends == []
    story.flow.wake()
    (error,) = story.ends
    assert isinstance(error, ValueError)
    assert story.flow.done


def test_an_error_from_outside_is_raised_at_the_pause() -> None:
    async def guarded(story: Story) -> None:
        try:
            await pause()
        except Gone:
            story.says("gone")
        finally:
            story.says("finally")

    story = Story(guarded)
    story.flow.wake()
    story.flow.throw(Gone())
    assert story.told == ["gone", "finally"]
    assert story.ends == [None]


def test_an_error_that_nobody_catches_ends_it() -> None:
    story = Story(two_steps)
    story.flow.wake()
    error = Gone()
    story.flow.throw(error)
    assert story.ends == [error]


def test_it_may_go_on_after_an_error() -> None:
    async def stubborn(story: Story) -> None:
        try:
            await pause()
        except Gone:
            story.says("caught")
        await pause()
        story.says("went on")

    story = Story(stubborn)
    story.flow.wake()
    story.flow.throw(Gone())
    assert (story.told, story.flow.done) == (["caught"], False)
    story.flow.wake()
    assert (story.told, story.ends) == (["caught", "went on"], [None])


def test_waking_it_from_within_does_nothing() -> None:
    async def nosy(story: Story) -> None:
        story.flow.wake()
        story.says("first")
        await pause()
        story.flow.wake()
        story.says("second")

    story = Story(nosy)
    story.flow.wake()
    assert story.told == ["first"]
    story.flow.wake()
    assert story.told == ["first", "second"]


def test_an_error_while_it_runs_is_raised_at_its_next_pause() -> None:
    async def throws_into_itself(story: Story) -> None:
        story.flow.throw(Gone())
        story.says("still running")
        try:
            await pause()
        except Gone:
            story.says("gone")

    story = Story(throws_into_itself)
    story.flow.wake()
    assert story.told == ["still running", "gone"]
    assert story.ends == [None]


def test_an_error_while_it_handles_another_is_raised_too() -> None:
    async def twice(story: Story) -> None:
        for number in range(3):
            try:
                story.flow.throw(Gone())
                await pause()
            except Gone:
                story.says(f"gone {number}")

    story = Story(twice)
    story.flow.wake()
    assert story.told == ["gone 0", "gone 1", "gone 2"]


def test_an_error_that_comes_as_it_ends_is_dropped() -> None:
    async def ends(story: Story) -> None:
        story.flow.throw(Gone())

    story = Story(ends)
    story.flow.wake()
    assert story.ends == [None]


def test_an_error_before_it_began_ends_it() -> None:
    story = Story(two_steps)
    story.flow.throw(Gone())
    assert story.told == []
    assert [type(end) for end in story.ends] == [Gone]


def test_news_are_never_lost_by_a_loop_over_its_own_condition() -> None:
    async def wait(story: Story) -> None:
        while not arrived:
            await pause()
        story.says("there")

    for before in (False, True):
        arrived: list[int] = [1] if before else []
        story = Story(wait)
        story.flow.wake()
        story.flow.wake()
        if not before:
            assert story.told == []
        arrived.append(1)
        story.flow.wake()
        assert story.told == ["there"]


def test_what_interrupts_the_process_is_not_swallowed() -> None:
    async def interrupted(story: Story) -> None:
        raise KeyboardInterrupt

    story = Story(interrupted)
    with pytest.raises(KeyboardInterrupt):
        story.flow.wake()


@given(st.lists(st.sampled_from(["wake", "throw"]), max_size=20), st.integers(0, 5))
def test_whatever_comes_it_ends_at_most_once(events: list[str], patience: int) -> None:
    async def tolerant(story: Story) -> None:
        for _ in range(patience):
            try:
                await pause()
            except Gone:
                story.says("caught")

    story = Story(tolerant)
    story.flow.wake()
    for event in events:
        story.flow.wake() if event == "wake" else story.flow.throw(Gone())
    assert len(story.ends) == int(len(events) >= patience)
    assert story.told.count("caught") == events[:patience].count("throw")
