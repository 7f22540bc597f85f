"""The configuration as types: defaults, rules over several keys, canonical form, id, static keys."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.core.config import (
    Address,
    Batch,
    Challenger,
    Compare,
    Gateway,
    Guards,
    Http,
    Listen,
    Model,
    ModelGuards,
    Pairs,
    Section,
    Shadow,
    Sizes,
    Tls,
    Version,
    canonical,
    config_id,
    needs_restart,
)

BACKEND = Version(urls=("http://127.0.0.1:9000",))


def gateway(**changes: Any) -> Gateway:
    model = Model(versions={"1": BACKEND, "2": BACKEND}, champion="1", challengers={"2": Challenger()})
    return Gateway(**({"models": {"m": model}} | changes))


def problems(error: ValidationError) -> list[tuple[tuple[str | int, ...], str]]:
    found = []
    for one in error.errors():
        for place, message in one.get("ctx", {}).get("problems", [((), one["msg"])]):
            found.append((tuple(one["loc"]) + place, message))
    return found


def test_defaults_are_the_documented_ones() -> None:
    config = gateway()

    assert config.listen == Listen(inference=Address("127.0.0.1", 8080), admin=Address("127.0.0.1", 8081))
    assert (config.workers, config.state, config.limit_store) == (1, Path("state"), "local")
    assert (config.trusted_proxies, config.tenant_header, config.access_log) == ((), None, "stdout")
    assert config.http == Http(header=10.0, body_rate=500, keep_alive=75.0, drain=30.0, buffer="256KiB")
    assert config.shadow == Shadow(queue_items=1000, queue_bytes="64MiB", body="1MiB", max_age=10.0)
    assert config.pairs == Pairs(payload="digest", keep_age=30 * 86400.0, keep_bytes="10GiB")
    assert config.guards.sizes == Sizes(body="4MiB", mode="enforce")
    assert config.models["m"].timeout == 15.0
    assert config.models["m"].challengers["2"].timeout == 2.0
    assert BACKEND.batch == Batch(max=16, wait=0.0)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        gateway().workers = 2


def sections(section: type[Section] = Section) -> set[type[Section]]:
    return {section}.union(*(sections(below) for below in section.__subclasses__()))


@pytest.mark.parametrize("section", sorted(sections(), key=lambda one: one.__name__))
def test_every_key_says_what_it_is_for(section: type[Section]) -> None:
    for key, field in section.model_fields.items():
        assert field.description, key
        assert field.description.endswith("."), key
    assert section.__doc__


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"champion": "3"}, [(("champion",), "no version '3'; there are: 1, 2")]),
        ({"challengers": {"3": Challenger()}}, [(("challengers", "3"), "no version '3'; there are: 1, 2")]),
        ({"challengers": {"1": Challenger()}}, [(("challengers", "1"), "version '1' is the champion already")]),
        (
            {"champion": "4", "challengers": {"3": Challenger()}},
            [
                (("champion",), "no version '4'; there are: 1, 2"),
                (("challengers", "3"), "no version '3'; there are: 1, 2"),
            ],
        ),
    ],
)
def test_a_model_names_versions_it_has(changes: dict[str, Any], expected: list[Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Model(**({"versions": {"1": BACKEND, "2": BACKEND}, "champion": "1"} | changes))

    assert problems(caught.value) == expected


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({}, ()),
        ({"urls": ()}, ()),
        ({"onnx": Path("a"), "urls": ("http://a",)}, ("urls",)),
        ({"urls": ("http://a",), "tls": Tls()}, ("tls",)),
        ({"onnx": Path("a"), "tls": Tls()}, ("tls",)),
        ({"urls": ("http://a",), "threads": 2}, ("threads",)),
        ({"urls": ("http://a",), "batch": Batch(max=2)}, ("batch",)),
    ],
)
def test_a_version_is_a_file_or_backends(keys: dict[str, Any], place: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        Version(**keys)

    assert [found for found, _ in problems(caught.value)] == [place]


@pytest.mark.parametrize(
    ("inference", "admin", "clash"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "[::]:80", True),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        ("0.0.0.0:80", "0.0.0.0:81", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
    ],
)
def test_two_listeners_need_two_addresses(inference: str, admin: str, clash: bool) -> None:
    keys: dict[str, Any] = {"inference": inference, "admin": admin}
    if clash:
        with pytest.raises(ValidationError, match="both listeners"):
            Listen(**keys)
    else:
        assert str(Listen(**keys).admin) == admin


@pytest.mark.parametrize("kind", ["label", "number"])
def test_values_are_compared_in_a_named_output(kind: Any) -> None:
    with pytest.raises(ValidationError, match="needs `output`"):
        Compare(kind=kind)

    assert Compare(kind=kind, output="label").output == "label"


def test_a_model_inherits_what_its_guards_leave_out() -> None:
    own = Model(versions={"1": BACKEND}, champion="1", guards=ModelGuards(sizes=Sizes(body="1MiB")))
    config = gateway(guards=Guards(sizes=Sizes(body="8MiB", mode="off")), models={"m": own})

    assert config.models["m"].guards == ModelGuards(sizes=Sizes(body="1MiB", mode="off"))
    assert Gateway.model_validate_json(canonical(config)) == config


def test_the_id_is_the_same_for_what_means_the_same() -> None:
    explicit = gateway(workers=1, http=Http(header=10.0), guards=Guards(sizes=Sizes(body=4 * 2**20)))

    assert config_id(explicit) == config_id(gateway())
    assert len(config_id(explicit)) == 12
    assert config_id(explicit) != config_id(gateway(workers=2))


def test_the_canonical_form_is_sorted_and_has_no_spaces() -> None:
    text = canonical(gateway())

    assert text.startswith(b'{"access_log":"stdout","guards":')
    assert b'": ' not in text
    assert b'"timeout":"15s"' in text


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({}, []),
        ({"http": Http(header=1.0), "tenant_header": "x-tenant"}, []),
        ({"workers": 2}, ["workers"]),
        ({"state": "elsewhere", "listen": Listen(admin=Address("127.0.0.1", 1))}, ["listen", "state"]),
    ],
)
def test_static_keys_need_a_restart(changes: dict[str, Any], keys: list[str]) -> None:
    assert needs_restart(gateway(), gateway(**changes)) == keys
