"""`python -m loadtests.bench`: run the rows, print the table, keep the raw numbers.

Options: `--quick` (two minutes), `--only ROW,…`, `--json FILE`, `--markdown FILE`, `--tiltyard
COMMAND` (measure another build). Exit status: 0 when every judged line holds, 1 when one does
not, 2 when nothing could be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from loadtests.bench import cpu, table, tools
from loadtests.bench.drive import Effort, Generator
from loadtests.bench.findings import Finding
from loadtests.bench.processes import ENDS_CORE, BenchError, Stage
from loadtests.bench.rows import Bench, forward, isolation, latency, memory, mirror, onnx

ROWS: tuple[tuple[str, Callable[[Bench], list[Finding]]], ...] = (
    ("forward", forward.measure),
    ("mirror", mirror.measure),
    ("latency", latency.measure),
    ("memory", memory.measure),
    ("isolation", isolation.measure),
    ("onnx", onnx.measure),
)
FULL = Effort(rounds=5, turn_s=2.0)
QUICK = Effort(rounds=3, turn_s=0.5)
NOISY_SHARE = 0.1


def arguments() -> argparse.Namespace:
    """What the person asked for."""
    names = [name for name, _ in ROWS]
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description="Tiltyard beside nginx and Envoy.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: two minutes in all")
    parser.add_argument("--only", default=",".join(names), help=f"rows to run, of {', '.join(names)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw numbers there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there, for docs/performance.md")
    parser.add_argument(
        "--tiltyard",
        metavar="COMMAND",
        help="the tiltyard to measure (default: this environment's)",
    )
    given = parser.parse_args()
    if unknown := set(given.only.split(",")) - set(names):
        parser.error(f"unknown row {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return given


def run_row(name: str, measure: Callable[[Bench], list[Finding]], found: tools.Tools, effort: Effort) -> list[Finding]:
    """One row on a stage of its own; a row that cannot be measured is said and left out."""
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="tiltyard-bench-") as directory,
        Stage(Path(directory)) as stage,
    ):
        os.chmod(directory, 0o755)
        try:
            findings = measure(Bench(stage, found, Generator(stage), effort))
        except (BenchError, RuntimeError, OSError) as problem:
            print(f"bench: {name}: not measured: {problem}", flush=True)
            return []
    print(f"bench: {name}: {time.monotonic() - began:.0f} s", flush=True)
    return findings


def environment(found: tools.Tools, busy: float) -> dict[str, object]:
    """The machine and the versions the numbers belong to."""
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": model[0] if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "build": found.build,
        "versions": found.versions,
        "busy_before": round(busy, 3),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def main() -> int:
    """Run, print, keep."""
    given = arguments()
    signal.signal(signal.SIGTERM, _leave)
    if (os.cpu_count() or 1) < 2:
        print("bench: two cores are needed: one for what is measured, one for load and backend.")
        return 2
    found = tools.find(given.tiltyard)
    busy = cpu.machine_busy_share(1.0)
    if busy > NOISY_SHARE:
        print(
            f"bench: the machine is {busy:.0%} busy before the start: numbers will be noisy.",
            flush=True,
        )
    os.sched_setaffinity(0, {ENDS_CORE})
    wanted = given.only.split(",")
    effort = QUICK if given.quick else FULL
    findings = [
        finding for name, measure in ROWS if name in wanted for finding in run_row(name, measure, found, effort)
    ]
    facts = environment(found, busy)
    print("\n" + ", ".join(f"{key} {value}" for key, value in facts.items()))
    print(table.render(findings))
    for sentence in found.missing:
        print(sentence)
    if given.json:
        raw = {
            "environment": facts,
            "findings": [finding.as_json() for finding in findings],
            "missing": found.missing,
        }
        given.json.write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n")
    if given.markdown:
        given.markdown.write_text(table.markdown(findings))
    if not findings:
        return 2
    return int(any(finding.holds() is False for finding in findings))


def _leave(number: int, frame: FrameType | None) -> None:
    """End through the ordinary way out, so that every process started here is ended."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
