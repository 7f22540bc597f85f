"""Content codings: what is undone, what is refused, and that nothing grows beyond its bound."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.onnx_server.content import MAX_MEMBERS, decoded
from gateway.onnx_server.errors import Refused

LIMIT = 100_000
TEXT = b"champion and challenger " * 100


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"", TEXT),
        (b"identity", TEXT),
        (b"gzip", gzipped(TEXT)),
        (b"GZip", gzipped(TEXT)),
        (b"x-gzip", gzipped(TEXT)),
        (b"deflate", zlib.compress(TEXT)),
        (b"deflate", raw_deflate(TEXT)),
        (b"gzip, identity", gzipped(TEXT)),
        (b"deflate, gzip", gzipped(zlib.compress(TEXT))),
        (b"gzip", gzipped(TEXT[:1000]) + gzipped(b"") + gzipped(TEXT[1000:])),
    ],
)
def test_a_body_is_decoded_by_its_coding(coding: bytes, body: bytes) -> None:
    assert decoded(body, coding, LIMIT) == TEXT


@given(st.lists(st.binary(max_size=200_000), min_size=1, max_size=3))
def test_any_members_come_out_as_they_went_in(members: list[bytes]) -> None:
    body = b"".join(gzipped(member) for member in members)
    assert decoded(body, b"gzip", 600_000) == b"".join(members)


@pytest.mark.parametrize(
    ("coding", "body", "status", "words"),
    [
        (b"br", TEXT, 415, "'br' is not supported"),
        (b"gzip, br", gzipped(TEXT), 415, "'br' is not supported"),
        (b"gzip,gzip,gzip,gzip,gzip", TEXT, 415, "too many"),
        (b"gzip", TEXT, 400, "damaged"),
        (b"gzip", b"", 400, "ends too early"),
        (b"deflate", b"", 400, "ends too early"),
        (b"gzip", gzipped(TEXT)[:-5], 400, "ends too early"),
        (b"gzip", gzipped(TEXT) + b"more", 400, "damaged"),
        (b"deflate", zlib.compress(TEXT)[:-1], 400, "ends too early"),
        (b"deflate", zlib.compress(TEXT) + b"more", 400, "bytes follow"),
        (b"gzip", gzipped(b"") * (MAX_MEMBERS + 1), 400, "bytes follow"),
    ],
)
def test_a_damaged_or_unknown_coding_is_refused(coding: bytes, body: bytes, status: int, words: str) -> None:
    with pytest.raises(Refused, match=words) as refused:
        decoded(body, coding, LIMIT)
    assert refused.value.status == status


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT])
def test_a_body_of_exactly_the_limit_passes(size: int) -> None:
    assert decoded(gzipped(b"\0" * size), b"gzip", LIMIT) == b"\0" * size


@pytest.mark.parametrize("size", [LIMIT + 1, 10_000_000])
def test_a_small_body_cannot_become_a_large_one(size: int) -> None:
    for coding, body in (
        (b"gzip", gzipped(b"\0" * size)),
        (b"deflate", zlib.compress(b"\0" * size)),
        (b"gzip", gzipped(b"\0" * (size // 2)) + gzipped(b"\0" * (size - size // 2))),
    ):
        with pytest.raises(Refused, match="larger than 100000 bytes") as refused:
            decoded(body, coding, LIMIT)
        assert refused.value.status == 413


@given(st.binary(max_size=500), st.sampled_from([b"gzip", b"deflate", b"deflate, gzip"]))
def test_no_bytes_do_more_than_be_refused(body: bytes, coding: bytes) -> None:
    try:
        decoded(body, coding, LIMIT)
    except Refused as refused:
        status = refused.status
    else:
        status = 200
    assert status in (200, 400, 413)
