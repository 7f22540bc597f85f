"""What modules must keep to so that compiled they mean the same (docs/decisions/014-native-build.md)."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
COMPILED = [ROOT / module for module in HOOK["custom"]["modules"]]
HARMLESS = {"len", "min", "max"}


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text()))


def calls_in_bounds(node: ast.AST) -> list[str]:
    """What the bounds of a slice call, but for what may be called twice."""
    if not isinstance(node, ast.Slice):
        return []
    bounds = [bound for bound in (node.lower, node.upper, node.step) if bound is not None]
    calls = [inner for bound in bounds for inner in ast.walk(bound) if isinstance(inner, ast.Call)]
    return [ast.unparse(call) for call in calls if ast.unparse(call.func) not in HARMLESS]


def test_every_module_that_is_to_be_compiled_is_there() -> None:
    assert [str(path) for path in COMPILED if not path.is_file()] == []


def test_slices_call_nothing() -> None:
    """mypyc works the bounds of some slices out twice: `view[os.write(fd, view):]` wrote every record twice."""
    found = {f"{path.name}: {call}" for path in COMPILED for node in nodes(path) for call in calls_in_bounds(node)}
    assert found == set()


def test_no_tuple_display_is_compared_by_identity() -> None:
    """mypyc keeps a constant tuple unboxed: it is another object each time it is looked at."""
    displays = {
        target.id
        for path in COMPILED
        for node in nodes(path)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Tuple)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    compared = {
        side.id
        for path in COMPILED
        for node in nodes(path)
        if isinstance(node, ast.Compare) and any(isinstance(operator, ast.Is | ast.IsNot) for operator in node.ops)
        for side in (node.left, *node.comparators)
        if isinstance(side, ast.Name)
    }
    assert displays & compared == set()
