"""What a bench measures is the installation it was given, never the checkout that the bench itself runs from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.bench import tools
from loadtests.bench.processes import REPOSITORY, helper_environment, own_environment

OURS = {"PATH": "/usr/bin", "PYTHONPATH": "/somewhere/else", "TILTYARD_NATIVE": "off"}

# A process of its own: the bench has one thread when it starts others, a test runner may have more.
START_BOTH = """
import pathlib, sys
from loadtests.bench.processes import Stage

with Stage(pathlib.Path(sys.argv[1])) as stage:
    for started in (stage.start("subject", [sys.executable, sys.argv[2]]), stage.start_helper("helper", "told")):
        started.process.wait(60)
        print(started.said())
"""
TELL = "import os; print(os.path.basename(__file__), os.environ.get('PYTHONPATH'))"


def test_what_is_measured_keeps_its_environment_but_our_path() -> None:
    assert own_environment(OURS) == {"PATH": "/usr/bin", "TILTYARD_NATIVE": "off"}
    assert own_environment({"PATH": "/usr/bin"}) == {"PATH": "/usr/bin"}


def test_a_helper_finds_this_repository() -> None:
    assert helper_environment(OURS) == OURS | {"PYTHONPATH": str(REPOSITORY)}


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a bench needs two cores")
def test_only_helpers_are_started_with_this_repository_on_their_path(tmp_path: Path) -> None:
    for name in ("subject.py", "told.py"):
        (tmp_path / name).write_text(TELL)
    said = subprocess.run(
        [sys.executable, "-c", START_BOTH, tmp_path, tmp_path / "subject.py"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.splitlines() == ["subject.py None", f"told.py {REPOSITORY}"]


def test_the_given_command_is_what_is_measured() -> None:
    assert tools.tiltyard_command("/other/venv/bin/tiltyard") == ["/other/venv/bin/tiltyard"]


def test_a_checkout_that_is_not_installed_is_found_by_its_own_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = sys.executable
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    command = [python if part == str(tmp_path / "python") else part for part in tools.tiltyard_command(None)]
    said = subprocess.run([*command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
