"""The shape that the code promises: import contracts, small pieces, names that tell."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GATEWAY = ROOT / "gateway"
MODULES = sorted(GATEWAY.rglob("*.py"))
SOURCES = sorted(path for folder in ("gateway", "tests", "loadtests") for path in (ROOT / folder).rglob("*.py"))

LONGEST_MODULE = 600
LONGEST_FUNCTION = 60
P90_FUNCTION = 30
MOST_PARAMETERS = 5
# A name that could hold anything tells a reader nothing.
EMPTY_NAMES = re.compile(r"^(utils?|helpers?|common|misc|managers?|stuff|base)$")
# Hyphened, so that this file does not find itself.
MARKS = [mark.replace("-", "") for mark in ("TO-DO", "FIX-ME", "XX-X", "NotImplemented-Error")]
BLIND_WAIT = "time.-sleep(".replace("-", "")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return sum(argument.arg not in {"self", "cls"} for argument in named)


def test_planes_keep_to_their_imports() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    outcome = subprocess.run([linter, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_no_module_is_longer_than_one_concern() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines >= LONGEST_MODULE} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{name_of(path)}:{function.lineno} {function.name}": length_of(function)
        for path in MODULES
        for function in functions(path)
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}
    ordered = sorted(lengths.values())
    assert ordered[int(len(ordered) * 0.9)] <= P90_FUNCTION


def test_functions_take_few_parameters() -> None:
    many = {
        f"{name_of(path)}:{function.lineno} {function.name}": parameters_of(function)
        for path in MODULES
        for function in functions(path)
        # Commands are called by the command line alone: their parameters are its options.
        if parameters_of(function) > MOST_PARAMETERS and "cli" not in path.parts
    }
    assert many == {}


def test_every_name_tells_what_it_holds() -> None:
    names = {path: (path.stem, *path.relative_to(ROOT).parts[:-1]) for path in SOURCES}
    empty = [name_of(path) for path, parts in names.items() if any(map(EMPTY_NAMES.match, parts))]
    assert empty == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [name_of(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def lines_with(texts: list[str], folders: tuple[str, ...]) -> list[str]:
    return [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] in folders
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if any(text in line for text in texts)
    ]


def test_nothing_is_left_for_later() -> None:
    assert lines_with(MARKS, ("gateway", "tests", "loadtests")) == []


def test_nothing_waits_blindly() -> None:
    assert lines_with([BLIND_WAIT], ("gateway", "tests")) == []


def test_no_committed_file_names_a_registry_or_a_machine() -> None:
    check = ROOT / "scripts" / "check_committed_text.py"
    outcome = subprocess.run([sys.executable, check], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


def test_every_direct_dependency_is_accounted_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"]]
    for group in project["dependency-groups"].values():
        wanted += [entry for entry in group if isinstance(entry, str)]
    rows = [
        line.split("|")[1]
        for line in (ROOT / "docs" / "dependencies.md").read_text().splitlines()
        if line.startswith("| ")
    ]
    listed = {name.strip() for row in rows for name in row.split(",")} - {"package"}
    assert listed == {re.split(r"[\[><=~;! ]", entry, maxsplit=1)[0] for entry in wanted}


def test_the_image_is_made_of_files_that_its_build_may_see() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    wanted = {source for line in copied for source in line.split()}
    seen = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert wanted
    assert wanted <= seen
    assert [source for source in wanted if not (ROOT / source).exists()] == []
