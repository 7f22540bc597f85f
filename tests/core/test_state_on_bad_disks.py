"""What happens to counters and journals on disks that are full, torn or gone."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gateway.core import counters, journal
from gateway.core.counters import Counters, Family
from gateway.core.journal import Journal

FRUIT = Family("fruit_total", "Fruit counted.", ("kind",), "state", ("ripe", "rotten"))


def test_a_segment_that_cannot_be_closed_never_writes_into_another_file(tmp_path: Path) -> None:
    writer = Journal(tmp_path / "journal", "pairs", 1 << 20)
    writer.append([b"a"])
    shutil.rmtree(tmp_path / "journal")
    with pytest.raises(FileNotFoundError):
        writer.roll()
    # The next file that is opened gets the number of the closed descriptor.
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    (tmp_path / "journal").mkdir()
    writer.append([b"b"])
    writer.close()
    assert os.pread(other, 100, 0) == b""
    os.close(other)
    (segment,) = journal.segments(tmp_path / "journal", "pairs")
    assert list(journal.read(segment)) == [b"b"]


def test_a_name_that_a_full_disk_tore_hides_no_later_group(tmp_path: Path) -> None:
    script = """
        import resource, sys
        from pathlib import Path
        from gateway.core.counters import Counters, Family
        fruit = Family("fruit_total", "Fruit counted.", ("kind",), "state", ("ripe", "rotten"))
        mine = Counters(Path(sys.argv[1]), "worker-0", 64)
        mine.cells[mine.group(fruit, ("before",))] += 1
        size = (Path(sys.argv[1]) / "worker-0.names").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, -1))
        try:
            mine.group(fruit, ("torn",))
        except OSError:
            pass
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
        mine.cells[mine.group(fruit, ("after",))] += 1
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), tmp_path], check=True, timeout=60)
    assert {labels for _, labels in counters.totals(tmp_path)} >= {("before",), ("after",)}


def test_a_family_that_has_gained_a_field_keeps_its_counts_and_its_neighbours(tmp_path: Path) -> None:
    former = Counters(tmp_path, "worker-0", 64)
    for kind in ("apple", "pear"):
        former.cells[former.group(FRUIT, (kind,)) + FRUIT.at("rotten")] += 1
    former.close()
    wider = Family(FRUIT.name, FRUIT.help, FRUIT.labels, FRUIT.field_label, ("ripe", "green", "rotten"))
    later = Counters(tmp_path, "worker-0", 64)
    later.cells[later.group(wider, ("apple",)) + wider.at("rotten")] += 5
    rotten = {labels[0]: fields["rotten"] for (_, labels), fields in counters.totals(tmp_path).items()}
    assert rotten == {"apple": 6, "pear": 1}


def test_a_count_on_a_full_disk_does_not_kill_the_process(tmp_path: Path) -> None:
    """A first write to a hole of a mapped file on a full disk is SIGBUS (seen: exit status 135)."""
    script = """
        import sys
        from pathlib import Path
        from gateway.core.counters import Counters
        from gateway.core.metrics import REQUESTS
        mine = Counters(Path(sys.argv[1]) / "counters", "worker-0")
        groups = [mine.group(REQUESTS, (f"model-{number}", "1")) for number in range(200)]
        with open(Path(sys.argv[1]) / "filler", "wb", buffering=0) as filler:
            try:
                while filler.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        for at in groups:
            mine.cells[at] += 1
        print("counted")
    """
    mount = 'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"'
    child = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, tmp_path, sys.executable, "-c", textwrap.dedent(script), tmp_path],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if "ermitted" in child.stderr or "denied" in child.stderr:
        return
    assert child.stdout == "counted\n", child.returncode
