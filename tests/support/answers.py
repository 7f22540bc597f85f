"""Reads what a server has written as HTTP/1.1 answers, strictly: AssertionError for a byte that does not belong."""

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One answer. `complete` is False where the bytes end before it does."""

    status: int
    reason: str
    fields: tuple[tuple[str, str], ...]
    body: bytes = b""
    complete: bool = True

    def field(self, name: str) -> str | None:
        """The only field of that name, or None."""
        values = [value for known, value in self.fields if known == name]
        assert len(values) < 2, f"{name} more than once: {values}"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem."""
        assert self.field("content-type") == "application/problem+json", self
        code: str = self.json["code"]
        return code


def read_answers(data: bytes, heads: Collection[int] = (), ended: bool = False) -> list[Answer]:
    """All answers in `data`, interim ones too. `heads` says which final ones answer a HEAD request; `ended` that
    the connection has ended behind them.
    """
    answers: list[Answer] = []
    final = 0
    while data:
        answer, data = _read_one(data, final in heads, ended)
        final += answer.status >= 200
        answers.append(answer)
        assert answer.complete or not data
    return answers


def _read_one(data: bytes, to_head: bool, ended: bool) -> tuple[Answer, bytes]:
    head, end, rest = data.partition(b"\r\n\r\n")
    assert end, f"an unfinished head: {data!r}"
    line, *lines = head.decode("latin-1").split("\r\n")
    version, status, reason = line.split(" ", 2)
    assert version == "HTTP/1.1"
    assert len(status) == 3, line
    pairs = [row.partition(": ") for row in lines]
    assert all(name and separator and "\n" not in value for name, separator, value in pairs), lines
    answer = Answer(int(status), reason, tuple((name.lower(), value) for name, _, value in pairs))
    length, coding = answer.field("content-length"), answer.field("transfer-encoding")
    assert length is None or coding is None, "framed in two ways"
    if answer.status < 200 or answer.status == 204:
        assert length is None, answer
        assert coding is None, answer
        return answer, rest
    if to_head or answer.status == 304:
        return answer, rest
    if coding is not None:
        assert coding == "chunked"
        return _read_chunks(answer, rest)
    if length is None:
        assert answer.field("connection") == "close", "neither length nor chunks nor an end"
        return replace(answer, body=rest, complete=ended), b""
    size = int(length)
    return replace(answer, body=rest[:size], complete=len(rest) >= size), rest[size:]


def _read_chunks(answer: Answer, data: bytes) -> tuple[Answer, bytes]:
    body = b""
    while True:
        line, end, rest = data.partition(b"\r\n")
        size = int(line, 16) if end else -1
        if size == 0 and rest.startswith(b"\r\n"):
            return replace(answer, body=body), rest[2:]
        if size <= 0 or len(rest) < size + 2:
            return replace(answer, body=body, complete=False), b""
        assert rest[size : size + 2] == b"\r\n"
        body += rest[:size]
        data = rest[size + 2 :]
