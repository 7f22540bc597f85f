"""`tiltyard schema`: the JSON Schema of the configuration file, for editors and checks.

Made from the classes that validate. What JSON Schema cannot say (a champion must be a version) is
left to `tiltyard check`. `${VAR}` is allowed wherever a value is written.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import typer

from gateway.core.config import Address, Gateway, format_duration, format_size
from gateway.core.config.values import DURATION_PATTERN, SIZE_PATTERN

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "Tiltyard configuration"
VARIABLE_PATTERN = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"

Schema: TypeAlias = dict[str, Any]
"""A JSON document; it has no narrower type."""

_VARIABLE: Schema = {"$ref": "#/$defs/Variable"}
_NOTES = ("description", "default", "examples")
_SHARED: Schema = {
    "Duration": {
        "description": "A number and a unit.",
        "type": "string",
        "pattern": DURATION_PATTERN,
        "examples": ["250ms", "2s", "1.5m", "1h", "30d"],
    },
    "Size": {
        "description": "A number and a unit, or a number of bytes.",
        "type": ["string", "integer"],
        "pattern": SIZE_PATTERN,
        "minimum": 1,
        "examples": ["256KiB", "4MiB", "10MB", 1048576],
    },
    "Variable": {
        "description": "A value from the environment.",
        "type": "string",
        "pattern": VARIABLE_PATTERN,
    },
}
_NAMED: dict[str, Schema] = {
    DURATION_PATTERN: {"$ref": "#/$defs/Duration"},
    SIZE_PATTERN: {"$ref": "#/$defs/Size"},
}


def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of the configuration file."""
    typer.echo(published_schema(), nl=False)


def published_schema() -> str:
    """The text of configs/gateway.schema.json."""
    described = described_schema()
    sections = described.pop("$defs")
    for section in [described, *sections.values()]:
        properties = section.get("properties", {})
        section["properties"] = {key: _or_variable(value) for key, value in properties.items()}
    document = {
        "$schema": DIALECT,
        "title": TITLE,
        **described,
        "$defs": dict(sorted({**sections, **_SHARED}.items())),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def described_schema() -> Schema:
    """The schema of what is written, variables aside, with defaults as one would write them."""
    described: Schema = Gateway.model_json_schema()
    for section in [described, *described["$defs"].values()]:
        section.pop("title", None)
        properties = section.get("properties", {})
        section["properties"] = {key: _tidy(value) for key, value in properties.items()}
    return described


def rules(value: Schema) -> list[Schema]:
    """What a value may be: its alternatives, without the notes about it."""
    rule = {key: one for key, one in value.items() if key not in (*_NOTES, "title")}
    alternatives: list[Schema] = rule["anyOf"] if rule.keys() == {"anyOf"} else [rule]
    return alternatives


def _any_of(alternatives: list[Schema], notes: Schema) -> Schema:
    rule = alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}
    return {**rule, **notes}


def _tidy(value: Schema) -> Schema:
    """Durations and sizes by their names, and the default as it would be written."""
    alternatives = [_NAMED.get(rule.get("pattern", ""), rule) for rule in rules(value)]
    notes: Schema = {key: value[key] for key in ("description", "default") if key in value}
    default = _written(notes.pop("default", None), alternatives)
    return _any_of(alternatives, notes if default is None else {**notes, "default": default})


def _written(default: object, alternatives: list[Schema]) -> object:
    match default:
        case {"host": str(host), "port": int(port)}:
            return str(Address(host, port))
        case dict():
            return None  # a section's default is what its keys' defaults are
        case float() if _NAMED[DURATION_PATTERN] in alternatives:
            return format_duration(default)
        case int() if _NAMED[SIZE_PATTERN] in alternatives:
            return format_size(default)
        case float() if default.is_integer():
            return int(default)
        case _:
            return default


def _or_variable(value: Schema) -> Schema:
    """The schema of a value, or of each value in it, that a variable may stand for."""
    if "items" in value:
        return {**value, "items": _or_variable(value["items"])}
    if "patternProperties" in value:
        inner = {key: _or_variable(one) for key, one in value["patternProperties"].items()}
        return {**value, "patternProperties": inner, "additionalProperties": False}
    alternatives = rules(value)
    if any(_is_structure(rule) or _is_any_text(rule) for rule in alternatives):
        return value
    notes = {key: value[key] for key in _NOTES if key in value}
    return _any_of([*alternatives, _VARIABLE], notes)


def _is_structure(rule: Schema) -> bool:
    by_name = [*_NAMED.values(), _VARIABLE]
    return rule.get("type") in ("array", "object") or ("$ref" in rule and rule not in by_name)


def _is_any_text(rule: Schema) -> bool:
    return rule.get("type") == "string" and not {"pattern", "enum", "const"} & rule.keys()
