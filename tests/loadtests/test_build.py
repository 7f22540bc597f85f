"""The build that was measured is told by what a worker has mapped."""

import os

import pytest

from loadtests.bench.build import build_of, running_build

INTERPRETER = """\
55d0c0a00000-55d0c0a21000 r--p 00000000 fe:00 1835 /usr/bin/python3.11
7f0a1c000000-7f0a1c021000 rw-p 00000000 00:00 0
7f0a2e5c1000-7f0a2e5c3000 r-xp 00001000 fe:00 52 /srv/venv/lib/python3.11/site-packages/uvloop/loop.cpython-311.so
7ffd5a9f6000-7ffd5aa17000 rw-p 00000000 00:00 0 [stack]
"""
SHARED = "7f0a2e6d5000-7f0a2e7a1000 r-xp 0001f000 fe:00 77 "


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        pytest.param(INTERPRETER, "interpreted", id="no compiled module"),
        pytest.param(
            INTERPRETER + SHARED + "/srv/native/tiltyard__mypyc.cpython-311-x86_64-linux-gnu.so\n",
            "native",
            id="what compiled modules share",
        ),
        pytest.param(
            INTERPRETER + SHARED + "/srv/my builds/tiltyard__mypyc.cpython-311.so (deleted)\n",
            "native",
            id="replaced by a newer build since",
        ),
        pytest.param(
            INTERPRETER + SHARED + "/srv/without__mypyc/lib/orjson.so\n",
            "interpreted",
            id="only a folder is called so",
        ),
        pytest.param("", "interpreted", id="nothing mapped"),
    ],
)
def test_a_native_build_shows_in_the_mapped_files(maps: str, expected: str) -> None:
    assert build_of(maps) == expected


def test_this_process_runs_a_build() -> None:
    assert running_build(os.getpid()) in {"native", "interpreted"}


def test_of_a_process_that_is_gone_nothing_is_claimed() -> None:
    assert running_build(2**22 + 1) == "unknown"
