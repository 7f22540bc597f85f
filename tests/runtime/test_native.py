"""Processes run on the native build only if it is one of exactly the sources that are here."""

import os
from pathlib import Path

import pytest

from gateway.runtime.native import VARIABLE, NativeBuildMissing, is_build_of, use_native_build

SOURCES = {"__init__.py": "", "http1/server.py": "class Server: ...\n", "core/ids.py": "ID = 1\n"}


def tree(directory: Path, *, compiled: bool) -> Path:
    """A package named `gateway` in the directory."""
    for name, text in SOURCES.items():
        path = directory / "gateway" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if compiled:
        (directory / "gateway" / "http1" / "server.cpython-311-x86_64-linux-gnu.so").touch()
    return directory


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return tree(tmp_path / "checkout", compiled=False) / "gateway"


@pytest.fixture
def build(tmp_path: Path) -> Path:
    return tree(tmp_path / "native", compiled=True)


def test_a_build_of_these_sources_comes_first_on_the_path(build: Path, package: Path) -> None:
    environ = {"PYTHONPATH": "/somewhere/else", "HOME": "/home/me"}

    assert use_native_build(environ, build, package) == "native"

    assert environ == {"PYTHONPATH": f"{build}{os.pathsep}/somewhere/else", "HOME": "/home/me"}


def test_the_path_may_have_been_empty(build: Path, package: Path) -> None:
    environ: dict[str, str] = {}
    use_native_build(environ, build, package)
    assert environ == {"PYTHONPATH": str(build)}


@pytest.mark.parametrize("change", ["edited", "new", "gone"])
def test_a_source_that_is_not_what_was_compiled_switches_it_off(build: Path, package: Path, change: str) -> None:
    if change == "edited":
        (package / "core" / "ids.py").write_text("ID = 2\n")
    elif change == "new":
        (package / "core" / "words.py").touch()
    else:
        (package / "core" / "ids.py").unlink()
    environ: dict[str, str] = {}

    assert use_native_build(environ, build, package) == "interpreted: the native build is of other sources"

    assert environ == {}


def test_without_a_build_the_sources_run(tmp_path: Path, package: Path) -> None:
    environ: dict[str, str] = {}
    assert use_native_build(environ, tmp_path / "none", package) == "interpreted"
    assert environ == {}


def test_a_build_without_shared_objects_is_none(tmp_path: Path, package: Path) -> None:
    assert not is_build_of(tree(tmp_path / "plain", compiled=False), package)


def test_it_can_be_switched_off(build: Path, package: Path) -> None:
    environ = {VARIABLE: "off"}
    assert use_native_build(environ, build, package) == "interpreted"
    assert environ == {VARIABLE: "off"}


def test_it_can_be_insisted_on(build: Path, package: Path) -> None:
    assert use_native_build({VARIABLE: "require"}, build, package) == "native"
    (package / "core" / "ids.py").write_text("ID = 2\n")
    with pytest.raises(NativeBuildMissing, match="make native"):
        use_native_build({VARIABLE: "require"}, build, package)


def test_a_package_that_is_compiled_itself_is_native_already(build: Path, tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    assert use_native_build(environ, tmp_path / "none", build / "gateway") == "native"
    assert environ == {}
