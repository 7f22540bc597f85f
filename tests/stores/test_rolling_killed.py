"""`kill -9` at any step of a roll: every pair is read once, straight after it and after the next roll."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.pairs import Shadow

MISMATCH = {"agree": False}


def test_a_roll_killed_at_any_step_loses_no_pair_and_doubles_none(tmp_path: Path) -> None:
    shadow = Shadow(tmp_path / "template")
    shadow.append(MISMATCH)
    shadow.close_segment()
    shadow.append(MISMATCH, {**MISMATCH, "model": "other"})
    shadow.close_segment()
    rolled = len(shadow.appended)
    shadow.append(MISMATCH)
    expected = sorted(pair.request_id for pair in shadow.appended)

    child = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_rolls", shadow.state, tmp_path / "work"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        check=True,
        timeout=150,
    )

    kills = [json.loads(line) for line in child.stdout.splitlines()]
    for kill in kills:
        about_to = kill["about_to"]
        assert kill["seen"] == expected, about_to
        assert kill["failure"] == "", about_to
        assert kill["later"] == expected, about_to
        assert kill["rows"] == rolled, about_to
        assert kill["left"] == [], about_to
    steps = [kill["about_to"] for kill in kills]
    assert steps[-1] == "", "the last roll was not killed"
    assert steps.count("os.rename rolled.json.partial") == 2
    assert "os.remove pairs-0000000002.log" in steps
    assert "os.rename 0000000001-0000000002.parquet" in steps
    assert "os.remove 0000000002-0000000002.parquet" in steps
