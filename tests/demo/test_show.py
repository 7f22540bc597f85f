"""What the show makes of what is known; that it runs is seen in test_demo_command."""

from collections import Counter

import msgspec
import pytest

from gateway.demo import show as shows
from gateway.demo.caller import Caller
from gateway.demo.place import Place
from gateway.demo.replay import Course, Replay
from gateway.demo.screen import PlainScreen, VersionLine
from gateway.demo.show import Pace, Show, lost
from gateway.demo.standing import Reload, Standing
from gateway.evidence.report_document import ChallengerReport, Report
from tests.support.report_documents import challenger, report

LATENCY = {"count": 9, "p50_us": 500, "p90_us": 900, "p99_us": 1900}


def the_show(tmp_path, document=None) -> tuple[Show, Replay, Standing]:
    caller = Caller("127.0.0.1:1", 1, 1.0)
    replay, standing = Replay(caller, iter(()), 1.0), Standing(caller)
    if document is not None:
        standing.report = msgspec.convert(document, Report)
    return Show(replay, Course(iter(()), 0, 0, 10), standing, PlainScreen(), Place(tmp_path)), replay, standing


def test_every_way_to_lose_a_request_is_a_reason():
    one = challenger(
        skipped={"too_large": 1, "breaker_open": 2}, error=3, timeout=4, cancelled=5, unstored={"storage": 6}
    )

    assert lost(msgspec.convert(one, ChallengerReport)) == Counter(
        {"too_large": 1, "breaker_open": 2, "error": 3, "timeout": 4, "cancelled": 5, "unstored storage": 6}
    )
    assert lost(msgspec.convert(challenger(), ChallengerReport)) == Counter()


def test_the_champion_comes_first_and_then_its_challengers(tmp_path):
    both = {"champion": LATENCY, "challenger": {**LATENCY, "p99_us": 2500}}
    show, _, _ = the_show(tmp_path, report(a=challenger(latency=both, timeout=1), gone=challenger(active=False)))

    assert list(show.versions()) == [
        VersionLine("1", True, 10, p99_ms=1.9),
        VersionLine("a", False, 10, lost=1, share=0.9, lower=0.6, upper=0.98, p99_ms=2.5),
    ]


def test_without_a_report_no_version_is_known(tmp_path):
    assert list(the_show(tmp_path)[0].versions()) == []


def test_everything_that_is_not_as_it_should_be_is_said(tmp_path):
    show, replay, standing = the_show(tmp_path, report(a=challenger(skipped={"breaker_open": 1200})))
    assert list(show.troubles()) == ["version a: 1,200 lost, breaker_open"]

    replay.tally.failed["status 503 overloaded"] = 7
    standing.trouble = "/readyz: no answer within 10 s"
    standing.reload = Reload("refused", "x", (f"{tmp_path / 'demo.yaml'}:3:1: unknown key 'x'",))

    assert list(show.troubles()) == [
        "failed: 7 requests: status 503 overloaded",
        "version a: 1,200 lost, breaker_open",
        "no news of the gateway: /readyz: no answer within 10 s",
        "not applied: demo.yaml:3:1: unknown key 'x'",
    ]


def test_the_pace_is_that_of_the_last_seconds(monkeypatch):
    now = iter([100.0, 101.0, 104.0, 106.0, 120.0])
    monkeypatch.setattr(shows, "monotonic", lambda: next(now))
    pace = Pace()

    assert [pace.of(count) for count in (0, 100, 400, 800, 800)] == pytest.approx([0.0, 100.0, 100.0, 140.0, 0.0])
