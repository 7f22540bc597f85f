"""The journal keeps what it was given: after a torn write, a flipped bit, a full disk, a kill."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import journal
from gateway.core.journal import Journal, Recovery, frame, unframe

RECORDS = [b'{"n":1}', b"{}", b"", '{"text":"größer"}'.encode(), b'{"n":5,"more":[1,2,3]}']
NO_NEWLINE = st.binary(max_size=200).filter(lambda payload: b"\n" not in payload)
RESOURCE_LIMITED = """
    import resource, sys
    from pathlib import Path
    from gateway.core.journal import Journal
    written = Journal(Path(sys.argv[1]), "pairs", 1 << 30)
    written.append([b"kept"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        written.append([b"x" * 3000, b"y" * 3000])
    except OSError as error:
        print(type(error).__name__)
    written.append([b"small enough again"])
    written.close()
"""
WRITER = """
    import os, sys
    from pathlib import Path
    from gateway.core.journal import Journal
    written = Journal(Path(sys.argv[1]), "pairs", 2_000)
    number = int(sys.argv[2])
    while True:
        written.append([b"%d" % one for one in range(number, number + 7)])
        written.roll_if_full()
        number += 7
        os.write(1, b"%d\\n" % number)
"""


def python(script: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]


def written(directory: Path, payloads: list[bytes]) -> Path:
    one = Journal(directory, "pairs", 1 << 30)
    one.append(payloads)
    closed = one.roll()
    assert closed is not None
    return closed


def everything(directory: Path) -> list[bytes]:
    paths = [path for suffix in (".log", ".open") for path in journal.segments(directory, "pairs", suffix)]
    return [payload for path in paths for payload in journal.read(path)]


def is_part_of(some: list[bytes], whole: list[bytes]) -> bool:
    remaining = iter(whole)
    return all(payload in remaining for payload in some)


@given(NO_NEWLINE)
def test_a_frame_gives_its_payload_back(payload: bytes) -> None:
    assert unframe(frame(payload)) == payload
    assert unframe(frame(payload).removesuffix(b"\n")) == payload


@given(st.binary(max_size=60))
def test_bytes_that_nobody_framed_are_refused_or_are_a_frame(line: bytes) -> None:
    payload = unframe(line)
    assert payload is None or frame(payload).removesuffix(b"\n") == line.removesuffix(b"\n")


def test_records_come_back_in_order_over_segments(tmp_path: Path) -> None:
    payloads = [b"%06d" % number for number in range(1000)]
    small = Journal(tmp_path, "pairs", 500)
    for start in range(0, 1000, 10):
        small.append(payloads[start : start + 10])
        small.roll_if_full()
    small.close()
    assert len(journal.segments(tmp_path, "pairs")) > 10
    assert everything(tmp_path) == payloads
    assert small.recoveries == []


def test_a_file_cut_at_any_byte_keeps_every_whole_record_before_the_cut(tmp_path: Path) -> None:
    content = b"".join(map(frame, RECORDS))
    ends = [len(b"".join(map(frame, RECORDS[:count]))) for count in range(len(RECORDS) + 1)]
    path = tmp_path / "pairs-0000000001.open"
    for cut in range(len(content) + 1):
        whole = sum(end <= cut for end in ends[1:])
        path.write_bytes(content[:cut])
        assert list(journal.read(path)) == RECORDS[:whole]
        assert journal.recover(path) == Recovery(whole, 0, cut - ends[whole])
        assert path.read_bytes() == content[: ends[whole]]


def test_a_flipped_bit_anywhere_changes_no_record_and_loses_two_at_most(tmp_path: Path) -> None:
    content = b"".join(map(frame, RECORDS))
    path = tmp_path / "pairs-0000000001.log"
    for bit in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        found = list(journal.read(path))
        assert is_part_of(found, RECORDS), bit
        assert len(found) >= len(RECORDS) - 2, bit
        assert len(found) < len(RECORDS), bit
        recovery = journal.recover(path)
        assert recovery.damaged or recovery.torn_bytes, bit
        assert list(journal.read(path)) == found, bit


@given(st.lists(NO_NEWLINE, max_size=8), st.binary(max_size=80))
def test_a_torn_tail_of_any_bytes_is_cut_and_writing_goes_on(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], tail: bytes
) -> None:
    directory = tmp_path_factory.mktemp("torn")
    path = directory / "pairs-0000000004.open"
    path.write_bytes(b"".join(map(frame, payloads)) + tail.replace(b"\n", b"?"))
    reopened = Journal(directory, "pairs", 1 << 20)
    reopened.append([b"after"])
    reopened.close()
    assert everything(directory) == [*payloads, b"after"]
    assert [found.records for found in reopened.recoveries] == [len(payloads)]
    assert journal.segments(directory, "pairs")[-1].name == "pairs-0000000005.log"


@given(st.lists(st.sampled_from(["append", "roll", "reopen", "tear"]), max_size=25))
def test_any_order_of_appending_rolling_and_dying_keeps_every_record_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    directory = tmp_path_factory.mktemp("steps")
    current = Journal(directory, "pairs", 60)
    expected: list[bytes] = []
    for number, step in enumerate(steps):
        match step:
            case "append":
                batch = [b"%d-%d" % (number, one) for one in range(number % 4)]
                current.append(batch)
                current.roll_if_full()
                expected += batch
            case "roll":
                current.roll()
            case "tear":
                for path in journal.segments(directory, "pairs", ".open"):
                    with path.open("ab") as file:
                        file.write(frame(b"never acknowledged")[: 1 + number % 20])
                current = Journal(directory, "pairs", 60)
            case _:
                current = Journal(directory, "pairs", 60)
    assert everything(directory) == expected
    assert sum(found.damaged for found in current.recoveries) == 0


def test_numbers_go_on_where_the_owner_says_and_never_back(tmp_path: Path) -> None:
    first = Journal(tmp_path, "pairs", 1 << 20)
    first.start_at(41)
    first.start_at(7)
    first.append([b"a"])
    first.start_at(90)
    first.roll()
    first.append([b"b"])
    first.close()
    assert [path.name for path in journal.segments(tmp_path, "pairs")] == [
        "pairs-0000000041.log",
        "pairs-0000000042.log",
    ]


def test_journals_of_one_directory_keep_apart(tmp_path: Path) -> None:
    pairs = Journal(tmp_path, "pairs", 1 << 20)
    usage = Journal(tmp_path, "usage", 1 << 20)
    pairs.append([b"a pair"])
    usage.append([b"an event"])
    assert Journal(tmp_path, "usage", 1 << 20).recoveries == [Recovery(1, 0, 0)]
    assert everything(tmp_path) == [b"a pair"]
    assert pairs.size_bytes == len(frame(b"a pair"))


def test_rolling_an_empty_journal_makes_no_file(tmp_path: Path) -> None:
    empty = Journal(tmp_path / "made" / "here", "pairs", 1 << 20)
    assert empty.roll() is None
    empty.close()
    assert list((tmp_path / "made" / "here").iterdir()) == []


def test_a_batch_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    """RLIMIT_FSIZE ends a write in its middle, as a disk does that has just become full."""
    child = subprocess.run(python(RESOURCE_LIMITED, tmp_path), capture_output=True, text=True, check=True, timeout=60)
    assert child.stdout.strip() == "OSError"
    assert everything(tmp_path) == [b"kept", b"small enough again"]


def test_a_full_disk_refuses_a_batch_whole_and_takes_the_next(tmp_path: Path) -> None:
    """On a file system of 64 KiB of its own where the kernel lets us mount one."""
    script = """
        import errno, sys
        from pathlib import Path
        from gateway.core import journal
        written = journal.Journal(Path(sys.argv[1]), "pairs", 1 << 30)
        kept = 0
        try:
            while True:
                written.append([b"%03d" % kept * 500, b"second" * 500])
                kept += 1
        except OSError as error:
            assert error.errno == errno.ENOSPC
        written.append([b"a short one"])
        written.close()
        (segment,) = journal.segments(Path(sys.argv[1]), "pairs")
        found = list(journal.read(segment))
        assert len(found) == 2 * kept + 1 and found[-1] == b"a short one", (kept, len(found))
        print(kept)
    """
    mount = 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"'
    child = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, tmp_path, *python(script, tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "ermitted" in child.stderr or "denied" in child.stderr:
        return  # Not root: the test above has cut a write short by a limit of the process.
    assert child.returncode == 0, child.stderr
    assert 0 < int(child.stdout) < 22


def test_what_a_killed_writer_has_acknowledged_is_there_after_reopening(tmp_path: Path) -> None:
    promised = 0
    for acknowledgements in (1, 40, 3, 90, 17):
        child = subprocess.Popen(python(WRITER, tmp_path, promised), stdout=subprocess.PIPE)
        assert child.stdout is not None
        for _ in range(acknowledgements):
            promised = int(child.stdout.readline())
        child.kill()
        promised = max([promised, *map(int, child.stdout.read().splitlines())])
        child.stdout.close()
        assert child.wait(timeout=30) == -9
        Journal(tmp_path, "pairs", 2_000)
        found = [int(payload) for payload in everything(tmp_path)]
        # One batch may have been written and not yet acknowledged, whole or in part.
        assert found[:promised] == list(range(promised))
        assert found == list(range(len(found)))
        assert len(found) <= promised + 7
        promised = len(found)


def test_a_reader_beside_the_writer_sees_a_beginning_of_what_was_written(tmp_path: Path) -> None:
    payloads = [b"%d" % number * (1 + number % 50) for number in range(4000)]
    beside = Journal(tmp_path, "pairs", 1 << 30)
    beside.append(payloads[:1])
    path = tmp_path / "pairs-0000000001.open"

    def write() -> None:
        for start in range(1, len(payloads), 3):
            beside.append(payloads[start : start + 3])

    writer = Thread(target=write)
    writer.start()
    lengths = []
    while writer.is_alive():
        found = list(journal.read(path))
        assert found == payloads[: len(found)]
        lengths.append(len(found))
    writer.join()
    assert lengths == sorted(lengths)
    assert list(journal.read(path)) == payloads


def test_an_append_to_a_directory_that_is_gone_is_an_os_error(tmp_path: Path) -> None:
    lost = Journal(tmp_path / "gone", "pairs", 1 << 20)
    os.rmdir(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        lost.append([b"nowhere"])
    (tmp_path / "gone").mkdir()
    lost.append([b"here"])
    assert everything(tmp_path / "gone") == [b"here"]


def test_a_segment_that_cannot_be_renamed_is_gone_on_with(tmp_path: Path) -> None:
    one = Journal(tmp_path, "pairs", 1 << 20)
    one.append([b"first"])
    (tmp_path / "pairs-0000000001.log").mkdir()
    with pytest.raises(OSError, match=r"pairs-0000000001\.log"):
        one.roll()
    # Whatever file is opened next gets the number that the segment had: nothing must be written there.
    with (tmp_path / "somebody's").open("w+b") as other:
        one.append([b"second"])
        assert other.read() == b""
    (tmp_path / "pairs-0000000001.log").rmdir()
    assert one.roll() == tmp_path / "pairs-0000000001.log"
    assert everything(tmp_path) == [b"first", b"second"]
