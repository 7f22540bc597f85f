"""Offers find their lanes: by the snapshot they were made under, in each challenger's own sample."""

from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.core.offer import Offer
from gateway.core.offer import Route as RouteMessage
from gateway.core.snapshot import Snapshot
from gateway.evidence import dispatch
from gateway.evidence.dispatch import KEPT_SNAPSHOTS, Dispatch
from gateway.evidence.lane import Job, Plan
from gateway.evidence.ledger import Account, Ledger
from gateway.evidence.shadow_call import ShadowCaller
from tests.support.shadowing import a_route, an_offer, books, counted, snapshot_of

pytestmark = pytest.mark.interpreted  # its doubles stand in for compiled classes


class Launched:
    """Stands where the caller stands: notes what is launched, and ends it when told."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def launch(self, job: Job) -> None:
        job.plan.lane.account.add("sent")
        self.jobs.append(job)

    def of(self, challenger: str) -> list[Offer]:
        return [job.offer for job in self.jobs if job.plan.challenger.version.name == challenger]


class Desk:
    """A dispatch on books in a directory."""

    def __init__(self, directory: Path, *snapshots: Snapshot):
        self.directory = directory
        self.ledger = Ledger(books(directory))
        self.launched = Launched()
        self.dispatch = Dispatch(self.ledger, cast(ShadowCaller, self.launched))
        for snapshot in snapshots:
            self.dispatch.use(snapshot)

    def take(self, route: RouteMessage, *offers: Offer) -> None:
        plans = self.dispatch.plans(route)
        for offer in offers:
            self.dispatch.take(offer, plans)

    def end_all(self) -> None:
        for job in self.launched.jobs:
            if job in job.plan.lane.running:
                job.plan.lane.ended(job)

    def counted(self, challenger: str = "2") -> dict[str, int]:
        return counted(self.directory, challenger)


def offers(count: int, **changes: Any) -> list[Offer]:
    return [an_offer(request_id=f"request-{number}", **changes) for number in range(count)]


WIDE = {"concurrency": 60_000}


def test_every_challenger_gets_the_offer(tmp_path: Path) -> None:
    snapshot = snapshot_of("2", "3")
    desk = Desk(tmp_path, snapshot)
    (offer,) = offers(1)

    desk.take(a_route(snapshot), offer)

    assert desk.launched.of("2") == desk.launched.of("3") == [offer]
    assert desk.counted("2") == desk.counted("3") == {"sent": 1}


def test_each_challenger_has_a_sample_of_its_own(tmp_path: Path) -> None:
    snapshot = snapshot_of("2", "3", settings={"percent": 30, **WIDE})
    desk = Desk(tmp_path, snapshot)

    desk.take(a_route(snapshot), *offers(4000))

    seen = {name: {offer.request_id for offer in desk.launched.of(name)} for name in ("2", "3")}
    for name in ("2", "3"):
        assert desk.counted(name) == {"sent": len(seen[name]), "sampled_out": 4000 - len(seen[name])}
        assert abs(len(seen[name]) - 1200) < 87  # three sigma
    assert abs(len(seen["2"] & seen["3"]) - 360) < 55


def test_the_same_request_is_in_the_sample_whenever_it_comes(tmp_path: Path) -> None:
    snapshot = snapshot_of("2", settings={"percent": 30, **WIDE})
    there, back = Desk(tmp_path / "a", snapshot), Desk(tmp_path / "b", snapshot)

    there.take(a_route(snapshot), *offers(500))
    back.take(a_route(snapshot), *reversed(offers(500)))

    def seen(desk: Desk) -> set[str]:
        return {offer.request_id for offer in desk.launched.of("2")}

    assert seen(there) == seen(back)


def sequence_body(name: str, *, starts: bool) -> bytes:
    start = b',"sequence_start":true' if starts else b""
    return b'{"parameters":{"sequence_id":"%b"%b}}' % (name.encode(), start)


def test_of_a_sequence_all_requests_are_sampled_or_none(tmp_path: Path) -> None:
    snapshot = snapshot_of("2", settings={"percent": 40, **WIDE})
    desk = Desk(tmp_path, snapshot)
    for place in range(4):
        talks = [sequence_body(f"talk-{number}", starts=place == 0) for number in range(300)]
        desk.take(a_route(snapshot), *(an_offer(request_id=f"{body!r}-{place}", body=body) for body in talks))
        desk.end_all()

    seen = Counter(offer.body.split(b'"')[5] for offer in desk.launched.of("2"))

    assert set(seen.values()) == {4}
    assert abs(len(seen) - 120) < 26  # three sigma


def test_offers_follow_the_snapshot_they_were_made_under(tmp_path: Path) -> None:
    all_of_them, few = (snapshot_of("2", settings={"percent": percent, **WIDE}) for percent in (100, 1))
    desk = Desk(tmp_path, all_of_them, few)

    desk.take(a_route(all_of_them), *offers(100))

    assert desk.counted() == {"sent": 100}
    assert {job.plan.snapshot_id for job in desk.launched.jobs} == {all_of_them.id}


def test_a_challenger_keeps_its_lane_over_a_reload(tmp_path: Path) -> None:
    before, after = snapshot_of("2", settings={"concurrency": 1}), snapshot_of("2", "3", settings={"concurrency": 1})
    desk = Desk(tmp_path, before, after)

    desk.take(a_route(before), *offers(1))
    desk.take(a_route(after), *offers(1))

    assert len(desk.launched.of("2")) == 1
    assert len(desk.launched.of("3")) == 1
    desk.end_all()
    assert len(desk.launched.of("2")) == 2


def test_offers_of_a_snapshot_that_is_not_known_are_lost_and_counted(tmp_path: Path) -> None:
    snapshot = snapshot_of("2", "3")
    desk = Desk(tmp_path)

    assert not desk.dispatch.knows(snapshot.id)
    desk.take(a_route(snapshot), *offers(2))

    assert desk.counted("2") == desk.counted("3") == {"skipped_shadow_lost": 2}


def test_a_sequence_that_loses_a_request_that_way_is_not_followed_any_more(tmp_path: Path) -> None:
    known, unknown = snapshot_of("2"), snapshot_of("2", "3")
    desk = Desk(tmp_path, known)
    first, *others = (an_offer(body=sequence_body("a", starts=place == 0)) for place in range(3))
    desk.take(a_route(known), first)
    desk.end_all()

    desk.take(a_route(unknown), others[0])
    desk.take(a_route(known), others[1])

    assert desk.counted() == {"sent": 1, "skipped_shadow_lost": 2}


def test_the_last_snapshots_are_known_and_no_more(tmp_path: Path) -> None:
    snapshots = [snapshot_of("2", settings={"queue_items": number + 1}) for number in range(KEPT_SNAPSHOTS + 2)]
    desk = Desk(tmp_path, *snapshots)

    assert [desk.dispatch.knows(snapshot.id) for snapshot in snapshots] == [False] * 2 + [True] * KEPT_SNAPSHOTS


def test_a_snapshot_that_comes_again_is_the_newest(tmp_path: Path) -> None:
    snapshots = [snapshot_of("2", settings={"queue_items": number + 1}) for number in range(KEPT_SNAPSHOTS)]
    desk = Desk(tmp_path, *snapshots)

    desk.dispatch.use(snapshots[0])
    desk.dispatch.use(snapshot_of("9"))

    assert desk.dispatch.knows(snapshots[0].id)
    assert not desk.dispatch.knows(snapshots[1].id)


def test_large_configurations_are_not_kept_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of ten thousand models takes a hundred megabytes."""
    monkeypatch.setattr(dispatch, "KEPT_MODELS", 3)
    snapshots = [snapshot_of("2", settings={"queue_items": number + 1}) for number in range(5)]
    without = snapshot_of()
    desk = Desk(tmp_path, *snapshots, without)

    known = [desk.dispatch.knows(snapshot.id) for snapshot in (*snapshots, without)]

    assert known == [False, False, True, True, True, True]
    monkeypatch.setattr(dispatch, "KEPT_MODELS", 0)
    desk.dispatch.use(snapshots[0])
    assert [desk.dispatch.knows(one.id) for one in (*snapshots, without)] == [True, False, False, False, False, True]


def test_what_no_snapshot_names_any_more_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "KEPT_SNAPSHOTS", 2)
    desk = Desk(tmp_path)
    for number in range(5):
        snapshot = snapshot_of("2", f"old-{number}", urls={"2": f"http://127.0.0.1:{9000 + number}"})
        desk.dispatch.use(snapshot)
        desk.take(a_route(snapshot), *offers(1))
    assert len(list(desk.dispatch._registry.pools())) == 10

    desk.dispatch.expire_idle(0.0)
    lanes = set(desk.dispatch._lanes)
    assert lanes == {("m", "2"), *(("m", f"old-{number}") for number in range(5))}
    desk.end_all()
    desk.dispatch.use(snapshot)
    desk.dispatch.remember(snapshot_of("2", settings={"queue_items": 9}))
    desk.dispatch.expire_idle(0.0)

    assert set(desk.dispatch._lanes) == {("m", "2"), ("m", "old-4")}
    assert {pool.target.port for pool in desk.dispatch._registry.pools()} == {9, 9004}


def test_the_budget_of_bytes_is_that_of_the_present_snapshot(tmp_path: Path) -> None:
    snapshot = snapshot_of("2", "3", settings={"concurrency": 1}, shadow={"queue_bytes": 1000})
    desk = Desk(tmp_path, snapshot)

    desk.take(a_route(snapshot), *offers(3, body=b"x" * 400, fields=b"", answer=b""))

    assert desk.counted("2") == {"sent": 1, "skipped_queue_bytes": 1}
    assert desk.counted("3") == {"sent": 1, "skipped_queue_bytes": 1}


@pytest.mark.parametrize("named", [("a",), None])
def test_a_loss_on_the_way_ends_the_sequences_it_names(tmp_path: Path, named: tuple[str, ...] | None) -> None:
    snapshot = snapshot_of("2")
    desk = Desk(tmp_path, snapshot)
    plans = desk.dispatch.plans(a_route(snapshot))
    for name in "ab":
        desk.dispatch.take(an_offer(body=sequence_body(name, starts=True)), plans)
    desk.end_all()

    desk.dispatch.lose(plans, named)
    for name in "ab":
        desk.dispatch.take(an_offer(body=sequence_body(name, starts=False)), plans)

    lost = 2 if named is None else 1
    assert desk.counted() == {"sent": 4 - lost, "skipped_shadow_lost": lost}


def test_a_plan_says_all_that_an_offer_needs(tmp_path: Path) -> None:
    snapshot = snapshot_of("2", settings={"percent": 25}, shadow={"max_age": "3s"})
    desk = Desk(tmp_path, snapshot)

    (plan,) = desk.dispatch.plans(a_route(snapshot))

    assert isinstance(plan, Plan)
    assert plan.challenger.share == 0.25
    assert plan.max_age_s == 3.0
    assert plan.lane.account is desk.ledger.account("m", "2")


def test_a_challenger_that_is_not_in_the_snapshot_is_an_account_alone(tmp_path: Path) -> None:
    snapshot = snapshot_of("2")
    desk = Desk(tmp_path, snapshot)

    route = RouteMessage(1, snapshot.id, "m", "champion", ("2", "9"))
    nobody = RouteMessage(2, snapshot.id, "n", "champion", ("2",))

    assert [type(plan) for plan in desk.dispatch.plans(route)] == [Plan, Account]
    assert [type(plan) for plan in desk.dispatch.plans(nobody)] == [Account]


def test_it_is_idle_when_no_lane_holds_anything(tmp_path: Path) -> None:
    snapshot = snapshot_of("2", settings={"concurrency": 1})
    desk = Desk(tmp_path, snapshot)
    assert desk.dispatch.idle

    desk.take(a_route(snapshot), *offers(2))
    assert not desk.dispatch.idle
    desk.end_all()
    assert desk.dispatch.idle
