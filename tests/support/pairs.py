"""Real pair records, and a state directory whose shadow process is the test."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gateway.core.journal import Journal, frame, segments
from gateway.core.pair import Pair
from gateway.stores.pair_files import PREFIX, open_pair_journal

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
DAY_US = 86_400_000_000
TYPICAL = Pair(
    sequence=1,
    request_id="",
    at_us=int(NOON.timestamp()) * 1_000_000,
    model="flight-delay",
    champion="1",
    challenger="2",
    config_id="5d41402abc4b",
    tenant="UA",
    client="192.0.2.7",
    path="/v2/models/flight-delay/infer",
    slices={"carrier": "UA", "origin": "JFK"},
    probability=1.0,
    outcome="ok",
    detail="",
    agree=True,
    difference=0.0,
    paths=(),
    champion_status=200,
    champion_us=1500,
    challenger_status=200,
    challenger_us=2500,
    request='{"inputs":[{"name":"distance","shape":[1],"datatype":"FP32","data":[719.0]}]}',
    request_form="text",
    champion_answer='{"outputs":[{"name":"label","data":["on time"]}]}',
    champion_form="text",
    challenger_answer='{"outputs":[{"name":"label","data":["on time"]}]}',
    challenger_form="text",
)


def request_id_at(at_us: int, number: int) -> str:
    """A UUIDv7 of that time, told apart by its number."""
    stamp = f"{at_us // 1000:012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7{number >> 48 & 0xFFF:03x}-8000-{number & 0xFFFFFFFFFFFF:012x}"


def a_pair(sequence: int, **changes: object) -> Pair:
    """A pair like any other, but for what is named."""
    one = msgspec.structs.replace(TYPICAL, sequence=sequence, **changes)
    if not one.request_id:
        one = msgspec.structs.replace(one, request_id=request_id_at(one.at_us, sequence))
    return one


def encoded(pairs: Iterable[Pair]) -> list[bytes]:
    return [msgspec.json.encode(pair) for pair in pairs]


@dataclass
class Shadow:
    """The one writer of a state directory's pair journal, with all that it has ever appended."""

    state: Path
    segment_bytes: int = 1 << 24
    appended: list[Pair] = field(default_factory=list)
    journal: Journal = field(init=False)

    @property
    def sequence(self) -> int:
        """The number of the next pair."""
        return len(self.appended) + 1

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """What a process does that comes after one that ended in any way."""
        self.journal = open_pair_journal(self.state, self.segment_bytes)

    def append(self, *changes: dict[str, object]) -> list[Pair]:
        """Append one pair for each set of changes, in one batch."""
        return self.append_pairs([a_pair(self.sequence + number, **one) for number, one in enumerate(changes)])

    def append_pairs(self, pairs: Sequence[Pair]) -> list[Pair]:
        self.journal.append(encoded(pairs))
        self.journal.roll_if_full()
        self.appended += pairs
        return list(pairs)

    def close_segment(self) -> None:
        self.journal.roll()

    def die_in_mid_write(self) -> None:
        """What `kill -9` during a write leaves behind."""
        for path in segments(self.state / "journal", PREFIX, ".open"):
            with path.open("ab") as file:
                file.write(frame(msgspec.json.encode(TYPICAL))[:-40])
