"""A head that comes again is taken from memory, and means exactly what it would mean if it were read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http1.exchange import Exchange
from gateway.http1.limits import Limits
from gateway.http1.repeated import Repeated
from tests.http1.conversation import Held, conversation, request
from tests.support.pieces import byte_by_byte, cut_at, cuts

HEAD = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-Field: y\r\n\r\n"


def kept(head: bytes = HEAD) -> Repeated[str]:
    repeated: Repeated[str] = Repeated()
    repeated.keep(head, "known")
    return repeated


# -- the memory itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [b"0", b"5", b"05", b"12"])
def test_the_same_head_with_another_length_is_known(length: bytes) -> None:
    head = HEAD.replace(b"5", length)
    body = b"b" * int(length)
    assert kept().find(head + body) == ("known", int(length), len(head))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        HEAD + b"four",
        HEAD + b"sixsix",
        HEAD[:-2],
        HEAD.replace(b"POST", b"PUT") + b"hello",
        HEAD.replace(b"/a", b"/b") + b"hello",
        HEAD.replace(b"y", b"z") + b"hello",
        HEAD.replace(b"X-Field", b"x-field") + b"hello",
        HEAD.replace(b"5", b"") + b"hello",
        HEAD.replace(b"5", b"+5") + b"hello",
        HEAD.replace(b"5", b"5 ") + b"hello",
        HEAD.replace(b"5", b"5, 5") + b"hello",
        HEAD.replace(b"5", b"5\r\nContent-Length: 5") + b"hello",
        HEAD.replace(b"5", b"5\r\nTransfer-Encoding: chunked") + b"hello",
        HEAD.replace(b"5", b"0000000000000000005") + b"hello",
        HEAD.replace(b"5", b"\xb2") + b"hello",
    ],
)
def test_anything_else_is_not(data: bytes) -> None:
    assert kept().find(data) is None


def test_nothing_is_known_at_first() -> None:
    assert Repeated[str]().find(HEAD + b"hello") is None


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", HEAD.replace(b"y", b"y" * 5000), HEAD.replace(b"5", b"x")]
)
def test_a_head_that_cannot_be_kept_replaces_the_one_before_by_nothing(head: bytes) -> None:
    repeated = kept()
    repeated.keep(head, "other")
    assert repeated.find(HEAD + b"hello") is None
    assert repeated.find(head + b"hello") is None


def test_heads_that_never_repeat_are_kept_no_more() -> None:
    repeated: Repeated[str] = Repeated()
    heads = [HEAD.replace(b"y", b"%d" % number) for number in range(100)]
    tried = 0
    while repeated.wanted:
        repeated.keep(heads[tried], "known")
        tried += 1
    assert tried < 100
    assert repeated.find(heads[tried - 1] + b"hello") is None


def test_a_head_that_repeats_now_and_then_is_kept_on() -> None:
    repeated: Repeated[str] = Repeated()
    for number in range(100):
        repeated.keep(HEAD.replace(b"y", b"%d" % (number // 2)), "known")
        if number % 2:
            assert repeated.find(HEAD.replace(b"y", b"%d" % (number // 2)) + b"hello") is not None
    assert repeated.wanted


# -- a connection with it ----------------------------------------------------------------------------------------------

Fact = tuple[object, ...]


def facts_of(*reads: bytes) -> tuple[list[Fact], list[int], bool]:
    """What the served flows saw of each message, the statuses, and whether the connection has ended."""

    async def serve(message: Exchange) -> None:
        length = message.length
        body = await message.read_body(10_000)
        fields = [field for field in message.fields if field[0] != b"content-length"]
        nominated = sorted(message.nominated)
        facts.append((message.method, message.target, message.host, message.version, nominated, length, body, *fields))
        message.reply(200, [], b"")

    facts: list[Fact] = []
    with conversation(serve) as client:
        client.sends(*reads)
        return facts, client.statuses, client.is_closed


@pytest.mark.parametrize(
    "second",
    [
        request("/a", b"other body"),
        request("/a", b"hello"),
        HEAD.replace(b"5", b"0"),
        request("/b", b"hello"),
        request("/a"),
        request("/a", b"hello", "Connection: close"),
        request("/a", b"hello", version="1.0"),
        request("/a", b"hello", "Connection: Upgrade", "Upgrade: h2c"),
        request("/a", b"hello") + request("/a", b"again"),
        request("/a", b"hello")[:-2],
        b"\r\n" + request("/a", b"hello"),
        b"POST /a HTTP/1.1\r\nHost: example.org\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /a HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5x\r\n\r\nhello",
        b"garbage\r\n\r\n",
    ],
)
@pytest.mark.parametrize(
    "first",
    [
        request("/a", b"first"),
        HEAD + b"first",
        request("/a", b"first", "Connection: X-Secret", "X-Secret: s"),
        request("/a", b"first", "Connection: Upgrade", "Upgrade: h2c"),
        request("/a", b"first", "Connection: keep-alive", version="1.0"),
        request("/a", b"first", "Expect: 100-continue"),
    ],
)
def test_a_connection_that_remembers_does_what_one_that_reads_does(first: bytes, second: bytes) -> None:
    at_once = facts_of(first, second, request("/a", b"third"))
    in_bytes = facts_of(*byte_by_byte(first), *byte_by_byte(second), *byte_by_byte(request("/a", b"third")))
    if b"Expect" in first:
        in_bytes = (in_bytes[0], [status for status in in_bytes[1] if status != 100], in_bytes[2])
    assert at_once == in_bytes


def messages() -> st.SearchStrategy[bytes]:
    fields = st.sampled_from([(), ("X: y",), ("Connection: close",), ("Connection: x",), ("Content-Type: a/b",)])
    bodies = st.sampled_from([b"", b"a", b"hello", b"\r\n\r\n", request("/smuggled", b"hello")])
    return st.builds(
        lambda fields, body, version: request("/a", body, *fields, version=version, method="POST"),
        fields,
        bodies,
        st.sampled_from(["1.1", "1.1", "1.1", "1.0"]),
    )


@given(sent=st.lists(messages(), min_size=2, max_size=6), places=cuts())
def test_however_messages_are_cut_they_mean_the_same(sent: list[bytes], places: list[int]) -> None:
    assert facts_of(*sent) == facts_of(*cut_at(b"".join(sent), places))


def test_a_remembered_request_is_the_last_when_the_process_stops() -> None:
    async def serve(message: Exchange) -> None:
        await message.read_body(100)
        message.reply(200, [], b"")

    with conversation(serve) as client:
        client.sends(request("/a", b"hello"))
        client.application.draining = True
        client.sends(request("/a", b"hello"))
        assert [answer.field("connection") for answer in client.answers()] == [None, "close"]
        assert client.is_closed


def test_remembered_requests_behind_a_slow_one_are_bounded_like_others() -> None:
    held = Held()
    with conversation(held, limits=Limits(pipelined=4)) as client:
        client.sends(*[request("/a", b"x" * number) for number in range(1, 200)])
        assert not client.transport.reading

        held.lets_through(client, 5)
        assert client.transport.reading
