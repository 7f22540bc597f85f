"""What both planes read of an inference request: no bytes of a client make it fail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.open_inference import MAX_SEQUENCE_CHARS, json_part, sequence_of

HEAD = b'{"parameters":{"sequence_id":7}}'


@pytest.mark.parametrize(
    ("body", "sequence"),
    [
        (b'{"parameters":{"sequence_id":42},"inputs":[]}', "42"),
        (b'{"parameters":{"sequence_id":"talk-1"}}', "talk-1"),
        (b'{"parameters":{"sequence_id":"42"}}', "42"),
        (b'{"parameters":{"sequence_id":0}}', ""),
        (b'{"parameters":{"sequence_id":""}}', ""),
        (b'{"parameters":{"sequence_id":true}}', ""),
        (b'{"parameters":{"sequence_id":1.5}}', ""),
        (b'{"sequence_id":42}', ""),
        (b'{"parameters":{}}', ""),
        (b"{}", ""),
        (b"", ""),
        (b'"sequence_id" but no JSON', ""),
        (b'{"parameters":{"sequence_id":"\xff"}}', ""),
        (b'{"parameters":{"sequence_id":' + b"[" * 100_000, ""),
        (b'{"parameters":{"sequence_id":' + b"9" * 5000 + b"}}", ""),
    ],
)
def test_a_sequence_is_known_by_its_id(body: bytes, sequence: str) -> None:
    assert sequence_of(body, None) == sequence


def test_binary_tensors_behind_the_json_part_are_left_out() -> None:
    body = HEAD + b"\x00\x01" * 10

    assert json_part(body, b"%d" % len(HEAD)) == HEAD
    assert sequence_of(body, b"%d" % len(HEAD)) == "7"
    assert sequence_of(body, None) == ""


@pytest.mark.parametrize("length", [None, b"", b"x", b"-1", b"999999999999", b"1e3"])
def test_without_a_usable_length_the_whole_body_is_json(length: bytes | None) -> None:
    assert json_part(HEAD, length) == HEAD


def test_a_long_id_is_known_by_its_digest() -> None:
    long = b'{"parameters":{"sequence_id":"%b"}}'
    one, other = sequence_of(long % (b"a" * 9000 + b"1"), None), sequence_of(long % (b"a" * 9000 + b"2"), None)

    assert one != other
    assert max(len(one), len(other)) <= MAX_SEQUENCE_CHARS
    assert sequence_of(long % (b"a" * MAX_SEQUENCE_CHARS), None) == "a" * MAX_SEQUENCE_CHARS


@given(st.binary(max_size=100), st.none() | st.binary(max_size=12))
def test_no_bytes_fail(body: bytes, length: bytes | None) -> None:
    for one in (body, b'"sequence_id"' + body, b'{"parameters":{"sequence_id":"' + body):
        sequence_of(one, length)
