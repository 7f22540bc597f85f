"""Counters outlive their process, add up over processes, and never show a number nobody counted."""

import random
import subprocess
import sys
import textwrap
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import counters, metrics
from gateway.core.counters import Counters, CountersFull, Family, Kind, Reading

FRUIT = Family("fruit_total", "Fruit counted.", ("kind",), "state", ("ripe", "green", "rotten"))
WATER = Family("water_level", "Water now.", (), "", ("value",), Kind.GAUGE)
CELLS = 512
COUNTING_CHILD = """
    import os, sys
    from pathlib import Path
    from gateway.core.counters import Counters
    from gateway.core.metrics import REQUESTS
    mine = Counters(Path(sys.argv[1]), "worker-0", 4096)
    models = [(f"model-{number}", "1") for number in range(20)]
    counted = 0
    while True:
        at = mine.group(REQUESTS, models[counted % 20]) + REQUESTS.at("2xx")
        mine.cells[at] += 1
        counted += 1
        os.write(1, b"%d\\n" % counted)
"""


def fruit(directory: Path) -> dict[str, dict[str, int]]:
    return {
        labels[0]: fields for (family, labels), fields in counters.totals(directory).items() if family == FRUIT.name
    }


def test_a_count_is_seen_by_a_reader_at_once(tmp_path: Path) -> None:
    mine = Counters(tmp_path, "worker-0", CELLS)
    at = mine.group(FRUIT, ("apple",)) + FRUIT.at("green")
    mine.cells[at] += 3
    assert list(counters.read(tmp_path)) == [
        Reading("worker-0", "fruit_total", ("apple",), "ripe", 0),
        Reading("worker-0", "fruit_total", ("apple",), "green", 3),
        Reading("worker-0", "fruit_total", ("apple",), "rotten", 0),
    ]
    assert mine.value(FRUIT, ("apple",), "green") == 3


def test_processes_are_summed_by_family_and_labels(tmp_path: Path) -> None:
    for name, apples, pears in (("worker-0", 2, 5), ("worker-1", 40, 0), ("shadow", 100, 7)):
        one = Counters(tmp_path, name, CELLS)
        one.cells[one.group(FRUIT, ("apple",)) + FRUIT.at("ripe")] += apples
        one.cells[one.group(FRUIT, ("pear",)) + FRUIT.at("rotten")] += pears
    assert fruit(tmp_path) == {
        "apple": {"ripe": 142, "green": 0, "rotten": 0},
        "pear": {"ripe": 0, "green": 0, "rotten": 12},
    }


def test_counts_go_on_in_the_next_process_of_the_same_name(tmp_path: Path) -> None:
    former = Counters(tmp_path, "worker-0", CELLS)
    former.cells[former.group(FRUIT, ("apple",))] += 5
    former.cells[former.gauge(WATER, ())] = 9
    former.close()
    later = Counters(tmp_path, "worker-0", CELLS)
    assert later.group(FRUIT, ("pear",)) > later.group(FRUIT, ("apple",))
    later.cells[later.group(FRUIT, ("apple",))] += 1
    assert fruit(tmp_path)["apple"]["ripe"] == 6
    assert later.value(WATER, (), "value") == 9
    assert later.cells[later.gauge(WATER, ())] == 0


def test_groups_of_a_family_are_listed_with_where_they_are(tmp_path: Path) -> None:
    mine = Counters(tmp_path, "worker-0", CELLS)
    apple, _, pear = (
        mine.group(FRUIT, ("apple",)),
        mine.gauge(WATER, ()),
        mine.group(FRUIT, ("pear",)),
    )
    assert list(mine.groups(FRUIT)) == [(("apple",), apple), (("pear",), pear)]
    assert mine.group(FRUIT, ("apple",)) == apple


def test_labels_of_any_text_are_kept_apart(tmp_path: Path) -> None:
    awkward = ["", "a\nb", '"', "größer", "a\x00b", "a", "A", " a"]
    mine = Counters(tmp_path, "worker-0", CELLS)
    for number, label in enumerate(awkward):
        mine.cells[mine.group(FRUIT, (label,))] += number
    assert {label: fields["ripe"] for label, fields in fruit(tmp_path).items()} == {
        label: number for number, label in enumerate(awkward)
    }


def test_a_file_that_is_full_says_so_and_counts_on(tmp_path: Path) -> None:
    mine = Counters(tmp_path, "worker-0", 8)
    for label in ("a", "b"):
        mine.group(FRUIT, (label,))
    with pytest.raises(CountersFull, match="no room for fruit_total"):
        mine.group(FRUIT, ("c",))
    mine.cells[mine.group(WATER, ())] += 1
    mine.cells[mine.group(FRUIT, ("b",)) + 2] += 1
    assert fruit(tmp_path) == {
        "a": {"ripe": 0, "green": 0, "rotten": 0},
        "b": {"ripe": 0, "green": 0, "rotten": 1},
    }


def test_a_file_made_larger_or_smaller_keeps_its_counts(tmp_path: Path) -> None:
    for capacity, cells in ((64, 64), (4096, 4096), (16, 4096)):
        one = Counters(tmp_path, "worker-0", capacity)
        assert len(one.cells) == cells
        one.cells[one.group(FRUIT, ("apple",))] += 1
        one.close()
    assert fruit(tmp_path)["apple"]["ripe"] == 3


def test_names_cut_at_any_byte_lose_the_last_groups_and_no_others(tmp_path: Path) -> None:
    mine = Counters(tmp_path, "worker-0", CELLS)
    for number, label in enumerate(("apple", "pear", "plum")):
        mine.cells[mine.group(FRUIT, (label,)) + FRUIT.at("ripe")] = 10 + number
    mine.close()
    names = tmp_path / "worker-0.names"
    content = names.read_bytes()
    lines = content.splitlines(keepends=True)
    ends = [sum(map(len, lines[:count])) for count in range(1, 4)]
    for cut in range(len(content) + 1):
        names.write_bytes(content[:cut])
        known = sum(end <= cut for end in ends)
        expected = {
            label: {"ripe": 10 + number, "green": 0, "rotten": 0}
            for number, label in enumerate(("apple", "pear", "plum")[:known])
        }
        assert fruit(tmp_path) == expected
        reopened = Counters(tmp_path, "worker-0", CELLS)
        assert names.stat().st_size == (0, *ends)[known]
        for label in ("apple", "pear", "plum")[:known]:
            assert reopened.value(FRUIT, (label,), "ripe") == expected[label]["ripe"]
        reopened.close()


def test_cells_that_are_missing_are_no_counts(tmp_path: Path) -> None:
    mine = Counters(tmp_path, "worker-0", CELLS)
    mine.cells[mine.group(FRUIT, ("apple",))] += 1
    mine.close()
    cells = tmp_path / "worker-0.cells"
    for size, fields in ((CELLS * 8, 3), (24, 3), (20, 2), (8, 1), (3, 0), (0, 0)):
        with cells.open("r+b") as file:
            file.truncate(size)
        assert len(list(counters.read(tmp_path))) == fields
    cells.unlink()
    assert list(counters.read(tmp_path)) == []
    assert list(counters.read(tmp_path / "nowhere")) == []


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from(["worker-0", "worker-1"]),
                st.sampled_from(["apple", "pear", "plum", "fig"]),
                st.sampled_from(FRUIT.fields),
                st.integers(0, 2**40),
            ),
            st.sampled_from(["worker-0", "worker-1"]),
        ),
        max_size=40,
    )
)
def test_any_order_of_counting_and_restarting_adds_up(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str, int] | str]
) -> None:
    directory = tmp_path_factory.mktemp("steps")
    processes = {name: Counters(directory, name, CELLS) for name in ("worker-0", "worker-1")}
    expected: dict[str, dict[str, int]] = {}
    for step in steps:
        if isinstance(step, str):
            # No close: a killed process does not close either.
            processes[step] = Counters(directory, step, CELLS)
            continue
        name, label, field, amount = step
        process = processes[name]
        process.cells[process.group(FRUIT, (label,)) + FRUIT.at(field)] += amount
        fields = expected.setdefault(label, dict.fromkeys(FRUIT.fields, 0))
        fields[field] += amount
    assert fruit(directory) == expected


def test_a_killed_process_loses_no_count(tmp_path: Path) -> None:
    counted = 0
    for acknowledgements in (1, 50, 3, 25):
        command = [sys.executable, "-c", textwrap.dedent(COUNTING_CHILD), str(tmp_path)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert child.stdout is not None
        for _ in range(acknowledgements):
            child.stdout.readline()
        child.kill()
        rest = child.stdout.read().count(b"\n")
        child.stdout.close()
        assert child.wait(timeout=30) == -9
        acknowledged = counted + acknowledgements + rest
        found = sum(sum(fields.values()) for fields in counters.totals(tmp_path).values())
        # The kill may fall between counting and saying so.
        assert acknowledged <= found <= acknowledged + 1
        counted = found


def test_a_reader_beside_the_writer_never_sees_a_number_fall(tmp_path: Path) -> None:
    mine = Counters(tmp_path, "worker-0", 8192)
    order = random.Random(7)
    labels = [f"kind-{number}" for number in range(300)]

    def count() -> None:
        for step in range(20_000):
            at = mine.group(FRUIT, (labels[min(step // 50, order.randrange(300))],))
            mine.cells[at + step % 3] += 2**33 + 1

    writer = Thread(target=count)
    writer.start()
    former: dict[tuple[tuple[str, ...], str], int] = {}
    while writer.is_alive():
        seen = {(one.labels, one.field): one.value for one in counters.read(tmp_path)}
        # Above 2**32, a number read in two halves would not be a multiple of its step.
        assert all(value % (2**33 + 1) == 0 for value in seen.values())
        assert all(seen[cell] >= value for cell, value in former.items())
        former = seen
    writer.join()
    assert sum(sum(fields.values()) for fields in fruit(tmp_path).values()) == 20_000 * (2**33 + 1)


def test_every_metric_has_a_name_of_its_own_and_fits_a_file(tmp_path: Path) -> None:
    mine = Counters(tmp_path, "shadow")
    names = [family.name for family in metrics.FAMILIES]
    assert len(set(names)) == len(names)
    for family in metrics.FAMILIES:
        at = mine.group(family, tuple("x" for _ in family.labels))
        for field in family.fields:
            mine.cells[at + family.at(field)] += 1
    sums = counters.totals(tmp_path)
    assert [key[0] for key in sums] == names
    assert all(set(fields.values()) == {1} for fields in sums.values())
