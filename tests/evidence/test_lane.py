"""A lane sends, queues or skips; whatever happens, every job leaves by one way out, and that way is counted."""

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.evidence.compare import Rule, compile_rule
from gateway.evidence.facts import Facts
from gateway.evidence.lane import Budget, Job, Lane, Plan
from gateway.evidence.ledger import Ledger
from gateway.upstream.replicas import Replicas
from tests.support.shadowing import AT_REST, an_offer, books, counted, imbalance, snapshot_of
from tests.support.witness import Witness, copied

MAX_AGE_S = 10.0


@dataclass
class Track:
    """One lane on a clock of its own. `running` are the jobs it has launched and that are not over, oldest first."""

    directory: Path
    challenger: str = "2"
    budget: Budget = field(default_factory=lambda: Budget(1 << 20))
    settings: dict[str, Any] = field(default_factory=dict)
    ledger: Ledger | None = None
    now: float = 1000.0
    running: list[Job] = field(default_factory=list)
    launched: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = self.ledger or Ledger(books(self.directory))
        self.account = self.ledger.account("m", self.challenger)
        self.taken = self.ledger.taken_at("worker-0", "m", self.challenger)
        self.lane = Lane(self.account, self._launch, self.budget, lambda: self.now)
        self.plan = self.planned()

    def planned(self, **changes: Any) -> Plan:
        snapshot = snapshot_of(self.challenger, settings={**self.settings, **changes})
        model = snapshot.models["m"]
        (challenger,) = model.challengers
        return Plan(
            snapshot.id, model, challenger, compile_rule(Rule(kind="json")), Replicas((), 1), self.lane, MAX_AGE_S
        )

    def job(self, sequence: str = "", *, starts: bool = False, age_s: float = 0.0, size: int = 7) -> Job:
        offer = an_offer(offered_us=int((self.now - age_s) * 1e6), body=b"x" * size, answer=b"", fields=b"")
        return Job(offer, self.plan, Facts({}, sequence, starts))

    def enter(self, job: Job) -> Job:
        assert self.ledger is not None
        self.ledger.cells[self.taken] += 1
        self.lane.enter(job)
        return job

    def end(self, job: Job, outcome: str = "ok") -> None:
        """What a caller does at the end of a call."""
        breaker = self.lane.breaker
        if outcome == "ok":
            breaker.succeeded()
        elif outcome == "cancelled":
            breaker.undecided()
        else:
            rules = job.plan.challenger.settings.breaker
            breaker.failed(self.now, rules.failures, rules.open)
        self.account.add(outcome)
        self.running.remove(job)
        self.lane.ended(job)

    def counted(self) -> dict[str, int]:
        return counted(self.directory, self.challenger)

    def _launch(self, job: Job) -> None:
        self.account.add("sent")
        self.running.append(job)
        self.launched.append(job)


@pytest.fixture
def track(tmp_path: Path) -> Track:
    return Track(tmp_path, settings={"concurrency": 2, "queue_items": 3})


def test_jobs_are_sent_up_to_the_concurrency_and_then_wait_in_order(track: Track) -> None:
    jobs = [track.enter(track.job()) for _ in range(4)]

    assert track.running == jobs[:2]
    track.end(jobs[1])
    assert track.running == [jobs[0], jobs[2]]
    track.end(jobs[0])
    assert track.running == jobs[2:]


def test_when_the_queue_is_full_the_newest_is_dropped(track: Track) -> None:
    jobs = [track.enter(track.job()) for _ in range(7)]

    assert track.counted() == {"sent": 2, "skipped_queue_full": 2}
    for job in jobs[:5]:
        track.end(job)
    assert track.launched == jobs[:5]


def test_bytes_bound_the_queue_too(tmp_path: Path) -> None:
    track = Track(tmp_path, settings={"concurrency": 1, "queue_bytes": 100})

    for size in (1000, 60, 60, 40):
        track.enter(track.job(size=size))

    assert track.counted() == {"sent": 1, "skipped_queue_bytes": 1}
    assert track.budget.used == 100


def test_all_lanes_share_a_budget_of_bytes(tmp_path: Path) -> None:
    budget = Budget(100)
    ledger = Ledger(books(tmp_path))
    one, other = (Track(tmp_path, name, budget, {"concurrency": 1}, ledger) for name in ("2", "3"))

    for track in (one, other):
        track.enter(track.job(size=1000))
        track.enter(track.job(size=60))

    assert one.counted() == {"sent": 1}
    assert other.counted() == {"sent": 1, "skipped_queue_bytes": 1}
    one.end(one.running[0])
    assert budget.used == 0


def test_an_old_offer_is_not_sent_any_more(track: Track) -> None:
    track.enter(track.job(age_s=MAX_AGE_S + 0.1))
    track.enter(track.job(age_s=MAX_AGE_S - 0.1))

    assert track.counted() == {"skipped_expired": 1, "sent": 1}


def test_what_waits_too_long_in_the_queue_is_not_sent_any_more(track: Track) -> None:
    first, second = (track.enter(track.job()) for _ in range(2))
    track.enter(track.job())
    track.now += MAX_AGE_S + 1

    track.end(first)
    track.end(second)

    assert track.counted() == {"sent": 2, "ok": 2, "skipped_expired": 1}
    assert track.lane.idle


def test_a_champion_that_took_its_time_makes_no_offer_old(track: Track) -> None:
    """The age of an offer is since it was made, not since its request began."""
    offer = an_offer(started_us=0, champion_us=int(1e9), offered_us=int(track.now * 1e6))

    track.enter(Job(offer, track.plan, Facts({}, "", False)))

    assert track.counted() == {"sent": 1}


def test_a_breaker_that_is_open_skips_and_closes_again_after_a_probe(tmp_path: Path) -> None:
    track = Track(tmp_path, settings={"concurrency": 8, "breaker": {"failures": 2, "open": "5s"}})
    for _ in range(2):
        track.end(track.enter(track.job()), "error")

    track.enter(track.job())
    assert track.counted()["skipped_breaker_open"] == 1

    track.now += 5
    probe = track.enter(track.job())
    track.enter(track.job())
    assert track.running == [probe]
    assert track.counted()["skipped_breaker_open"] == 2
    track.end(probe)
    track.enter(track.job())
    assert track.counted()["sent"] == 4


def test_waiting_jobs_are_skipped_when_the_breaker_opens(tmp_path: Path) -> None:
    track = Track(tmp_path, settings={"concurrency": 1, "breaker": {"failures": 1, "open": "5s"}})
    first = track.enter(track.job())
    for _ in range(3):
        track.enter(track.job())

    track.end(first, "timeout")

    assert track.counted() == {"sent": 1, "timeout": 1, "skipped_breaker_open": 3}
    assert track.lane.idle


def test_a_reload_changes_the_bounds_for_what_comes(track: Track) -> None:
    for _ in range(2):
        track.enter(track.job())
    track.plan = track.planned(concurrency=3, queue_items=1)

    for _ in range(3):
        track.enter(track.job())

    assert track.counted() == {"sent": 3, "skipped_queue_full": 1}


def test_emptying_skips_all_that_waits_and_leaves_what_runs(track: Track) -> None:
    jobs = [track.enter(track.job("a" if number else "", starts=number == 1)) for number in range(5)]

    track.lane.empty("shutdown")

    assert track.counted() == {"sent": 2, "skipped_shutdown": 3}
    assert track.budget.used == 0
    for job in jobs[:2]:
        track.end(job)
    assert track.lane.idle


def test_requests_of_a_sequence_go_one_after_the_other(tmp_path: Path) -> None:
    track = Track(tmp_path, settings={"concurrency": 4})
    talk = [track.enter(track.job("a", starts=not number)) for number in range(3)]
    other = track.enter(track.job())

    # The second waits for the first; nobody else waits for them.
    assert track.running == [talk[0], other]
    track.end(talk[0])
    assert track.running == [other, talk[1]]
    track.end(talk[1])
    track.end(talk[2])
    assert track.launched == [talk[0], other, *talk[1:]]


def test_the_rest_of_a_sequence_is_let_go_when_one_of_its_held_requests_is_skipped(tmp_path: Path) -> None:
    track = Track(tmp_path, settings={"concurrency": 4})
    first = track.enter(track.job("a", starts=True))
    for _ in range(3):
        track.enter(track.job("a"))
    track.now += MAX_AGE_S + 1

    track.end(first)

    assert track.counted() == {"sent": 1, "ok": 1, "skipped_expired": 3}
    assert track.budget.used == 0
    assert track.lane.idle


def test_held_requests_count_as_waiting(track: Track) -> None:
    for number in range(10):
        track.enter(track.job("a", starts=not number))

    assert track.counted() == {"sent": 1, "skipped_queue_full": 6}


def test_a_sequence_that_lost_a_request_is_not_followed_until_it_starts_anew(track: Track) -> None:
    first = track.enter(track.job("a", starts=True))
    for _ in range(4):
        track.enter(track.job("a"))
    assert track.counted() == {"sent": 1, "skipped_queue_full": 1}

    # What was queued before the loss is let go as well: the challenger could not finish it.
    track.end(first)
    track.enter(track.job("a"))
    assert track.counted() == {"sent": 1, "ok": 1, "skipped_queue_full": 5}

    track.end(track.enter(track.job("a", starts=True)))
    track.enter(track.job("a"))
    assert track.counted()["sent"] == 3


def test_a_sequence_whose_start_was_not_seen_is_not_followed(track: Track) -> None:
    track.enter(track.job("a"))

    assert track.counted() == {"skipped_shadow_lost": 1}


def test_calls_that_are_over_at_once_do_not_pile_up_on_the_stack(tmp_path: Path) -> None:
    track = Track(tmp_path, settings={"concurrency": 1, "queue_items": 5000})
    first = track.enter(track.job())
    for _ in range(3000):
        track.enter(track.job())
    launch = track.lane._launch

    def launch_and_end(job: Job) -> None:
        launch(job)
        track.end(job, "ok")

    track.lane._launch = launch_and_end
    track.end(first)

    assert track.counted() == {"sent": 3001, "ok": 3001}
    assert track.lane.idle


class Lanes(RuleBasedStateMachine):
    """Two challengers under one budget, in any interleaving; and a kill at any instant between two additions."""

    SETTINGS = {  # noqa: RUF012 - constant
        "concurrency": 2,
        "queue_items": 4,
        "queue_bytes": 300,
        "breaker": {"failures": 3, "open": "5s"},
    }

    @initialize()
    def start(self) -> None:
        self.scratch = tempfile.TemporaryDirectory()
        self.directory = Path(self.scratch.name) / "counters"
        counters = books(self.directory)
        self.witness = Witness(counters, self.look)
        self.watching = False
        ledger = Ledger(counters)
        self.budget = Budget(500)
        self.tracks = [Track(self.directory, name, self.budget, self.SETTINGS, ledger) for name in ("2", "3")]
        self.names: dict[Job, tuple[int, str, int, int]] = {}
        self.run_of: dict[tuple[int, str], int] = {}
        self.length: Counter[tuple[int, str, int]] = Counter()
        self.sent: Counter[tuple[int, str, int]] = Counter()
        self.over: Counter[tuple[int, str, int]] = Counter()
        self.checked = [0, 0]
        self.to_store: list[Track] = []
        self.looks = 0
        self.watching = True

    def look(self) -> None:
        """After every addition nothing is negative; at some, a kill is played through."""
        if not self.watching:
            return
        self.looks += 1
        for name in ("2", "3"):
            assert min(imbalance(self.directory, name).values()) >= 0, (name, imbalance(self.directory, name))
        if self.looks % 7 == 0:
            self.play_a_kill()

    def play_a_kill(self) -> None:
        with tempfile.TemporaryDirectory() as elsewhere:
            copy = copied(self.directory, Path(elsewhere))
            before = {name: counted(copy, name) for name in ("2", "3")}
            counters = books(copy)
            Ledger(counters).settle_start()
            counters.close()
            for name in ("2", "3"):
                assert imbalance(copy, name) == AT_REST
                after = counted(copy, name)
                assert all(after.get(key, 0) >= value for key, value in before[name].items())

    @rule(
        which=st.sampled_from([0, 1]),
        sequence=st.sampled_from(["", "", "a", "b"]),
        starts=st.booleans(),
        age_s=st.sampled_from([0.0, 0.0, 0.0, 4.0, 11.0]),
        size=st.sampled_from([10, 100, 250]),
    )
    def enter(self, which: int, sequence: str, starts: bool, age_s: float, size: int) -> None:
        track = self.tracks[which]
        job = track.job(sequence, starts=starts, age_s=age_s, size=size)
        if sequence:
            key = (which, sequence)
            self.run_of[key] = self.run_of.get(key, 0) + starts
            run = (*key, self.run_of[key])
            self.names[job] = (*run, self.length[run])
            self.length[run] += 1
        track.enter(job)

    @precondition(lambda self: any(track.running for track in self.tracks))
    @rule(data=st.data(), outcome=st.sampled_from(["ok", "ok", "error", "timeout", "cancelled"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        track = data.draw(st.sampled_from([track for track in self.tracks if track.running]))
        job = data.draw(st.sampled_from(track.running))
        if job in self.names:
            self.over[self.names[job][:3]] += 1
        if outcome == "ok":
            self.to_store.append(track)
        track.end(job, outcome)

    @precondition(lambda self: self.to_store)
    @rule(data=st.data(), field=st.sampled_from(["stored", "stored", "unstored_storage"]))
    def store(self, data: st.DataObject, field: str) -> None:
        track = data.draw(st.sampled_from(self.to_store))
        self.to_store.remove(track)
        track.account.add(field)

    @rule(seconds=st.sampled_from([0.1, 3.0, 6.0, 12.0]))
    def time_passes(self, seconds: float) -> None:
        for track in self.tracks:
            track.now += seconds

    @rule(which=st.sampled_from([0, 1]), sequence=st.sampled_from(["a", "b", None]))
    def lose_on_the_way(self, which: int, sequence: str | None) -> None:
        sequences = self.tracks[which].lane.sequences
        if sequence is None:
            sequences.lose_any()
        else:
            sequences.lose(sequence)

    @rule(which=st.sampled_from([0, 1]))
    def sample_out(self, which: int) -> None:
        track = self.tracks[which]
        assert track.ledger is not None
        track.ledger.cells[track.taken] += 1
        track.account.add("sampled_out")

    @rule(which=st.sampled_from([0, 1]))
    def empty(self, which: int) -> None:
        self.tracks[which].lane.empty("shutdown")

    @invariant()
    def bounds_hold_and_nothing_is_stuck(self) -> None:
        waiting_bytes = 0
        for track in self.tracks:
            found = imbalance(self.directory, track.challenger)
            assert len(track.running) == found["in_flight"] <= 2
            assert found["undecided"] <= 4
            assert found["undecided"] == 0 or track.running, "jobs wait for a call that nobody makes"
            assert track.lane.idle == (found["undecided"] == found["in_flight"] == 0)
            waiting_bytes += found["undecided"] * 10
        assert waiting_bytes <= self.budget.used <= 500
        if all(track.lane.idle for track in self.tracks):
            assert self.budget.used == 0

    @invariant()
    def a_sequence_is_seen_from_its_start_in_order_without_a_gap(self) -> None:
        for which, track in enumerate(self.tracks):
            for job in track.launched[self.checked[which] :]:
                if job in self.names:
                    *key, place = self.names[job]
                    run = (key[0], key[1], key[2])
                    assert run[2] > 0, "the start of this one was never seen"
                    assert place == self.sent[run], "a request before this one was not sent"
                    assert self.over[run] == place, "the one before it is not over"
                    self.sent[run] += 1
            self.checked[which] = len(track.launched)

    def teardown(self) -> None:
        if not hasattr(self, "tracks"):
            return
        for track in self.tracks:
            track.lane.empty("shutdown")
            for job in list(track.running):
                track.end(job, "cancelled")
        for track in self.to_store:
            track.account.add("unstored_shutdown")
        for track in self.tracks:
            assert imbalance(self.directory, track.challenger) == AT_REST
            assert track.lane.idle
        assert self.budget.used == 0
        self.watching = False
        self.scratch.cleanup()


Lanes.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
test_any_interleaving_keeps_the_books = Lanes.TestCase
