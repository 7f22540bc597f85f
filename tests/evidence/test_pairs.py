"""A pair is counted as stored when it is in the journal, and what the disk does not take is counted too."""

import asyncio
import errno
import os
import tempfile
from base64 import b64decode
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import journal as journals
from gateway.core.journal import Journal
from gateway.core.pair import Pair
from gateway.evidence import pairs as module
from gateway.evidence.ledger import Account, Ledger
from gateway.evidence.pairs import FLUSH_BYTES, PREFIX, PairWriter, kept, settle_journal
from tests.support.pairs import TYPICAL
from tests.support.shadowing import AT_REST, books, counted, imbalance
from tests.support.witness import Witness, copied

SEGMENT = 1 << 20


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(cast("asyncio.Coroutine[None, None, None]", test()))


@pytest.mark.parametrize(
    ("body", "payload", "text", "form"),
    [
        (b'{"y":1}', "body", '{"y":1}', "text"),
        ("größer".encode(), "body", "größer", "text"),
        (b"", "body", "", "text"),
        (b"\xff\0", "body", "/wA=", "base64"),
        (b"\xed\xa0\x80", "body", "7aCA", "base64"),  # half of a surrogate pair is no UTF-8
        (b'{"y":1}', "digest", sha256(b'{"y":1}').hexdigest(), "sha256"),
        (b'{"y":1}', "none", "", "none"),
        (b"\xff", "none", "", "none"),
    ],
)
def test_a_body_is_kept_as_the_configuration_says(
    body: bytes, payload: Literal["body", "digest", "none"], text: str, form: str
) -> None:
    assert kept(body, payload) == (text, form)


@given(st.binary(max_size=100))
def test_any_body_can_be_had_back(body: bytes) -> None:
    text, form = kept(body, "body")

    assert (text.encode() if form == "text" else b64decode(text)) == body
    assert msgspec.json.decode(msgspec.json.encode(text)) == text


class Desk:
    """A writer on a state directory; what it reports is in `said`."""

    def __init__(self, state: Path, segment: int = SEGMENT):
        self.state = state
        self.counters = books(state / "counters")
        self.ledger = Ledger(self.counters)
        self.journal = Journal(state / "journal", PREFIX, segment)
        self.found = settle_journal(self.journal, self.ledger)
        self.ledger.settle_start()
        self.said: list[tuple[str, dict[str, object]]] = []
        self.writer = PairWriter(self.journal, self.ledger, lambda event, facts: self.said.append((event, facts)))

    @property
    def account(self) -> Account:
        return self.ledger.account("m", "2")

    def write(self, *outcomes: str, **changes: Any) -> None:
        """What a call's end does: count, then hand the record over."""
        for outcome in outcomes:
            self.ledger.cells[self.ledger.taken_at("worker-0", "m", "2")] += 1
            self.account.add("sent")
            self.account.add(outcome)
            number = self.writer.next_sequence()
            pair = msgspec.structs.replace(
                TYPICAL, sequence=number, model="m", challenger="2", outcome=outcome, request_id=f"r{number}", **changes
            )
            self.writer.write(pair, self.account)

    def counted(self) -> dict[str, int]:
        return counted(self.state / "counters")

    def stored(self) -> list[Pair]:
        return stored(self.state)


def stored(state: Path) -> list[Pair]:
    paths = [path for suffix in (".log", ".open") for path in journals.segments(state / "journal", PREFIX, suffix)]
    return [msgspec.json.decode(line, type=Pair) for path in sorted(paths) for line in journals.read(path)]


@pytest.mark.interpreted
def test_records_are_gathered_and_appended_in_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        desk = Desk(tmp_path)
        writes: list[int] = []
        written = asyncio.Event()
        append = Journal.append

        def noted(journal: Journal, payloads: Sequence[bytes]) -> None:
            writes.append(len(payloads))
            append(journal, payloads)
            written.set()

        monkeypatch.setattr(Journal, "append", noted)
        desk.write("ok", "ok", "timeout")
        assert desk.counted() == {"sent": 3, "ok": 2, "timeout": 1}

        await asyncio.sleep(0)
        assert not writes
        await asyncio.wait_for(written.wait(), 10)

        assert writes == [3]
        assert desk.counted() == {"sent": 3, "ok": 2, "timeout": 1, "stored": 2, "failure_stored": 1}
        assert [pair.sequence for pair in desk.stored()] == [1, 2, 3]

    in_loop(play)


def test_many_bytes_are_appended_at_once(tmp_path: Path) -> None:
    async def play() -> None:
        desk = Desk(tmp_path)

        desk.write("ok", request="x" * FLUSH_BYTES)

        assert desk.counted()["stored"] == 1

    in_loop(play)


def test_a_full_segment_is_closed_and_the_next_begun(tmp_path: Path) -> None:
    async def play() -> None:
        desk = Desk(tmp_path, segment=500)
        for _ in range(3):
            desk.write("ok")
            desk.writer.flush()
        desk.writer.roll()

        assert len(journals.segments(tmp_path / "journal", PREFIX)) == 3
        assert [pair.sequence for pair in desk.stored()] == [1, 2, 3]

    in_loop(play)


def test_rolling_writes_what_waits_first(tmp_path: Path) -> None:
    async def play() -> None:
        desk = Desk(tmp_path)
        desk.write("ok")

        desk.writer.roll()

        (segment,) = journals.segments(tmp_path / "journal", PREFIX)
        assert len(list(journals.read(segment))) == 1
        assert desk.counted()["stored"] == 1

    in_loop(play)


@pytest.mark.interpreted
def test_a_full_disk_is_counted_and_said_once_and_gone_on_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        desk = Desk(tmp_path)
        desk.write("ok")
        desk.writer.flush()

        def full(journal: Journal, payloads: Sequence[bytes]) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(Journal, "append", full)
            for outcomes in (("ok", "error"), ("ok",), ("timeout",)):
                desk.write(*outcomes)
                desk.writer.flush()
        assert desk.said == [("pairs-not-stored", {"cause": "[Errno 28] No space left on device"})]
        desk.write("ok", "cancelled")
        desk.writer.flush()

        assert [event for event, _ in desk.said] == ["pairs-not-stored", "pairs-stored-again"]
        found = desk.counted()
        assert {name: found[name] for name in found if "stored" in name} == {
            "stored": 2,
            "unstored_storage": 2,
            "failure_stored": 1,
            "failure_unstored": 2,
        }
        assert imbalance(tmp_path / "counters") == AT_REST
        # A reader sees by the numbers that there were others.
        assert [pair.sequence for pair in desk.stored()] == [1, 6, 7]

    in_loop(play)


@pytest.mark.interpreted
def test_a_disk_that_takes_a_little_now_and_then_is_still_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last page of the journal has room for a small record: that is no news, and the next failure neither."""

    async def play() -> None:
        desk = Desk(tmp_path)
        append, room = Journal.append, 3000

        def nearly_full(journal: Journal, payloads: Sequence[bytes]) -> None:
            nonlocal room
            if sum(map(len, payloads)) > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            room -= sum(map(len, payloads))
            append(journal, payloads)

        with monkeypatch.context() as patch:
            patch.setattr(Journal, "append", nearly_full)
            for outcomes in (["ok"] * 20, ["ok"], ["ok"] * 20, ["ok"], ["ok"], ["ok"]):
                desk.write(*outcomes)
                desk.writer.flush()
            assert [event for event, _ in desk.said] == ["pairs-not-stored"]
            room = 1 << 20
            desk.write(*["ok"] * 20)
            desk.writer.flush()

        assert [event for event, _ in desk.said] == ["pairs-not-stored", "pairs-stored-again"]
        assert imbalance(tmp_path / "counters") == AT_REST

    in_loop(play)


def test_a_segment_that_cannot_be_closed_is_said_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        desk = Desk(tmp_path)
        desk.write("ok")

        def fails(descriptor: int) -> None:
            raise OSError(errno.EIO, "the disk is broken")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fails)
            desk.writer.roll()
        desk.write("ok")
        desk.writer.roll()

        assert [event for event, _ in desk.said] == ["journal-not-closed"]
        assert desk.counted()["stored"] == 2
        assert [pair.sequence for pair in desk.stored()] == [1, 2]

    in_loop(play)


def test_a_journal_on_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """`/dev/full` refuses every write, as the last block of a disk does."""

    async def play() -> None:
        desk = Desk(tmp_path)
        (tmp_path / "journal" / f"{PREFIX}-0000000001.open").symlink_to("/dev/full")
        desk.write("ok")
        desk.writer.flush()

        assert desk.counted()["unstored_storage"] == 1

    in_loop(play)


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    async def play() -> None:
        for _ in range(3):
            desk = Desk(tmp_path)
            desk.write("ok", "ok")
            desk.writer.roll()
            desk.counters.close()

        assert [pair.sequence for pair in stored(tmp_path)] == [1, 2, 3, 4, 5, 6]

    in_loop(play)


def test_what_was_appended_and_not_counted_is_counted_at_the_next_start(tmp_path: Path) -> None:
    async def play() -> None:
        desk = Desk(tmp_path)
        desk.write("ok", "error")
        waiting, desk.writer._waiting = desk.writer._waiting, []
        desk.journal.append([record.data for record in waiting])
        desk.counters.close()

        after = Desk(tmp_path)

        assert after.found == 2
        assert counted(tmp_path / "counters") == {
            "sent": 2,
            "ok": 1,
            "error": 1,
            "stored": 1,
            "failure_stored": 1,
        }
        assert after.writer.next_sequence() == 3

    in_loop(play)


def test_lines_that_are_no_pairs_are_passed_over_at_the_start(tmp_path: Path) -> None:
    async def play() -> None:
        journal = Journal(tmp_path / "journal", PREFIX, SEGMENT)
        journal.append([b"no JSON", b'{"sequence":"one"}', b"{}", msgspec.json.encode(TYPICAL)])

        assert Desk(tmp_path).found == 1

    in_loop(play)


def test_a_kill_between_any_two_additions_leaves_books_that_can_be_settled(tmp_path: Path) -> None:
    """Every instant of a conversation with the journal is played through as the last one before `kill -9`."""
    killed = 0

    def look() -> None:
        nonlocal killed
        assert min(imbalance(tmp_path / "state" / "counters").values()) >= 0
        with tempfile.TemporaryDirectory() as elsewhere:
            copy = copied(tmp_path / "state", Path(elsewhere))
            journal = Journal(copy / "journal", PREFIX, SEGMENT)
            counters = books(copy / "counters")
            ledger = Ledger(counters)
            settle_journal(journal, ledger)
            ledger.settle_start()
            counters.close()
            found = counted(copy / "counters")
            in_journal = sum(pair.outcome == "ok" for pair in stored(copy))
            assert imbalance(copy / "counters") == AT_REST
            # The one record whose number is noted and that is not counted yet is the only one that may differ.
            assert in_journal - 1 <= found.get("stored", 0) <= in_journal
        killed += 1

    async def play() -> None:
        desk = Desk(tmp_path / "state", segment=1500)
        witness = Witness(desk.counters, look)
        desk.ledger = Ledger(desk.counters)
        desk.writer = PairWriter(desk.journal, desk.ledger, lambda event, facts: None)
        assert desk.ledger.cells is witness
        for outcomes in (("ok",), ("ok", "error", "ok"), ("timeout",), ("ok", "ok", "cancelled"), ("ok",)):
            desk.write(*outcomes)
            desk.writer.flush()
        desk.writer.roll()

    in_loop(play)
    assert killed > 40


def test_the_wait_before_a_write_is_short() -> None:
    """What a kill can lose of answered pairs is what was gathered in this time."""
    assert module.FLUSH_AFTER_S <= 0.1
