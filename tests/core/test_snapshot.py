"""A configuration compiled: the same for every process, and nothing left to decide per request."""

import dataclasses
import ipaddress
from pathlib import Path
from typing import Any

import pytest

from gateway.core.snapshot import Slice, Snapshot, Target, TlsSettings, _slice
from tests.support.configurations import RUNTIME_DIRECTORY, snapshot
from tests.support.gateway_process import config
from tests.support.onnx_files import adds


def model(**keys: Any) -> dict[str, Any]:
    return {"protocol": "json", "versions": {"1": {"urls": ["http://127.0.0.1:9001"]}}, "champion": "1", **keys}


def compiled(name: str = "m", *, gateway: dict[str, Any] | None = None, **keys: Any) -> Snapshot:
    return snapshot({**config({name: model(**keys)}), "state": "/state", **(gateway or {})})


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "base_path"),
    [
        ("http://127.0.0.1:9001", "127.0.0.1", 9001, b"127.0.0.1:9001", b""),
        ("http://backend.example", "backend.example", 80, b"backend.example", b""),
        ("http://backend.example/", "backend.example", 80, b"backend.example", b""),
        ("http://backend.example:8000/a/b/", "backend.example", 8000, b"backend.example:8000", b"/a/b"),
        ("http://[::1]:9001/x", "::1", 9001, b"[::1]:9001", b"/x"),
        ("https://backend.example", "backend.example", 443, b"backend.example", b""),
        ("https://backend.example:8443", "backend.example", 8443, b"backend.example:8443", b""),
    ],
)
def test_a_url_becomes_an_address_a_host_and_a_path(
    url: str, host: str, port: int, authority: bytes, base_path: bytes
) -> None:
    (target,) = compiled(versions={"1": {"urls": [url]}}).models["m"].champion.targets

    assert (target.host, target.port, target.unix_path) == (host, port, None)
    assert (target.authority, target.base_path) == (authority, base_path)
    assert (target.tls is not None) is url.startswith("https:")
    assert str(target) == f"{host}:{port}"


@pytest.mark.parametrize(
    ("keys", "settings"),
    [
        ({}, TlsSettings(None, True, "backend.example")),
        ({"tls": {}}, TlsSettings(None, True, "backend.example")),
        ({"tls": {"verify": False}}, TlsSettings(None, False, "backend.example")),
        ({"tls": {"server_name": "other.example"}}, TlsSettings(None, True, "other.example")),
    ],
)
def test_how_an_https_backend_is_believed(keys: dict[str, Any], settings: TlsSettings) -> None:
    (target,) = compiled(versions={"1": {"urls": ["https://backend.example"], **keys}}).models["m"].champion.targets
    assert target.tls == settings


def test_an_authority_of_the_operators_is_kept_as_a_path(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    version = {"urls": ["https://backend.example"], "tls": {"ca": str(tmp_path / "ca.pem")}}
    (target,) = compiled(versions={"1": version}).models["m"].champion.targets
    assert target.tls is not None
    assert target.tls.ca == str(tmp_path / "ca.pem")


def test_several_urls_are_replicas_in_order() -> None:
    urls = ["http://127.0.0.1:9001", "http://127.0.0.1:9002"]
    targets = compiled(versions={"1": {"urls": urls}}).models["m"].champion.targets
    assert [target.port for target in targets] == [9001, 9002]


def test_a_version_has_its_own_time_or_its_models() -> None:
    urls = ["http://127.0.0.1:9001"]
    versions = compiled(versions={"1": {"urls": urls}, "2": {"urls": urls, "timeout": "2s"}}, timeout="9s")
    assert {name: version.timeout_s for name, version in versions.models["m"].versions.items()} == {"1": 9.0, "2": 2.0}
    assert versions.models["m"].timeout_s == 9.0


def test_challengers_know_their_share_and_version() -> None:
    urls = ["http://127.0.0.1:9001"]
    found = compiled(
        versions={"1": {"urls": urls}, "2": {"urls": urls}, "3": {"urls": urls}},
        challengers={"2": {}, "3": {"percent": 12.5}},
    ).models["m"]
    assert [(one.version.name, one.share) for one in found.challengers] == [("2", 1.0), ("3", 0.125)]
    assert found.challengers[0].version is found.versions["2"]


def test_a_built_in_server_listens_on_a_socket_named_by_all_that_it_loads(tmp_path: Path) -> None:
    path = adds(tmp_path / "model.onnx", 1.0)

    def served(**keys: Any) -> Snapshot:
        return compiled(protocol="open-inference", versions={"1": {"onnx": str(path), **keys}})

    one, same, other = served(), served(), served(threads=2)
    (server,) = one.servers.values()
    (target,) = one.models["m"].champion.targets

    assert one.models["m"].champion.server is server
    assert target.unix_path == server.socket_path == str(RUNTIME_DIRECTORY / f"model-{server.key}.sock")
    assert str(target) == f"unix:{server.socket_path}"
    assert (server.model, server.version, server.path, server.threads) == ("m", "1", path, 1)
    assert list(same.servers) == [server.key]
    assert list(other.servers) != [server.key]


@pytest.mark.parametrize(
    ("gateway", "own", "cap"),
    [
        ({}, {}, 4 * 2**20),
        ({"guards": {"sizes": {"body": "1KiB"}}}, {}, 1024),
        ({"guards": {"sizes": {"body": "1KiB"}}}, {"guards": {"sizes": {"body": "2KiB"}}}, 2048),
        ({}, {"guards": {"sizes": {"mode": "off"}}}, 2**63),
    ],
)
def test_the_body_cap_is_the_models_or_the_gateways(gateway: dict[str, Any], own: dict[str, Any], cap: int) -> None:
    assert compiled(gateway=gateway, **own).models["m"].body_cap_bytes == cap


def test_what_is_kept_of_a_pair_is_the_models_choice_or_the_gateways() -> None:
    assert compiled().models["m"].payload == "digest"
    assert compiled(gateway={"pairs": {"payload": "none"}}).models["m"].payload == "none"
    chosen = compiled(gateway={"pairs": {"payload": "none"}}, pairs={"payload": "body"})
    assert chosen.models["m"].payload == "body"


def test_slices_are_taken_apart_once() -> None:
    slices = {"who": "tenant", "which": "version", "from": "input:origin", "how": "header:x-way"}
    assert compiled(slices=slices).models["m"].slices == (
        Slice("who", "tenant", ""),
        Slice("which", "version", ""),
        Slice("from", "input", "origin"),
        Slice("how", "header", "x-way"),
    )


def test_a_slice_of_another_kind_is_a_defect() -> None:
    with pytest.raises(ValueError, match="moon"):
        _slice("x", "moon:phase")


def test_trusted_proxies_are_networks() -> None:
    trusted = compiled(gateway={"trusted_proxies": ["10.0.0.0/8", "::1/128"]}).trusted_proxies
    assert trusted == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))


def test_one_document_is_one_snapshot_everywhere() -> None:
    assert compiled().id == compiled().id
    assert compiled().id != compiled(timeout="3s").id


def test_nothing_in_it_can_be_changed() -> None:
    found = compiled()
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.id = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        found.models["other"] = found.models["m"]  # type: ignore[index]
    with pytest.raises(TypeError):
        found.models["m"].versions["2"] = found.models["m"].champion  # type: ignore[index]


def test_targets_can_be_told_apart_and_remembered() -> None:
    one = Target("a", 1, None, None, b"a", b"")
    assert one == Target("a", 1, None, None, b"a", b"")
    assert len({one, Target("a", 1, None, None, b"a", b""), Target("a", 1, None, None, b"a", b"/x")}) == 2
