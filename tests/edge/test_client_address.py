"""Whose request it is: only what a trusted peer says counts, read from the right."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.client_address import client_address, parse, trusted_peer
from tests.edge.conftest import StartEdge
from tests.support.backends import answers
from tests.support.edges import LOGGED
from tests.support.fixtures import StartBackend
from tests.support.gateway_process import one_model
from tests.support.wire_client import post

PROXY, INNER = "10.0.0.1", "10.0.0.2"
TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


def address(peer: str, *lines: str) -> str:
    """The client's address where these field lines came from `peer`."""
    fields = []
    for line in lines:
        name, _, value = line.partition(": ")
        fields.append((name.lower().encode(), value.encode("latin-1")))
    return client_address(peer, fields, TRUSTED)


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        # The first from the right that is not trusted.
        (["X-Forwarded-For: 198.51.100.7"], "198.51.100.7"),
        (["X-Forwarded-For: 203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        (["X-Forwarded-For: 203.0.113.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        (["X-Forwarded-For: 203.0.113.9,198.51.100.7,10.1.2.3 ,\t10.0.0.2"], "198.51.100.7"),
        # All lines joined, in their order.
        (["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 198.51.100.7"], "198.51.100.7"),
        (["X-Forwarded-For: 198.51.100.7", "X-Other: 1", "x-forwarded-for: 10.0.0.2"], "198.51.100.7"),
        # All trusted: the leftmost.
        (["X-Forwarded-For: 10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        (["X-Forwarded-For: 10.0.0.1"], "10.0.0.1"),
        # A hop that is no address ends the walk at the good one to its right.
        (["X-Forwarded-For: 203.0.113.9, garbage, 10.0.0.2"], "10.0.0.2"),
        (["X-Forwarded-For: 203.0.113.9, unknown"], PROXY),
        (["X-Forwarded-For: 203.0.113.9,"], PROXY),
        (["X-Forwarded-For: "], PROXY),
        (["X-Forwarded-For: 203.0.113.9, 256.1.1.1"], PROXY),
        (["X-Forwarded-For: 203.0.113.9, 1.2.3"], PROXY),
        (["X-Forwarded-For: 203.0.113.9, 0x7f.1"], PROXY),
        (["X-Forwarded-For: 203.0.113.9, 127.1"], PROXY),
        (["X-Forwarded-For: 203.0.113.9, ::g"], PROXY),
        (["X-Forwarded-For: 203.0.113.9, [::1"], PROXY),
        (["X-Forwarded-For: 203.0.113.9, [2001:db8::1]x"], PROXY),
        (["X-Forwarded-For: 203.0.113.9, [2001:db8::1]:"], PROXY),
        (["X-Forwarded-For: 203.0.113.9, 198.51.100.7:http"], PROXY),
        (["X-Forwarded-For: caf\xe9"], PROXY),
        # Ports and brackets are cut off, zones too.
        (["X-Forwarded-For: 198.51.100.7:4711"], "198.51.100.7"),
        (["X-Forwarded-For: [2001:db8::1]:4711"], "2001:db8::1"),
        (["X-Forwarded-For: [2001:db8::1]"], "2001:db8::1"),
        (["X-Forwarded-For: 2001:DB8:0::1"], "2001:db8::1"),
        (["X-Forwarded-For: fe80::1%eth0"], "fe80::1"),
        # IPv4 in IPv6 is IPv4.
        (["X-Forwarded-For: ::ffff:198.51.100.7"], "198.51.100.7"),
        (["X-Forwarded-For: [::ffff:198.51.100.7]:80"], "198.51.100.7"),
        (["X-Forwarded-For: 198.51.100.7, ::ffff:10.0.0.2"], "198.51.100.7"),
        (["X-Forwarded-For: 198.51.100.7, fd00::5"], "198.51.100.7"),
        # Forwarded, where there is no X-Forwarded-For.
        (["Forwarded: for=198.51.100.7"], "198.51.100.7"),
        (["Forwarded: for=203.0.113.9, For=198.51.100.7;proto=https, for=10.0.0.2"], "198.51.100.7"),
        (["Forwarded: proto=https;by=10.0.0.1;for=198.51.100.7"], "198.51.100.7"),
        (['Forwarded: for="198.51.100.7:4711"'], "198.51.100.7"),
        (['Forwarded: for="[2001:db8::1]:4711"'], "2001:db8::1"),
        (["Forwarded: for=203.0.113.9", "Forwarded: for=198.51.100.7"], "198.51.100.7"),
        (["Forwarded: for=203.0.113.9, for=_hidden"], PROXY),
        (["Forwarded: for=203.0.113.9, for=unknown, for=10.0.0.2"], "10.0.0.2"),
        (["Forwarded: for=203.0.113.9, proto=https"], PROXY),
        (["Forwarded: by=198.51.100.7"], PROXY),
        (["Forwarded: 198.51.100.7"], PROXY),
        (["Forwarded: "], PROXY),
        (["X-Forwarded-For: 198.51.100.7", "Forwarded: for=203.0.113.9"], "198.51.100.7"),
        (["X-Forwarded-For: garbage", "Forwarded: for=203.0.113.9"], PROXY),
        # No other field names an address.
        (["X-Real-IP: 198.51.100.7"], PROXY),
        (["X-Client-IP: 198.51.100.7", "True-Client-IP: 198.51.100.7", "CF-Connecting-IP: 198.51.100.7"], PROXY),
        (["X-Forwarded: for=198.51.100.7", "Via: 1.1 198.51.100.7"], PROXY),
        ([], PROXY),
    ],
)
def test_what_a_trusted_proxy_reports(lines: list[str], client: str) -> None:
    assert address(PROXY, *lines) == client


@pytest.mark.parametrize("peer", ["198.51.100.7", "11.0.0.1", "2001:db8::1", "::1"])
@pytest.mark.parametrize("line", ["X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9"])
def test_nobody_else_is_believed(peer: str, line: str) -> None:
    assert address(peer, line) == peer


@pytest.mark.parametrize("peer", ["10.0.0.1", "10.255.255.255", "::ffff:10.0.0.1", "fd00::1", "fd00::1%eth0"])
def test_who_is_a_trusted_peer(peer: str) -> None:
    assert trusted_peer(peer, TRUSTED)
    assert address(peer, "X-Forwarded-For: 198.51.100.7") == "198.51.100.7"


@pytest.mark.parametrize("peer", ["", "unix:", "11.0.0.1", "::1", "fe80::1%eth0"])
def test_who_is_not(peer: str) -> None:
    assert not trusted_peer(peer, TRUSTED)
    assert not trusted_peer("10.0.0.1", ())


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    fields = [(b"x-forwarded-for", b"203.0.113.9")]
    assert client_address("10.0.0.1", fields, ()) == "10.0.0.1"
    assert client_address("2001:DB8::1", fields, ()) == "2001:db8::1"
    assert client_address("::ffff:10.0.0.1", fields, ()) == "10.0.0.1"
    assert client_address("", fields, ()) == ""
    assert client_address("a:b", fields, ()) == "a:b"


def test_a_peer_without_an_address_is_not_a_proxy() -> None:
    assert address("", "X-Forwarded-For: 203.0.113.9") == ""


@given(st.text(max_size=30))
def test_no_text_is_too_strange_for_an_address(text: str) -> None:
    found = parse(text)
    assert found is None or parse(str(found)) == found


@given(st.lists(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=15), max_size=4))
def test_whatever_a_proxy_reports_there_is_an_address(hops: list[str]) -> None:
    value = ",".join(hops).encode("latin-1")
    for name in (b"x-forwarded-for", b"forwarded"):
        ipaddress.ip_address(client_address(PROXY, [(name, value)], TRUSTED))


# -- in a request ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trusted", [True, False])
def test_the_log_and_the_tenant_follow_the_same_rule(
    start_edge: StartEdge, start_backend: StartBackend, trusted: bool
) -> None:
    settings = one_model(
        start_backend(answers()).url,
        access_log=LOGGED,
        trusted_proxies=["127.0.0.0/8"] if trusted else [],
        tenant_header="X-Tenant",
    )
    edge = start_edge(settings)

    edge.asked(post("/models/echo/x", b"{}", "X-Forwarded-For: 198.51.100.7", "X-Tenant: acme"))

    (line,) = edge.log_lines()
    assert (line["client"], line["tenant"]) == (("198.51.100.7", "acme") if trusted else ("127.0.0.1", ""))


def test_a_reload_changes_who_is_believed_and_which_field_names_the_tenant(
    start_edge: StartEdge, start_backend: StartBackend
) -> None:
    backend = start_backend()
    edge = start_edge(one_model(backend.url, access_log=LOGGED, tenant_header="X-One"))
    with edge.connects() as client:
        sent = post("/models/echo/x", b"{}", "X-One: one", "X-Two: two", "X-Forwarded-For: 198.51.100.7")
        for tenant_header, trusted in (("X-One", True), ("X-Two", True), ("X-Two", False)):
            edge.applies(
                one_model(
                    backend.url,
                    access_log=LOGGED,
                    tenant_header=tenant_header,
                    trusted_proxies=["127.0.0.1/32"] if trusted else [],
                )
            )
            client.asks(sent)
    assert [(line["client"], line["tenant"]) for line in edge.log_lines()] == [
        ("198.51.100.7", "one"),
        ("198.51.100.7", "two"),
        ("127.0.0.1", ""),
    ]
