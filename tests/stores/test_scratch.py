"""Scratch space of the pair store."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.stores.scratch import scratch_directory

KILLED_IN_THE_MIDST = """
import os, signal
from pathlib import Path
from gateway.stores.scratch import scratch_directory
kept = scratch_directory()
(Path(kept.name) / "spill").write_text("much")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_scratch_goes_when_it_is_closed(temporary: Path) -> None:
    with scratch_directory() as name:
        assert Path(name).parent == temporary
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_is_cleared_and_what_a_living_one_uses_is_not(temporary: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    subprocess.run([sys.executable, "-c", KILLED_IN_THE_MIDST], check=False, env=environment)
    (left,) = temporary.iterdir()
    with scratch_directory() as mine, scratch_directory() as other:
        assert not left.exists()
        assert Path(mine).exists()
        assert Path(other).exists()
