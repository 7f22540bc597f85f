"""Set-up says in one sentence what a machine lacks, and costs nothing the second time."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("cat", "cp", "cut", "dirname", "flock", "grep", "id", "mkdir", "rm", "sh", "sha256sum")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what set-up reads, without a .venv."""
    for name in ("scripts", "requirements"):
        shutil.copytree(ROOT / name, tmp_path / "tree" / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "tree")
    return tmp_path / "tree"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A PATH that holds the tools every Debian has and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found is not None:
            (folder / tool).symlink_to(found)
    return folder


def install(machine: Path, name: str, script: str) -> None:
    (machine / name).write_text(f"#!/bin/sh\n{script}\n")
    (machine / name).chmod(0o755)


def set_up(tree: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tree / "scripts" / "create-venv", "run"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_old_python_is_named_with_the_remedy(tree: Path, machine: Path) -> None:
    install(machine, "python3", 'case "$1" in --version) echo Python 3.9.2 ;; *) exit 1 ;; esac')
    outcome = set_up(tree, {"PATH": str(machine)})
    assert outcome.returncode == 1
    assert "needs Python 3.11 or newer, and this machine has Python 3.9.2" in outcome.stderr
    assert not (tree / ".venv").exists()


def test_no_python_at_all_is_said(tree: Path, machine: Path) -> None:
    outcome = set_up(tree, {"PATH": str(machine)})
    assert outcome.returncode == 1
    assert "this machine has no python3" in outcome.stderr


def test_a_python_without_venv_names_the_package_where_it_cannot_install_it(
    tree: Path, machine: Path, tmp_path: Path
) -> None:
    (tmp_path / "ensurepip.py").write_text("raise ImportError")
    (machine / "python3").symlink_to(Path(sys.executable).resolve())
    environment = {"PATH": str(machine), "PYTHONPATH": str(tmp_path)}
    outcome = set_up(tree, environment)  # no apt-get on this PATH, so being root does not help
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert outcome.returncode == 1
    assert f"Install the package {package}" in outcome.stderr


# Makes a .venv as `python3 -m venv` does and takes every call of pip: no network is under test.
STAND_IN = """
case "$*" in
  "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python; cp "$0" .venv/bin/tiltyard ;;
  --version) echo Python 3.11.0 ;;
esac
"""


def test_a_tree_that_is_set_up_is_left_alone_until_a_lock_changes(tree: Path, machine: Path) -> None:
    install(machine, "python3", STAND_IN)
    environment = {"PATH": str(machine)}

    first, second = set_up(tree, environment), set_up(tree, environment)
    with (tree / "requirements" / "run.lock").open("a") as lock:
        lock.write("# a newer lock\n")
    third = set_up(tree, environment)

    assert [outcome.returncode for outcome in (first, second, third)] == [0, 0, 0]
    assert "creating .venv with Python 3.11.0" in first.stdout
    assert second.stdout == ""
    assert "requirements/run.lock" in third.stdout


def test_a_venv_that_came_with_a_copied_tree_is_replaced(tree: Path, machine: Path) -> None:
    install(machine, "python3", STAND_IN)
    environment = {"PATH": str(machine)}
    set_up(tree, environment)
    copied = tree.with_name("copied")
    shutil.copytree(tree, copied)

    outcome = set_up(copied, environment)

    assert "replacing a .venv made for another folder" in outcome.stdout
    assert outcome.returncode == 0
