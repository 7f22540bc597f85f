from ipaddress import ip_address, ip_network

import maxminddb
import pytest

from gateway.demo import countries
from gateway.demo.addresses import CLIENT_NETWORKS, COUNTRY_DATABASE, client_address
from gateway.demo.flights import read_flights

DOCUMENTATION = [ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")]
OFFICES = sorted({(one.carrier, one.destination) for one in read_flights()})


def country_of(address, database=COUNTRY_DATABASE):
    with maxminddb.open_database(database) as reader:
        record = reader.get(address)
    return record["country"]["iso_code"] if record else None


def test_the_database_has_the_layout_of_a_country_database():
    with maxminddb.open_database(COUNTRY_DATABASE) as reader:
        assert reader.metadata().database_type == "GeoLite2-Country"
        assert reader.metadata().ip_version == 6
        assert reader.get("192.0.2.1") == {"country": {"iso_code": "US", "names": {"en": "United States"}}}


@pytest.mark.parametrize("entry", CLIENT_NETWORKS, ids=lambda entry: str(entry.network))
def test_the_database_knows_every_network_from_end_to_end(entry):
    assert country_of(entry.network[0]) == entry.country
    assert country_of(entry.network[-1]) == entry.country


@pytest.mark.parametrize("address", ["203.0.113.200", "2001:db8::1", "127.0.0.1", "8.8.8.8"])
def test_other_addresses_are_in_no_country(address):
    assert country_of(address) is None


def test_only_documentation_addresses_are_given_to_countries():
    for entry in CLIENT_NETWORKS:
        assert any(entry.network.version == block.version and entry.network.subnet_of(block) for block in DOCUMENTATION)


def test_clients_call_from_several_countries_and_never_from_the_one_kept_for_trying():
    seen = {country_of(client_address(*office)) for office in OFFICES}

    assert seen == {entry.country for entry in CLIENT_NETWORKS} - {"KP"}


def test_a_client_address_is_a_host_of_its_network_and_always_the_same():
    for office in OFFICES:
        address = ip_address(client_address(*office))
        (network,) = [entry.network for entry in CLIENT_NETWORKS if address in entry.network]

        assert address not in (network[0], network[-1])
        assert client_address(*office) == str(address)
    # Across runs and machines too, not only within this process.
    assert client_address("UA", "IAH") == "192.0.2.119"


def test_the_committed_database_is_what_the_script_writes(tmp_path):
    path = tmp_path / "country.mmdb"

    countries.write_database(path)

    assert path.read_bytes() == COUNTRY_DATABASE.read_bytes()
