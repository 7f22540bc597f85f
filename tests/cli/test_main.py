"""The command line as a whole: what is listed, what is imported, how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import gateway
from gateway.cli.main import COMMANDS, make_app
from tests.support.gateway_process import ROOT, TILTYARD

HEAVY = ("pydantic", "duckdb", "numpy", "onnxruntime", "starlette", "uvicorn", "httpx2", "rich")


def tiltyard(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TILTYARD, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **environment},
    )


def test_help_lists_every_command_with_its_own_words() -> None:
    found = tiltyard("--help")

    assert found.returncode == 0
    lines = {line.split()[0]: line for line in found.stdout.splitlines() if line.strip()}
    for name, command in COMMANDS.items():
        assert lines[name].endswith(command.help)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_asked_for_help(name: str) -> None:
    found = tiltyard(name, "--help")

    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(f"Usage: tiltyard {name} ")


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys, gateway.cli.main as main\n"
        "sys.argv = ['tiltyard', '--help']\n"
        "try:\n    main.main()\n"
        "except SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    assert found.stderr == "[]\n"


def test_a_command_imports_no_other_command() -> None:
    program = (
        "import sys, gateway.cli.main as main\n"
        "main.make_app('health')\n"
        "print([name for name in sys.modules if name.startswith('gateway.cli.')])\n"
    )

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    loaded = set(json.loads(found.stdout.replace("'", '"')))
    assert loaded == {"gateway.cli.main", "gateway.cli.health", "gateway.cli.running"}


def test_the_whole_command_line_can_be_made_at_once() -> None:
    assert isinstance(make_app(None), typer.Typer)


def test_the_version_is_shown() -> None:
    found = tiltyard("--version")

    assert (found.returncode, found.stdout) == (0, f"tiltyard {gateway.__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("frobnicate",),
        ("--frobnicate",),
        ("run",),
        ("run", "--config", "x.yaml", "--workers", "0"),
        ("diff",),
        ("health",),
        ("reload",),
    ],
)
def test_wrong_use_ends_with_2_and_no_traceback(arguments: tuple[str, ...]) -> None:
    found = tiltyard(*arguments)

    assert found.returncode == 2
    assert "Traceback" not in found.stderr
    assert "Usage: tiltyard" in found.stderr + found.stdout


def test_completion_knows_the_commands(tmp_path: Path) -> None:
    found = tiltyard(_TILTYARD_COMPLETE="complete_bash", COMP_WORDS="tiltyard he", COMP_CWORD="1")

    assert found.stdout.split() == ["health"]
