"""Durations, sizes, addresses, networks, URLs and names: what they mean, and what is none."""

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.core.config import Address, format_duration, format_size, parse_duration, parse_size
from gateway.core.config.addresses import Network, Url
from gateway.core.config.names import FieldName, FilePath, IgnorePath, SliceSource
from gateway.core.config.values import LARGEST_BYTES, LONGEST_S, Duration, Size, Wait, shown


def read(kind: Any, written: object) -> Any:
    """What a value of this type is when it stands in a file."""
    return TypeAdapter(Annotated[kind, "as in a section"]).validate_json(json.dumps(written), strict=True)


def refusal(kind: Any, written: object) -> str:
    with pytest.raises(ValidationError) as caught:
        read(kind, written)
    return str(caught.value.errors()[0]["msg"])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("2s", 2.0), ("1.5m", 90.0), ("1h", 3600.0), ("30d", 2592000.0), ("1us", None)]
    + [(text, None) for text in ("", "2", "s", "2 s", "-2s", "+2s", "2S", "1e3s", "1_0s", "0.1.2s", "٣s")]
    + [("0.0001ms", None), ("0.000001s", 0.000001), ("2s\n", None), ("9" * 13 + "s", None)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float | None) -> None:
    if seconds is None:
        with pytest.raises(ValueError, match="no duration"):
            parse_duration(text)
    else:
        assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("1B", 1), ("256KiB", 262144), ("10MB", 10_000_000), ("0.5KiB", 512), ("2TiB", 2**41), ("1TB", 10**12)]
    + [(text, None) for text in ("", "1", "1 MiB", "1mib", "1M", "-1B", "0.3B", "1e3B", "1MiBs", "1MiB\n")],
)
def test_a_size_is_a_number_and_a_unit(text: str, size_bytes: int | None) -> None:
    if size_bytes is None:
        with pytest.raises(ValueError, match="no size"):
            parse_size(text)
    else:
        assert parse_size(text) == size_bytes


@given(st.integers(min_value=0, max_value=LONGEST_S * 10**6))
def test_a_duration_reads_back_exactly(microseconds: int) -> None:
    seconds = microseconds / 10**6

    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(min_value=1, max_value=LARGEST_BYTES))
def test_a_size_reads_back_exactly(size_bytes: int) -> None:
    text = format_size(size_bytes)

    assert (int(text) if text.isdigit() else parse_size(text)) == size_bytes


@pytest.mark.parametrize(
    ("kind", "written", "words"),
    [
        (Duration, 5, "expected a duration such as 2s, got 5"),
        (Duration, "5", 'expected a duration such as 2s, got "5"'),
        (Duration, True, "expected a duration such as 2s, got true"),
        (Duration, None, "expected a duration such as 2s, got nothing"),
        (Duration, {}, "expected a duration such as 2s, got a mapping"),
        (Duration, "0s", "expected a duration longer than 0s, such as 2s"),
        (Duration, "3651d", 'expected a duration of at most 3650d, got "3651d"'),
        (Size, "5 MB", 'expected a size such as 4MiB, got "5 MB"'),
        (Size, 1.5, "expected a size such as 4MiB or a number of bytes, got 1.5"),
        (Size, False, "expected a size such as 4MiB or a number of bytes, got false"),
        (Size, 0, "expected a size from 1 byte to 1024TiB, got 0"),
        (Size, -(10**30), f"expected a size from 1 byte to 1024TiB, got -{10**30}"),
        (Size, "1025TiB", 'expected a size from 1 byte to 1024TiB, got "1025TiB"'),
        (FilePath, " ", 'expected a path, got " "'),
        (FilePath, "a\0b", 'expected a path, got "a\\u0000b"'),
        (FilePath, 3, "expected a path, got 3"),
    ],
)
def test_a_wrong_value_is_refused_in_the_words_of_the_file(kind: Any, written: object, words: str) -> None:
    assert refusal(kind, written) == words


def test_only_a_wait_may_be_zero() -> None:
    assert read(Wait, "0s") == 0.0


def test_durations_made_in_python_are_seconds() -> None:
    adapter = TypeAdapter(Duration)

    assert adapter.validate_python(0.25) == 0.25
    assert adapter.validate_python(2) == 2.0
    for wrong in (True, float("nan"), float("inf"), -1.0):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


@given(st.text(max_size=200) | st.integers() | st.floats() | st.lists(st.integers()) | st.none() | st.booleans())
def test_what_was_found_is_shown_short_and_on_one_line(value: object) -> None:
    assert len(shown(value)) <= 60
    assert shown(value).isprintable()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("Localhost:0", Address("localhost", 0)),
        ("[::1]:65535", Address("::1", 65535)),
        ("[2001:DB8:0:0::1]:80", Address("2001:db8::1", 80)),
    ],
)
def test_an_address_is_host_and_port(text: str, address: Address) -> None:
    assert read(Address, text) == address
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "written",
    [
        *("", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.256:80"),
        *("::1:80", "[::1]", "[x]:1", "[127.0.0.1]:80", "[::g]:1", "*:80", "a b:80", "a..b:80"),
        *("-a:80", "127.0.0.1:٣", "127.0.0.1:80\n", 8080, None),
    ],
)
def test_what_is_no_address_is_refused(written: object) -> None:
    assert refusal(Address, written).startswith("expected an address such as 127.0.0.1:8080 or [::1]:8080, got ")


@pytest.mark.parametrize(
    ("written", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
    ],
)
def test_a_network_or_one_address_is_trusted(written: str, network: str) -> None:
    assert read(Network, written) == network


@pytest.mark.parametrize("written", ["", "localhost", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/8/8", "10"])
def test_what_is_no_network_is_refused(written: str) -> None:
    assert "network" in refusal(Network, written)


@pytest.mark.parametrize(
    "written",
    ["http://127.0.0.1:9000", "https://a.example/base/", "http://[::1]:9000/x%20y", "http://localhost", "http://a_b.c"],
)
def test_a_url_leads_to_a_backend(written: str) -> None:
    assert read(Url, written) == written


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("127.0.0.1:9000", "scheme"),
        ("ftp://a", "scheme"),
        ("HTTP:a", "host"),
        ("http://", "host"),
        ("http://:80", "host"),
        ("http://a/?x", "query"),
        ("http://a/#", "fragment"),
        ("http://u:p@a/", "password"),
        ("http://a:0/", "port"),
        ("http://a:", "port"),
        ("http://a:99999/", "malformed"),
        ("http://a:b/", "malformed"),
        ("http://[::1/", "malformed"),
        ("http://1.2.3.256/", "host"),
        ("http://a b/", "spaces"),
        ("http://é/", "ASCII"),
        ("http://a/\n", "ASCII"),
        ("http://a/" + "x" * 2048, "at most 2048"),
    ],
)
def test_what_is_no_url_of_a_backend_is_refused_with_the_reason(written: str, problem: str) -> None:
    assert problem in refusal(Url, written)


@pytest.mark.parametrize(
    ("kind", "written", "is_one"),
    [
        (FieldName, "x-tenant", True),
        (FieldName, "x tenant", False),
        (FieldName, "x-tenant:", False),
        (FieldName, "", False),
        (SliceSource, "tenant", True),
        (SliceSource, "input:origin name", True),
        (SliceSource, "input:", False),
        (SliceSource, "header:x-a", True),
        (SliceSource, "header:a b", False),
        (IgnorePath, "$", True),
        (IgnorePath, "$.outputs[0].data[*]['a.b']", True),
        (IgnorePath, "$..a", False),
        (IgnorePath, "outputs", False),
        (IgnorePath, "$[a]", False),
    ],
)
def test_names_have_their_form(kind: Any, written: str, is_one: bool) -> None:
    if is_one:
        assert read(kind, written) == written
    else:
        assert refusal(kind, written).startswith("expected ")


def test_field_names_are_compared_in_lower_case() -> None:
    assert read(FieldName, "X-Tenant") == "x-tenant"


def test_without_a_file_a_path_stays_as_it_is() -> None:
    assert read(FilePath, "models/a.onnx") == Path("models/a.onnx")
