"""What a request's head must be, and which of its fields go further."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.problems import Problem, Refusal
from gateway.http1.head import HOP_BY_HOP, Fields, Forwarded, end_to_end, inspect, nominated_by, origin_form

HOST = (b"host", b"example.org")


@dataclass
class Head:
    """A parsed head, as `inspect` takes it."""

    fields: Fields
    version: str = "1.1"
    host: bytes = b""
    length: int | None = None
    chunked: bool = False
    keep_alive: bool = False
    expects_continue: bool = False
    nominated: frozenset[bytes] = field(default_factory=frozenset)


def inspected(*fields: tuple[bytes, bytes], version: str = "1.1", host: tuple[bytes, bytes] | None = HOST) -> Head:
    head = Head([host, *fields] if host else list(fields), version)
    refusal = inspect(head, None)
    assert refusal is None, refusal
    return head


def problem_of(*fields: tuple[bytes, bytes], version: str = "1.1") -> Problem | None:
    refusal = inspect(Head(list(fields), version), None)
    return refusal.problem if refusal else None


# -- framing -----------------------------------------------------------------------------------------------------------


def test_a_head_without_framing_fields_has_no_body() -> None:
    head = inspected()
    assert (head.length, head.chunked, head.expects_continue) == (None, False, False)


@pytest.mark.parametrize(
    ("text", "length"), [(b"0", 0), (b"5", 5), (b"0005", 5), (b"999999999999999999", 999999999999999999)]
)
def test_a_length_is_decimal_digits(text: bytes, length: int) -> None:
    assert inspected((b"content-length", text)).length == length


@pytest.mark.parametrize(
    "text", [b"", b"-1", b"+5", b"5 5", b"5,5", b"0x5", b"5.0", b"1e3", b"\xb2", b"1234567890123456789"]
)
def test_any_other_length_is_refused(text: bytes) -> None:
    assert problem_of(HOST, (b"content-length", text)) is Problem.BAD_REQUEST


def test_a_body_is_framed_once() -> None:
    length, coding = (b"content-length", b"5"), (b"transfer-encoding", b"chunked")
    assert problem_of(HOST, length, length) is Problem.BAD_REQUEST
    assert problem_of(HOST, length, coding) is Problem.BAD_REQUEST
    assert problem_of(HOST, coding, length) is Problem.BAD_REQUEST


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"CHUNKED"])
def test_chunked_is_the_coding_we_know(coding: bytes) -> None:
    assert inspected((b"transfer-encoding", coding)).chunked


@pytest.mark.parametrize(
    "coding", [b"gzip", b"identity", b"gzip, chunked", b"chunked, gzip", b",chunked", b"", b"xchunked"]
)
def test_other_codings_are_not_implemented(coding: bytes) -> None:
    assert problem_of(HOST, (b"transfer-encoding", coding)) is Problem.NOT_IMPLEMENTED


def test_chunked_twice_is_not_implemented() -> None:
    coding = (b"transfer-encoding", b"chunked")
    assert problem_of(HOST, coding, coding) is Problem.NOT_IMPLEMENTED


def test_http_1_0_knows_no_transfer_coding() -> None:
    assert problem_of(HOST, (b"transfer-encoding", b"chunked"), version="1.0") is Problem.BAD_REQUEST


# -- host --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        b"example.org",
        b"example.org:80",
        b"example.org:",
        b"EXAMPLE.org",
        b"127.0.0.1:8080",
        b"[::1]",
        b"[::1]:8080",
        b"[fe80::1%25eth0]",
        b"a_b",
        b"xn--bcher-kva.example",
        b"a%20b",
    ],
)
def test_a_host_may_be_a_name_or_an_address_with_a_port(host: bytes) -> None:
    assert inspected(host=(b"host", host)).host == host


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"a/b",
        b"a@b",
        b"user@example.org",
        b"a b",
        b"a,b,,@",
        b"a#b",
        b"a?b",
        b"a:b",
        b"a:123456",
        b"a:80:80",
        b"[::1",
        b"[::g]",
        b"::1",
        b"a\\b",
        b"a%2",
        b"caf\xe9",
        b"<script>",
    ],
)
def test_any_other_host_is_refused(host: bytes) -> None:
    assert problem_of((b"host", host)) is Problem.BAD_REQUEST


def test_http_1_1_needs_exactly_one_host() -> None:
    assert problem_of() is Problem.BAD_REQUEST
    assert problem_of(HOST, HOST) is Problem.BAD_REQUEST


def test_http_1_0_needs_no_host() -> None:
    assert inspected(version="1.0", host=None).host == b""


def test_a_host_known_to_be_good_is_not_looked_at_again() -> None:
    head = Head([(b"host", b"not/a host")])
    assert inspect(head, b"not/a host") is None
    assert inspect(Head([(b"host", b"not/a host")]), b"example.org") is not None


# -- connection and expectations --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "options", "stays"),
    [
        ("1.1", [], True),
        ("1.1", [b"keep-alive"], True),
        ("1.1", [b"close"], False),
        ("1.1", [b"Close"], False),
        ("1.1", [b"keep-alive, close"], False),
        ("1.1", [b"keep-alive", b"close"], False),
        ("1.1", [b"x-other"], True),
        ("1.1", [b""], True),
        ("1.0", [], False),
        ("1.0", [b"keep-alive"], True),
        ("1.0", [b"Keep-Alive"], True),
        ("1.0", [b"KEEP-ALIVE"], True),
        ("1.0", [b"close"], False),
        ("1.0", [b"x-other"], False),
    ],
)
def test_who_stays_connected(version: str, options: list[bytes], stays: bool) -> None:
    assert inspected(*((b"connection", option) for option in options), version=version).keep_alive is stays


def test_connection_names_fields_for_this_hop() -> None:
    head = inspected((b"connection", b"Keep-Alive, X-Secret ,\tx-other,,"), (b"connection", b"close"))
    assert head.nominated == {b"x-secret", b"x-other"}


@pytest.mark.parametrize("value", [b"a b", b"x;y", b'"x"', b"caf\xe9"])
def test_a_connection_option_is_a_token(value: bytes) -> None:
    assert problem_of(HOST, (b"connection", value)) is Problem.BAD_REQUEST


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue"])
def test_the_client_may_wait_to_be_asked_for_its_body(value: bytes) -> None:
    assert inspected((b"expect", value)).expects_continue


def test_an_http_1_0_client_is_never_asked() -> None:
    assert not inspected((b"expect", b"100-continue"), version="1.0").expects_continue


@pytest.mark.parametrize("values", [[b"200-ok"], [b""], [b"100-continue", b"100-continue"], [b"100-continue, x"]])
def test_other_expectations_fail(values: list[bytes]) -> None:
    assert problem_of(HOST, *((b"expect", value) for value in values)) is Problem.EXPECTATION_FAILED


# -- the target --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", b"/"),
        (b"/v2/models/m/infer", b"/v2/models/m/infer"),
        (b"/a?b=c&d", b"/a?b=c&d"),
        (b"/a%20b", b"/a%20b"),
        (b"/a?b?c/../d", b"/a?b?c/../d"),
        (b"http://example.org/a?b", b"/a?b"),
        (b"HTTPS://example.org:8443/a", b"/a"),
        (b"http://example.org", b"/"),
        (b"http://example.org?q", b"/?q"),
        (b"http://[::1]:80/a", b"/a"),
    ],
)
def test_a_target_is_a_path_or_an_http_url(target: bytes, path: bytes) -> None:
    assert origin_form("GET", target) == path


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"*",
        b"a",
        b"example.org:443",
        b"/a b",
        b"/a#b",
        b'/a"b',
        b"/caf\xc3\xa9",
        b"/\x01",
        b"/\x7f",
        b"http://",
        b"http:///a",
        b"http://user@example.org/",
        b"http://example.org/#f",
        b"http://a/b c",
        b"ftp://example.org/",
        b"javascript:alert(1)",
    ],
)
def test_any_other_target_is_refused(target: bytes) -> None:
    refusal = origin_form("GET", target)
    assert isinstance(refusal, Refusal)
    assert refusal.problem is Problem.BAD_REQUEST


def test_only_options_may_ask_for_the_server_itself() -> None:
    assert origin_form("OPTIONS", b"*") == b"*"


@given(st.binary(max_size=40))
def test_no_target_escapes_the_rules(target: bytes) -> None:
    path = origin_form("GET", target)
    assert isinstance(path, Refusal) or (path.startswith(b"/") and all(0x21 <= byte <= 0x7E for byte in path))


# -- which fields go on ------------------------------------------------------------------------------------------------


def passed(*fields: tuple[bytes, bytes], nominated: frozenset[bytes] = frozenset()) -> bytes:
    return b"".join(end_to_end(list(fields), Forwarded(HOP_BY_HOP | {b"x-ours"}), nominated))


def test_fields_go_on_in_their_order_and_as_often_as_they_came() -> None:
    assert passed((b"b", b"1"), (b"a", b""), (b"b", b"2, 3")) == b"b: 1\r\na: \r\nb: 2, 3\r\n"


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_fields_end_here(name: bytes) -> None:
    assert passed((b"a", b"1"), (name, b"x")) == b"a: 1\r\n"


def test_our_own_fields_end_here() -> None:
    assert passed((b"x-ours", b"forged"), (b"a", b"1")) == b"a: 1\r\n"


def test_nominated_fields_end_here() -> None:
    assert passed((b"x-secret", b"s"), (b"a", b"1"), nominated=frozenset({b"x-secret"})) == b"a: 1\r\n"


def test_names_that_a_backend_could_take_for_others_end_here() -> None:
    assert passed((b"content_length", b"5"), (b"a", b"1")) == b"a: 1\r\n"


def test_no_client_can_fill_the_memory_of_names() -> None:
    forwarded = Forwarded(HOP_BY_HOP)
    for number in range(Forwarded.REMEMBERED + 500):
        assert forwarded[b"x-%d" % number]
    assert len(forwarded) == Forwarded.REMEMBERED
    assert not forwarded[b"te"]


@pytest.mark.parametrize(
    ("connection", "nominated"),
    [
        (b"close", set()),
        (b"keep-alive", set()),
        (b"CLOSE", set()),
        (b"", set()),
        (b"X-Inner", {b"x-inner"}),
        (b" X-A ,x-b\t,, close", {b"x-a", b"x-b"}),
    ],
)
def test_what_an_answers_connection_field_keeps_to_this_hop(connection: bytes, nominated: set[bytes]) -> None:
    assert nominated_by(connection) == nominated
