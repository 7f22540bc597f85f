# mypy: disable-error-code="import-untyped"
"""Writes `data/demo-country.mmdb` from the networks in `addresses.py`: python -m gateway.demo.countries

The records have the layout of GeoLite2-Country (`country.iso_code`), so that a real database takes its place without a
change. Development only: needs mmdb-writer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from gateway.demo.addresses import CLIENT_NETWORKS, COUNTRY_DATABASE

BUILT_AT: Final = 1_356_998_400  # 2013-01-01: the same bytes whenever it is built


class _Writer(MMDBWriter):
    """The writer with a fixed time of build."""

    def _build_meta(self) -> dict[str, Any]:
        return super()._build_meta() | {"build_epoch": BUILT_AT}


def write_database(path: Path = COUNTRY_DATABASE) -> None:
    """Write the database: IPv6, with the IPv4 networks in it as the format has them."""
    writer = _Writer(
        ip_version=6,
        ipv4_compatible=True,
        database_type="GeoLite2-Country",
        languages=["en"],
        description="Countries of Tiltyard's demo: documentation networks, no real places",
    )
    for entry in CLIENT_NETWORKS:
        country = {"iso_code": entry.country, "names": {"en": entry.name}}
        writer.insert_network(IPSet([str(entry.network)]), {"country": country})
    writer.to_db_file(str(path))


if __name__ == "__main__":
    write_database()
    print(f"wrote {COUNTRY_DATABASE}")
