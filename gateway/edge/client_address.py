"""Whose request it is, as an address: one function for every guard, slice and log line.

The peer, unless the peer is a trusted proxy: then the list of hops it reports is walked from the right, over trusted
ones, to the first that is not. Only `X-Forwarded-For`, or in its absence `Forwarded` (RFC 7239), is read; a hop that is
no address ends the walk at the good one to its right, because everything left of it was written by somebody unknown.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from gateway.core.snapshot import Network
from gateway.http1.head import Fields

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def client_address(peer: str, fields: Fields, trusted: Sequence[Network]) -> str:
    """The client's address as text, without port, brackets or zone; `::ffff:a.b.c.d` as `a.b.c.d`."""
    if not trusted:
        return peer if ":" not in peer else str(parse(peer) or peer)
    address = parse(peer)
    if address is None or not _is_trusted(address, trusted):
        return str(address or peer)
    for hop in reversed(_hops(fields)):
        parsed = parse(hop)
        if parsed is None:
            break
        address = parsed
        if not _is_trusted(parsed, trusted):
            break
    return str(address)


def trusted_peer(peer: str, trusted: Sequence[Network]) -> bool:
    """Whether the other end of a connection is a proxy that is believed."""
    address = parse(peer)
    return address is not None and _is_trusted(address, trusted)


def parse(text: str) -> Address | None:
    """An address as proxies write it: with or without port, brackets, quotes, zone id; None if it is none."""
    text = text.strip(" \t").strip('"').strip(" \t")
    if text.startswith("["):
        text, closed, port = text[1:].partition("]")
        if not closed or (port and not (port.startswith(":") and port[1:].isdigit())):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not port.isdigit():
            return None
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _hops(fields: Fields) -> list[str]:
    """What the proxies reported, leftmost first, all field lines joined."""
    forwarded_for = [value for name, value in fields if name == b"x-forwarded-for"]
    if forwarded_for:
        return b",".join(forwarded_for).decode("latin-1").split(",")
    forwarded = [value for name, value in fields if name == b"forwarded"]
    if not forwarded:
        return []
    return [_for_parameter(element) for element in b",".join(forwarded).decode("latin-1").split(",")]


def _for_parameter(element: str) -> str:
    for pair in element.split(";"):
        name, _, value = pair.partition("=")
        if name.strip(" \t").lower() == "for":
            return value
    return ""


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in trusted)
