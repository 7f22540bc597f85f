"""Messages between the supervisor and a child."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.status import GatewayStatus, ProcessStatus
from gateway.runtime import line as lines
from gateway.runtime.line import (
    Applied,
    Apply,
    Drain,
    Failed,
    FromChild,
    Heartbeat,
    Line,
    LineError,
    Ready,
    ReloadNow,
    ReloadRequest,
    ReloadResult,
    StatusReply,
    StatusRequest,
    ToChild,
    child_end,
    supervisor_end,
)

facts = st.dictionaries(st.text(), st.integers(0, 9) | st.text() | st.lists(st.text()), max_size=3)
numbers = st.integers(0, 2**31)
statuses = st.builds(
    GatewayStatus,
    config_id=st.text(),
    inference=st.text(),
    admin=st.text(),
    draining=st.booleans(),
    processes=st.lists(
        st.builds(
            ProcessStatus,
            name=st.text(),
            title=st.text(),
            role=st.text(),
            state=st.sampled_from(["starting", "ready", "draining", "down"]),
            pid=st.none() | st.integers(1, 4_000_000),
            restarts=st.integers(0, 9),
            silent_s=st.floats(0, 1e6),
            facts=facts,
        ),
        max_size=2,
    ).map(tuple),
)
to_child = st.one_of(
    st.builds(Apply, config_id=st.text(), document=st.binary(max_size=3000), current=st.booleans()),
    st.builds(Drain),
    st.builds(ReloadNow),
    st.builds(StatusReply, number=numbers, status=statuses),
    st.builds(ReloadResult, number=numbers, errors=st.lists(st.text(), max_size=3).map(tuple)),
)
from_child = st.one_of(
    st.builds(Ready),
    st.builds(Failed, reason=st.text()),
    st.builds(Heartbeat, facts=facts),
    st.builds(Applied, config_id=st.text(), error=st.none() | st.text()),
    st.builds(StatusRequest, number=numbers),
    st.builds(ReloadRequest, number=numbers, config_id=st.text(), document=st.binary(max_size=3000)),
)


async def over_a_pair(
    talk: Callable[[Line[FromChild], Line[ToChild]], Awaitable[None]],
) -> None:
    ours, theirs = socket.socketpair()
    above, below = await supervisor_end(ours), await child_end(theirs)
    try:
        await talk(above, below)
    finally:
        above.close()
        below.close()


@given(st.lists(to_child, max_size=8), st.lists(from_child, max_size=8))
def test_messages_arrive_whole_and_in_order_in_both_directions(down: list[ToChild], up: list[FromChild]) -> None:
    async def talk(above: Line[FromChild], below: Line[ToChild]) -> None:
        for order in down:
            above.send(order)
        for report in up:
            below.send(report)
        assert [await below.receive() for _ in down] == down
        assert [await above.receive() for _ in up] == up

    asyncio.run(over_a_pair(talk))


@given(to_child, st.data())
def test_the_end_of_the_line_is_told_apart_from_a_message(message: ToChild, data: st.DataObject) -> None:
    whole = lines.encode(message)
    sent = whole[: data.draw(st.integers(0, len(whole) - 1))]

    async def receive() -> ToChild | None:
        ours, theirs = socket.socketpair()
        below = await child_end(theirs)
        ours.sendall(sent)
        ours.close()
        try:
            return await below.receive()
        finally:
            below.close()

    assert asyncio.run(receive()) is None


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"\xff\xff\xff\xff", "a message of 4294967295 bytes"),
        (b"\x00\x00\x00\x01\xc1", "MessagePack data is malformed"),
        (b"\x00\x00\x00\x02\x81\xa0", "truncated"),
        (lines.encode(Ready()), "Invalid value 'ready'"),
    ],
)
def test_what_is_no_message_is_an_error(sent: bytes, says: str) -> None:
    async def receive() -> None:
        ours, theirs = socket.socketpair()
        with ours:
            below = await child_end(theirs)
            ours.sendall(sent)
            ours.shutdown(socket.SHUT_WR)
            with pytest.raises(LineError, match=says):
                await below.receive()
            below.close()

    asyncio.run(receive())


def test_sending_to_a_child_that_is_gone_is_no_error() -> None:
    async def talk(above: Line[FromChild], below: Line[ToChild]) -> None:
        below.close()
        assert await above.receive() is None
        above.send(Drain())
        await above.flush()
        above.close()
        above.send(Drain())

    asyncio.run(over_a_pair(talk))
