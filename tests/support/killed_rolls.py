"""Rolls copies of a state directory, killing itself at the first step on the file system, at the second, and so on.

Run as a script: `python -m tests.support.killed_rolls TEMPLATE WORK`. One line of JSON a kill on standard output:
what was about to be done, and what a reader and the next roll then found.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import duckdb

from gateway.core import journal
from gateway.stores import merging
from gateway.stores.parquet import ParquetPairs

STEPS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.utime"}
WRITING = os.O_WRONLY | os.O_RDWR


def request_ids(store: ParquetPairs) -> list[str]:
    """The ids of all pairs, each as often as it is there."""
    worst = [store.worst(model, "2", "1", 10_000) for model in ("flight-delay", "other")]
    return sorted(mismatch.request_id for mismatches in worst for mismatch in mismatches)


def is_step(event: str, arguments: tuple[object, ...]) -> bool:
    """Whether this changes something on the file system."""
    match event, arguments:
        case ("open", (_, _, int(flags))):
            return bool(flags & WRITING)
        case _:
            return event in STEPS


def roll_until_killed(state: Path, at_step: int) -> None:
    """Roll in this process; kill it when it is about to do its `at_step`-th step."""
    # A database does not outlive a fork, so each child has one of its own.
    store = ParquetPairs(state)
    done = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal done
        if is_step(event, arguments) and str(state) in str(arguments[0]):
            done += 1
            if done == at_step:
                os.write(3, f"{event} {Path(str(arguments[0])).name}".encode())
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    failure = store.roll().failure
    os._exit(1 if failure else 0)


def kill_one(state: Path, at_step: int) -> tuple[str, int]:
    """What a forked roll was about to do when it was killed, and how it ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 3)
        roll_until_killed(state, at_step)
    os.close(writing)
    with os.fdopen(reading) as said:
        about_to = said.read()
    return about_to, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(template: Path, work: Path) -> None:
    merging.MERGE_FILES = 2
    merging.GROWTH = 1
    at_step = 0
    ended = -signal.SIGKILL
    while ended == -signal.SIGKILL:
        at_step += 1
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(template, work)
        about_to, ended = kill_one(work, at_step)
        store = ParquetPairs(work)
        found = {
            "about_to": about_to,
            "seen": request_ids(store),
            "failure": store.roll().failure,
            "later": request_ids(store),
            "rows": rows(work),
            "left": left_over(work),
        }
        store.close()
        print(json.dumps(found), flush=True)


def rows(state: Path) -> int:
    """How many pairs all Parquet files hold together, counted without the store."""
    files = [str(path) for path in (state / "pairs").rglob("*.parquet")]
    with duckdb.connect() as database:
        ((count,),) = database.execute("SELECT count(*) FROM read_parquet($1)", [files]).fetchall()
    return int(count)


def left_over(state: Path) -> list[str]:
    """What should be gone after a whole roll."""
    segments = journal.segments(state / "journal", "pairs")
    work = state / "pairs" / ".rolling"
    return [str(path) for path in [*segments, *([work] if work.exists() else [])]]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
