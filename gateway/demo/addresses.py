"""Client addresses of the demo: networks reserved for documentation, each given to a country.

No address here belongs to anybody (RFC 5737, RFC 3849), so the demo can show geography without a real client in it.
`countries.py` writes the same table into `data/demo-country.mmdb`; a test holds the two together.
"""

from __future__ import annotations

import bisect
import itertools
import zlib
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final

COUNTRY_DATABASE: Final = Path(__file__).parent / "data" / "demo-country.mmdb"


@dataclass(frozen=True, slots=True)
class ClientNetwork:
    """A network, the country its clients are in, and how many of 100 clients call from it."""

    network: IPv4Network | IPv6Network
    country: str
    name: str
    share: int


def _of(network: str, country: str, name: str, share: int) -> ClientNetwork:
    return ClientNetwork(ip_network(network), country, name, share)


CLIENT_NETWORKS: Final = (
    _of("192.0.2.0/25", "US", "United States", 42),
    _of("192.0.2.128/26", "CA", "Canada", 10),
    _of("192.0.2.192/26", "MX", "Mexico", 5),
    _of("198.51.100.0/26", "GB", "United Kingdom", 8),
    _of("198.51.100.64/26", "DE", "Germany", 6),
    _of("198.51.100.128/26", "FR", "France", 4),
    _of("198.51.100.192/26", "BR", "Brazil", 3),
    _of("203.0.113.0/26", "JP", "Japan", 4),
    _of("203.0.113.64/26", "AU", "Australia", 2),
    # Nobody in the demo calls from here: an address to try a geofence with.
    _of("203.0.113.128/28", "KP", "North Korea", 0),
    _of("2001:db8:1::/48", "US", "United States", 8),
    _of("2001:db8:2::/48", "DE", "Germany", 5),
    _of("2001:db8:3::/48", "JP", "Japan", 3),
)
"""The rest of 203.0.113.0/24 and of 2001:db8::/32 is in no country, as some real addresses are."""

_CALLERS: Final = tuple(network for network in CLIENT_NETWORKS if network.share)
_BOUNDS: Final = tuple(itertools.accumulate(network.share for network in _CALLERS))
_HOSTS_MAX: Final = 2**16


def client_address(carrier: str, destination: str) -> str:
    """Address of the office of `carrier` that asks about flights to `destination`: the same in every run."""
    draw = zlib.crc32(f"{carrier}/{destination}".encode("ascii"))
    caller = _CALLERS[bisect.bisect_right(_BOUNDS, draw % _BOUNDS[-1])]
    hosts = min(caller.network.num_addresses - 2, _HOSTS_MAX)
    return str(caller.network[1 + draw // _BOUNDS[-1] % hosts])
