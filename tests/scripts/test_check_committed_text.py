"""The check refuses what would bind the tree to one registry or machine, and nothing else."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_committed_text.py"


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_committed_text", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://" + "py" + "pi.org/simple",
        "https://files.python" + "hosted.org/packages/a.whl",
        "duckdb @ file:" + "///opt/wheels/duckdb.whl",
        "cd /ro" + "ot/tiltyard",
        'path = "/wo' + 'rk/main"',
        "/ho" + "me/alice/models",
    ],
)
def test_a_line_that_binds_the_tree_is_named_with_its_place(check: ModuleType, line: str) -> None:
    (found,) = check.findings(Path("a.txt"), f"fine\n{line}\n".encode())
    assert found.startswith("a.txt:2: ")


@pytest.mark.parametrize(
    "line",
    [
        "https://github.com/encode/httpcore",
        "listen: /run/tiltyard/home/socket",
        "state/work/x",
        "POST /v2/models/flight-delay/infer",
        "$.root",
    ],
)
def test_other_addresses_and_paths_pass(check: ModuleType, line: str) -> None:
    assert check.findings(Path("a.txt"), line.encode()) == []


def test_a_binary_file_is_not_text(check: ModuleType) -> None:
    assert check.findings(Path("model.onnx"), b"\0" + b"/ro" + b"ot/x") == []
