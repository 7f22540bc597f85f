"""The content coding of an answer is undone within a bound, and what cannot be undone says why."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.evidence.content import MOST_MEMBERS, ContentError, decoded

PLAIN = b'{"outputs":[{"name":"y","data":[1,2,3]}]}' * 20
LIMIT = 64 * 1024


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "content"),
    [
        ("", PLAIN),
        ("identity", PLAIN),
        ("gzip", zipped(PLAIN)),
        ("GZip ", zipped(PLAIN)),
        ("x-gzip", zipped(PLAIN)),
        ("deflate", zlib.compress(PLAIN)),
        # Many servers mean the bare stream by `deflate` (RFC 9110 section 8.4.1.2 knows of them).
        ("deflate", raw_deflate(PLAIN)),
        # A gzip file is a series of members (RFC 1952 section 2.2).
        ("gzip", zipped(PLAIN[:100]) + zipped(b"") + zipped(PLAIN[100:])),
    ],
    ids=["none", "identity", "gzip", "GZip", "x-gzip", "deflate", "bare deflate", "members"],
)
def test_known_codings_are_undone(coding: str, content: bytes) -> None:
    assert decoded(content, coding, LIMIT) == PLAIN


@pytest.mark.parametrize(
    ("coding", "content", "says"),
    [
        ("br", PLAIN, "'br' is not one we can undo"),
        ("gzip, gzip", zipped(PLAIN), "'gzip, gzip' is not one we can undo"),
        ("x" * 200, PLAIN, f"'{'x' * 40}' is not one we can undo"),
        ("gzip", PLAIN, "the content is not gzip: "),
        ("deflate", PLAIN, "the content is not deflate: "),
        ("gzip", zipped(PLAIN)[:-9], "ends before its gzip does"),
        ("gzip", zipped(PLAIN) + zipped(PLAIN)[:-9], "ends before its gzip does"),
        ("gzip", zipped(PLAIN) + b"more", "the content is not gzip: "),
        ("deflate", zlib.compress(PLAIN) + b"more", "goes on after its deflate ends"),
        ("gzip", b"", "ends before its gzip does"),
        ("deflate", b"", "ends before its deflate does"),
    ],
    ids=[
        "unknown",
        "two",
        "long",
        "no gzip",
        "no deflate",
        "cut",
        "cut member",
        "gzip and more",
        "deflate and more",
        "no gzip at all",
        "no deflate at all",
    ],
)
def test_what_cannot_be_undone_says_why(coding: str, content: bytes, says: str) -> None:
    with pytest.raises(ContentError, match=says):
        decoded(content, coding, LIMIT)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_exactly_the_limit_passes_and_one_byte_more_does_not(coding: str) -> None:
    pack = gzip.compress if coding == "gzip" else zlib.compress
    assert decoded(pack(b"a" * LIMIT), coding, LIMIT) == b"a" * LIMIT
    with pytest.raises(ContentError, match=f"larger than {LIMIT} bytes when decoded"):
        decoded(pack(b"a" * (LIMIT + 1)), coding, LIMIT)


def test_the_limit_is_for_all_members_together() -> None:
    half = gzip.compress(b"a" * (LIMIT // 2 + 1))

    with pytest.raises(ContentError, match="larger than"):
        decoded(half + half, "gzip", LIMIT)


def test_members_are_bounded_because_each_costs_a_copy() -> None:
    assert decoded(zipped(b"") * MOST_MEMBERS, "gzip", LIMIT) == b""
    with pytest.raises(ContentError, match="more than 100 gzip members"):
        decoded(zipped(b"") * 50_000, "gzip", LIMIT)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_takes_no_more_memory_than_the_limit(coding: str) -> None:
    """64 MiB of zeros in 64 KiB."""
    pack = gzip.compress if coding == "gzip" else zlib.compress
    bomb = pack(bytes(64 * 1024 * 1024))
    tracemalloc.start()
    try:
        with pytest.raises(ContentError, match="larger than"):
            decoded(bomb, coding, LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * LIMIT + len(bomb)


@given(st.sampled_from(["gzip", "deflate"]), st.binary(max_size=2000), st.integers(0, 2000), st.binary(max_size=3))
def test_damage_is_an_error_of_ours_or_the_plain_content(coding: str, plain: bytes, at: int, damage: bytes) -> None:
    content = bytearray(gzip.compress(plain) if coding == "gzip" else zlib.compress(plain))
    content[at : at + len(damage)] = damage

    try:
        found = decoded(bytes(content), coding, LIMIT)
    except ContentError:
        return
    assert len(found) <= LIMIT
