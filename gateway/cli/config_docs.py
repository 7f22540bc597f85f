"""Writes docs/configuration.md from the schema: `python -m gateway.cli.config_docs > docs/configuration.md`.

Every key of every section with its type, its default and its description, in the order of the
classes. A test keeps the page equal to what this prints, so no key can be undocumented.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.cli.schema import Schema, described_schema, rules
from gateway.core.config import STATIC_KEYS
from gateway.core.config.values import LARGEST_BYTES, LONGEST_S, format_duration, format_size
from gateway.core.configfile.document import MAX_DEPTH, MAX_VALUES
from gateway.core.configfile.load import MAX_FILE_BYTES

EXAMPLE = """\
listen: {inference: "0.0.0.0:8080", admin: "127.0.0.1:8081"}
workers: 2
state: state/
trusted_proxies: [10.0.0.0/8]
tenant_header: x-tenant
models:
  flight-delay:
    owner: ops-analytics
    versions:
      "1": {urls: ["http://127.0.0.1:9001", "http://127.0.0.1:9002"]}
      "2": {urls: ["https://models.example.net/delay"], timeout: 2s}
    champion: "1"
    challengers:
      "2": {percent: 10}
    compare: {output: label, kind: label, ignore: ["$.id"]}
    slices: {carrier: tenant, origin: input:origin}
guards:
  sizes: {body: 1MiB}
"""

INTRODUCTION = f"""\
# Configuration

<!-- Written by `python -m gateway.cli.config_docs`; change the descriptions in gateway/core/config. -->

One YAML file says everything. `tiltyard check FILE` finds everything that is wrong with it, as
`file:line:col: message`; `tiltyard schema` prints its JSON Schema, which is also
[configs/gateway.schema.json](../configs/gateway.schema.json): a first line
`# yaml-language-server: $schema=gateway.schema.json` makes an editor complete and check as you type.

```yaml
{EXAMPLE}```

## How values are written

- **Durations** have a unit: `250ms`, `2s`, `1.5m`, `1h`, `30d`; at most {format_duration(LONGEST_S)}.
- **Sizes** have a unit or are a number of bytes: `4MiB`, `256KiB`, `10MB`; at most {format_size(LARGEST_BYTES)}.
- **Paths** are relative to the directory of the file.
- **`${{VAR}}`** in a value is replaced by the environment variable, which must be set; `$${{` is a literal
  `${{`. Without quotes around it, the value means what it would mean if the variable's text stood
  there: `workers: ${{WORKERS}}` is a number. Error messages never show what came from the environment.
- YAML is read as YAML 1.2: only `true` and `false` are booleans, so `mode: off` needs no quotes. A key
  may not stand twice. Numbers as keys are names: `1:` and `"1":` are the same version. Anchors and
  aliases work; tags and merge keys (`<<`) do not.
- A file has at most {MAX_FILE_BYTES // 2**20} MiB, {MAX_VALUES:,} values and {MAX_DEPTH} levels.
- An unknown key is an error that names the nearest known one.

## What a reload changes

Everything but {", ".join(f"`{key}`" for key in STATIC_KEYS)}, which are read when the gateway starts.
A configuration has an id, which is the same exactly for what means the same; the content of ONNX
files counts, so that a model trained anew under the same name is a new configuration.

"""


def configuration_page() -> str:
    """The text of docs/configuration.md."""
    described = described_schema()
    sections: dict[str, Schema] = described["$defs"]
    lines = [*_section("The file", described)]
    for name in _in_order(described, sections):
        lines += _section(name, sections[name])
    return INTRODUCTION + "\n".join(lines).rstrip() + "\n"


def _in_order(described: Schema, sections: dict[str, Schema]) -> list[str]:
    """Sections as a reader meets them, from the top of the file down."""
    met: dict[str, None] = {}
    for value in described["properties"].values():
        for name in _sections_in(value):
            if name in sections and name not in met:
                met[name] = None
                met |= dict.fromkeys(_in_order(sections[name], sections))
    return list(met)


def _sections_in(value: Schema) -> Iterator[str]:
    for rule in rules(value):
        if "$ref" in rule:
            yield rule["$ref"].rpartition("/")[2]
        for inner in rule.get("patternProperties", {}).values():
            yield from _sections_in(inner)


def _section(name: str, section: Schema) -> Iterator[str]:
    yield f"## {name}"
    yield ""
    yield section["description"]
    yield ""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key, value in section["properties"].items():
        required = key in section.get("required", [])
        cells = (f"`{key}`", _type(value), _default(value, required=required), value["description"])
        yield "| " + " | ".join(cells) + " |"
    yield ""


def _default(value: Schema, *, required: bool) -> str:
    if required:
        return "required"
    default = value.get("default")
    if default is None or default == []:
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _type(value: Schema) -> str:
    return " or ".join(_rule(rule) for rule in rules(value) if rule.get("type") != "null")


def _rule(rule: Schema) -> str:
    match rule:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            return name.lower() if name in ("Duration", "Size") else f"[{name}](#{name.lower()})"
        case {"enum": list(choices)}:
            return ", ".join(f"`{choice}`" for choice in choices)
        case {"const": constant}:
            return f"`{constant}`"
        case {"patternProperties": values}:
            return "names, each with: " + ", ".join(_type(one) for one in values.values())
        case {"items": items}:
            return f"list of: {_type(items)}"
        case {"type": "array"}:
            return "empty list"
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"type": "integer" | "number" as kind}:
            return f"{'whole number' if kind == 'integer' else 'number'}{_range(rule)}"
        case _:
            return "text"


def _range(rule: Schema) -> str:
    low, high = rule.get("minimum"), rule.get("maximum")
    if high is None:
        return f" from {low}" if low is not None else ""
    return f" {low} to {high}"


if __name__ == "__main__":
    print(configuration_page(), end="")
