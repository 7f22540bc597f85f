"""How an answer is framed, by what is known of it and of who asked."""

import pytest

from gateway.http1.exchange import Exchange
from tests.http1.conversation import Client, Serve, conversation, request

CASES = [
    # method, version, status, length, parts -> framing fields, body on the wire, connection stays
    ("GET", "1.1", 200, 5, [b"he", b"llo"], {"content-length": "5"}, b"hello", True),
    ("GET", "1.1", 200, 0, [], {"content-length": "0"}, b"", True),
    ("GET", "1.1", 200, None, [b"he", b"", b"llo"], {"transfer-encoding": "chunked"}, b"hello", True),
    ("GET", "1.1", 200, None, [], {"transfer-encoding": "chunked"}, b"", True),
    ("GET", "1.0", 200, 5, [b"hello"], {"content-length": "5"}, b"hello", True),
    ("GET", "1.0", 200, None, [b"he", b"llo"], {}, b"hello", False),
    ("HEAD", "1.1", 200, 5, [b"hello"], {"content-length": "5"}, b"", True),
    ("HEAD", "1.1", 200, None, [b"hello"], {"transfer-encoding": "chunked"}, b"", True),
    ("HEAD", "1.0", 200, None, [b"hello"], {}, b"", False),
    ("GET", "1.1", 204, 0, [b"never"], {}, b"", True),
    ("GET", "1.1", 204, None, [b"never"], {}, b"", True),
    ("GET", "1.1", 304, 5, [b"never"], {"content-length": "5"}, b"", True),
    ("GET", "1.1", 304, None, [b"never"], {}, b"", True),
    ("POST", "1.1", 599, 2, [b"ok"], {"content-length": "2"}, b"ok", True),
]


def answering(status: int, length: int | None, parts: list[bytes], *, first: bool) -> Serve:
    async def serve(message: Exchange) -> None:
        start, rest = (parts[0], parts[1:]) if parts and first else (b"", parts)
        message.begin(status, [b"x-field: 1\r\n"], length, start)
        for part in rest:
            message.write(part)
        message.end()

    return serve


def ask(client: Client, method: str, version: str) -> None:
    client.sends(request("/", b"", "Connection: keep-alive", method=method, version=version))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("method", "version", "status", "length", "parts", "framing", "body", "stays"), CASES)
def test_the_framing_fits_the_answer(
    method: str,
    version: str,
    status: int,
    length: int | None,
    parts: list[bytes],
    framing: dict[str, str],
    body: bytes,
    stays: bool,
    first: bool,
) -> None:
    with conversation(answering(status, length, parts, first=first)) as client:
        ask(client, method, version)

        answer = client.answer(heads={0} if method == "HEAD" else ())
        found = dict(answer.fields)
        assert answer.status == status
        assert {name: found[name] for name in ("content-length", "transfer-encoding") if name in found} == framing
        assert answer.body == body
        assert found["x-field"] == "1"
        assert client.is_closed is not stays
        assert client.application.served[0].sent == len(body)


def test_every_status_has_a_line_of_its_own() -> None:
    for status, line in [(200, b"HTTP/1.1 200 OK\r\n"), (404, b"HTTP/1.1 404 Not Found\r\n"), (599, b"HTTP/1.1 599 ")]:
        with conversation(answering(status, 0, [], first=False)) as client:
            ask(client, "GET", "1.1")
            assert client.received.startswith(line)


def test_an_answer_before_the_end_of_the_request_is_the_last() -> None:
    with conversation(answering(200, 0, [], first=False)) as client:
        client.sends(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
        assert client.answer().field("connection") == "close"
        assert client.is_closed


def test_a_body_can_be_looked_at_before_it_is_taken() -> None:
    async def look(message: Exchange) -> None:
        await message.gather(100, 100)
        seen.append((message.body, message.take(), message.body, message.buffered))
        message.reply(200, [], b"")

    for pieces in ([b"hello"], [b"he", b"llo"], [b"h", b"el", b"lo"]):
        seen: list[tuple[bytes, bytes, bytes, int]] = []
        with conversation(look) as client:
            client.sends(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", *pieces)
            assert seen == [(b"hello", b"hello", b"", 0)]


@pytest.mark.parametrize(
    ("length", "buffer", "whole"), [(5, 10, True), (10, 10, True), (11, 10, False), (None, 10, False)]
)
def test_only_bodies_up_to_the_buffer_are_gathered(length: int | None, buffer: int, whole: bool) -> None:
    async def gather(message: Exchange) -> None:
        gathered.append(await message.gather(1000, buffer))
        message.reply(200, [], b"")

    gathered: list[bool] = []
    with conversation(gather) as client:
        head = b"POST / HTTP/1.1\r\nHost: a\r\n"
        if length is None:
            client.sends(head + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\na\r\n"] * 12)
        else:
            client.sends(head + b"Content-Length: %d\r\n\r\n" % length)
            if whole:
                assert gathered == []
                client.sends(b"a" * length)
        assert gathered == [whole]
