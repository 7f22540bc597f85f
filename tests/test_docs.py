"""What is documented is what there is: pages written from code are current, lists whole, links lead somewhere."""

import ast
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import typer
from typer.core import TyperGroup

from gateway.cli.config_docs import configuration_page
from gateway.cli.main import COMMANDS, make_app
from gateway.cli.reference_docs import COMMAND_CODES, EXAMPLES, PAGES, commands_of
from gateway.cli.schema import described_schema
from gateway.control.admin.api import Api
from gateway.control.admin.problems import AdminProblem
from gateway.control.exposition import OBSERVED_FAMILIES
from gateway.control.reload import Outcome
from gateway.core.config import FileContext
from gateway.core.configfile import LoadedConfig, Source, parse_config
from gateway.core.metrics import FAMILIES, SKIP_REASONS, UNSTORED_REASONS
from gateway.core.pair import Pair
from gateway.core.problems import Problem
from gateway.edge.access_log import Line
from gateway.evidence.compare.rule import KINDS
from gateway.evidence.shadow_call import CREDENTIALS
from gateway.runtime import places

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
GATEWAY = ROOT / "gateway"
PAGES_FOR_PEOPLE = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
CODE_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
EVENT = re.compile(r"[a-z]+(?:-[a-z]+)*")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def missing(wanted: Iterable[str], name: str) -> list[str]:
    """What stands nowhere on a page as code of its own."""
    text = page(name)
    return [one for one in wanted if f"`{one}`" not in text]


# -- pages written from the code ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_the_one_written_from_the_code(name: str) -> None:
    command = f"run: python -m gateway.cli.reference_docs {name} > docs/{name}.md"

    assert page(name) == PAGES[name](), command


def test_every_command_and_option_is_documented() -> None:
    text = page("cli")
    undocumented = []
    for name, command in commands_of(typer.main.get_command(make_app(None))):
        section = text.partition(f"## `tiltyard {name}`\n")[2].partition("\n## ")[0]
        words = [word for one in command.params for word in one.opts]
        undocumented += [f"{name} {word}" for word in words if f"`{word}" not in section]

    assert undocumented == []
    assert {name.split()[0] for name in EXAMPLES} == COMMANDS.keys()


def test_every_key_of_the_configuration_is_documented() -> None:
    described = described_schema()
    sections = {"The file": described, **described["$defs"]}
    text = configuration_page()

    assert page("configuration") == text
    for name, section in sections.items():
        if name == "Off":
            continue
        written = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert [key for key in section["properties"] if f"| `{key}` |" not in written] == []


def test_every_problem_code_is_documented_with_its_status() -> None:
    text = page("errors")

    assert [one.code for one in (*Problem, *AdminProblem) if f"| `{one.code}` | {one.status} |" not in text] == []


def test_every_code_of_the_commands_is_documented() -> None:
    used = {
        code
        for path in sorted((GATEWAY / "cli").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        for code in codes_in(node)
    }

    assert used <= COMMAND_CODES.keys()


def codes_in(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Call(func=ast.Name(id="Failed"), args=[ast.Constant(value=str(code)), *_]):
            yield code
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "code" and isinstance(value, ast.Constant):
                    yield str(value.value)
        case _:
            return


def test_every_metric_and_every_value_of_its_own_labels_is_documented() -> None:
    families = (*FAMILIES, *OBSERVED_FAMILIES)
    values = [field for family in families if family.field_label not in ("", "le") for field in family.fields]
    labels = [label for family in families for label in (*family.labels, family.field_label) if label]

    assert missing([*(family.name for family in families), *labels, *values], "metrics") == []


def test_metrics_named_anywhere_exist() -> None:
    known = {family.name for family in (*FAMILIES, *OBSERVED_FAMILIES)}
    named = {
        name.removesuffix("_bucket")
        for path in PAGES_FOR_PEOPLE
        for name in re.findall(r"\btiltyard_\w+", path.read_text())
    }

    assert named <= known


# -- pages written by hand, held to the code ---------------------------------------------------------------------------


def test_every_reason_comparison_and_field_of_a_pair_is_documented() -> None:
    credentials = [name.decode() for name in CREDENTIALS]

    assert missing((*SKIP_REASONS, *UNSTORED_REASONS, *KINDS, *Pair.__struct_fields__, *credentials), "shadowing") == []


def test_every_event_of_the_log_is_documented() -> None:
    events = {event for path in sorted(GATEWAY.rglob("*.py")) for event in events_in(ast.parse(path.read_text()))}
    events |= {f"config-{outcome}" for outcome in get_args(get_type_hints(Outcome)["outcome"])}

    assert {"serving", "config-refused", "offers-lost", "backends-unreachable"} <= events
    assert missing(sorted(events), "operations") == []


def events_in(tree: ast.Module) -> Iterator[str]:
    """First arguments of calls that log; where one is a variable, the texts like events that are in its function."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in ast.walk(function):
            if not (isinstance(call, ast.Call) and call.args and logs(call.func)):
                continue
            match call.args[0]:
                case ast.Constant(value=str(event)) if EVENT.fullmatch(event):
                    yield event
                case ast.Name(id="event"):
                    texts = (node.value for node in ast.walk(function) if isinstance(node, ast.Constant))
                    yield from (
                        text for text in texts if isinstance(text, str) and EVENT.fullmatch(text) and "-" in text
                    )
                case _:
                    pass


def logs(function: ast.expr) -> bool:
    name = (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )
    return name in ("log", "report", "_report")


def test_every_field_of_the_access_log_is_documented() -> None:
    assert missing(Line.__struct_fields__, "operations") == []


def test_every_path_of_the_admin_listener_is_documented() -> None:
    endpoints = Api(sources=None).endpoints  # type: ignore[arg-type]

    assert [one.path for one in endpoints if f"`{one.method} {one.path}`" not in page("operations")] == []


def test_the_files_of_the_state_directory_are_documented() -> None:
    assert missing([places.LOCK_FILE, places.RECORD_FILE], "operations") == []


def test_every_package_is_in_the_picture_of_the_architecture() -> None:
    text = page("architecture")
    packages = [path.parent for path in sorted(GATEWAY.glob("*/__init__.py"))]

    assert [name_of(package) for package in packages if f"`{name_of(package)}`" not in text] == []


@pytest.mark.parametrize("path", PAGES_FOR_PEOPLE, ids=name_of)
def test_files_named_in_documents_exist(path: Path) -> None:
    named = re.findall(r"`((?:gateway|tests|configs|loadtests|scripts|docs)/[\w./-]*)`", path.read_text())

    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", PAGES_FOR_PEOPLE, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for target in LINK.findall(path.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)

    assert broken == []


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, made as code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", CODE_BLOCK.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index() -> None:
    pages = {path for path in DOCS.rglob("*.md") if path != DOCS / "README.md"}
    linked = {(DOCS / target).resolve() for target in LINK.findall(page("README")) if "://" not in target}

    assert pages == linked


def test_decisions_are_numbered_once_and_say_what_a_decision_has_to_say() -> None:
    decisions = sorted((DOCS / "decisions").glob("*.md"))

    assert [path.name[:3] for path in decisions] == [f"{number:03d}" for number in range(1, len(decisions) + 1)]
    for path in decisions:
        text = path.read_text()
        assert text.startswith(f"# {path.name[:3]} · ")
        assert [part for part in ("**Context.**", "**Options", "**Choice.**") if part not in text] == []


# -- commands shown to readers -----------------------------------------------------------------------------------------


def shown_commands() -> Iterator[tuple[str, str]]:
    """Every command in a block of shell text, with the page it is on."""
    for path in PAGES_FOR_PEOPLE:
        for language, block in CODE_BLOCK.findall(path.read_text()):
            if language in ("sh", "console", ""):
                lines = block.replace("\\\n", " ").splitlines()
                for line in lines:
                    shown = line.removeprefix("$ ") if language == "console" else line
                    if language != "console" or line.startswith("$ "):
                        yield name_of(path), shown.partition(" #")[0].strip()


def test_commands_shown_to_readers_are_commands_with_such_options() -> None:
    group = typer.main.get_command(make_app(None))
    assert isinstance(group, TyperGroup)
    known = dict(commands_of(group))
    wrong = []
    shown = [(where, text) for where, text in shown_commands() if re.search(r"(^|\| )(\.venv/bin/)?tiltyard ", text)]
    for where, text in shown:
        words = shlex.split(re.split(r"tiltyard ", text, maxsplit=1)[1].partition(" | ")[0].partition(" > ")[0])
        name = next((n for n in (" ".join(words[:2]), words[0]) if n in known), "")
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        taken = {word for one in (known[name].params if name else group.params) for word in one.opts} | {"--help"}
        if not options <= taken or not (name or options):
            wrong.append(f"{where}: {text}")

    assert len(shown) >= len(COMMANDS)
    assert wrong == []


def test_configurations_shown_to_readers_are_valid() -> None:
    shown = {
        name_of(path): block
        for path in PAGES_FOR_PEOPLE
        for language, block in CODE_BLOCK.findall(path.read_text())
        if language == "yaml" and "versions:" in block
    }
    outcomes = {name: parse_config(block, Source(name, FileContext(ROOT, str), {})) for name, block in shown.items()}

    assert "README.md" in shown
    assert {name: found for name, found in outcomes.items() if not isinstance(found, LoadedConfig)} == {}


def test_make_targets_shown_to_readers_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {
        word
        for path in PAGES_FOR_PEOPLE
        for word in re.findall(r"(?:^|`)make ([a-z]+)\b", path.read_text(), re.MULTILINE)
    }

    assert {"run", "test"} <= shown <= targets
