"""What is published about the configuration is what the gateway does: schema, reference, examples."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli.config_docs import EXAMPLE, configuration_page
from gateway.cli.schema import published_schema, schema
from gateway.core.config import FileContext, Gateway, Section
from gateway.core.configfile import LoadedConfig, Source, parse_config

ROOT = Path(__file__).parent.parent.parent


def test_the_committed_schema_is_the_one_that_the_command_prints() -> None:
    app = typer.Typer()
    app.command()(schema)
    printed = CliRunner().invoke(app).stdout

    assert printed == (ROOT / "configs" / "gateway.schema.json").read_text(), "run: make schema"


def test_the_committed_reference_is_the_one_made_from_the_schema() -> None:
    committed = (ROOT / "docs" / "configuration.md").read_text()

    assert committed == configuration_page(), "run: python -m gateway.cli.config_docs > docs/configuration.md"


def test_the_example_of_the_reference_is_valid() -> None:
    source = Source("example", FileContext(ROOT, str), {})

    assert isinstance(parse_config(EXAMPLE, source), LoadedConfig)


def sections(section: type[Section] = Section) -> Iterator[type[Section]]:
    for below in section.__subclasses__():
        yield below
        yield from sections(below)


@pytest.mark.parametrize("section", [one for one in sections() if one.__name__ != "Off"])
def test_every_key_is_in_the_schema_and_in_the_reference(section: type[Section]) -> None:
    document = json.loads(published_schema())
    described = document if section is Gateway else document["$defs"][section.__name__]
    reference = configuration_page()

    keys = section.model_fields.keys() - section.found

    assert described["properties"].keys() == keys
    assert described["additionalProperties"] is False
    for key in keys:
        assert f"\n| `{key}` |" in reference


def values(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for below in node.values():
            yield from values(below)
    elif isinstance(node, list):
        for below in node:
            yield from values(below)


def test_the_schema_holds_together() -> None:
    document = json.loads(published_schema())

    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    references = {value["$ref"] for value in values(document) if isinstance(value.get("$ref"), str)}
    assert references == {f"#/$defs/{name}" for name in document["$defs"]}


@pytest.mark.parametrize(
    ("section", "key", "default"),
    [
        ("Http", "header", "10s"),
        ("Pairs", "keep_age", "30d"),
        ("Sizes", "body", "4MiB"),
        ("Listen", "inference", "127.0.0.1:8080"),
        ("Challenger", "percent", 100),
        ("Tls", "verify", True),
    ],
)
def test_defaults_are_published_as_one_would_write_them(section: str, key: str, default: object) -> None:
    assert json.loads(published_schema())["$defs"][section]["properties"][key]["default"] == default


def test_the_reference_names_no_default_where_there_is_none() -> None:
    reference = configuration_page()

    assert "| `champion` | text | required |" in reference
    assert "| `owner` | text |  |" in reference
    assert "| `verify` | `true`, `false` | `true` |" in reference
