"""The report for people: what they look for is there, and nothing in it can drive their terminal."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console, RenderableType

from gateway.core.metrics import DURATION, OFFERED, REQUESTS, SHADOW
from gateway.core.ports import Mismatch, PairSummary, Quantiles, SliceCount
from gateway.evidence.pair_text import pairs_text
from gateway.evidence.report import Facts, Kept, assemble
from gateway.evidence.report_text import duration_text, plain, report_text
from tests.support.pairs import TYPICAL, a_pair

NOW = datetime(2026, 3, 14, 13, tzinfo=UTC)
LABELS = ("flight-delay", "2")
SUMMARY = PairSummary(
    pairs=1240,
    other_champions=40,
    first_at_us=TYPICAL.at_us,
    last_at_us=TYPICAL.at_us + 60_000_000,
    compared=1000,
    agree=950,
    incomparable=7,
    difference=Quantiles(990, 0.0, 0.25, 1.5, 12.0),
    champion_us=Quantiles(1000, 900, 1800, 25_000, 30_000),
    challenger_us=Quantiles(1000, 1100, 2400, 1_250_000, 2_000_000),
    slices=(SliceCount("carrier", "UA", 990, 945), SliceCount("carrier", "[red]AA", 10, 5)),
    slices_left_out={"carrier": 3},
)
TOTALS = {
    (REQUESTS.name, ("flight-delay", "1")): {"2xx": 12_345, "5xx": 2},
    (DURATION.name, ("flight-delay", "1")): {"0.001": 12_345, "sum_us": 9_000_000},
    (OFFERED.name, LABELS): {"eligible": 1200, "too_large": 30},
    (SHADOW.name, LABELS): {
        "sampled_out": 100,
        "skipped_expired": 4,
        "sent": 1066,
        "ok": 1040,
        "error": 20,
        "timeout": 6,
        "stored": 1039,
        "unstored_storage": 1,
    },
}
WORST = [
    Mismatch("id-of-the-worst", TYPICAL.at_us, None, ("$.a", "$.b", "$.c", "$.d", "$.e"), {}, 200, 200),
    Mismatch("id-of-the-next", TYPICAL.at_us, 12.0, ("$.outputs[0].data[3]",), {}, 200, 200),
]


def printed(page: RenderableType, width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, force_terminal=False)
    console.print(page)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def lines_of(page: RenderableType) -> list[str]:
    return [" ".join(line.split()) for line in printed(page).splitlines()]


def page(summary: PairSummary = SUMMARY, facts: tuple[str, ...] = ("2",)) -> list[str]:
    kept = {"2": Kept(summary, WORST)}
    report = assemble(Facts("flight-delay", "5d41402abc4b", "1", facts), TOTALS, kept, NOW)
    return lines_of(report_text(report))


@pytest.mark.parametrize(
    "line",
    [
        "flight-delay champion 1 config 5d41402abc4b",
        "12,347 requests: 12,345 2xx, 2 5xx",
        "champion latency p50 ~750 µs p90 ~950 µs p99 ~995 µs",
        "challenger 2",
        "eligible 1,200",
        "sampled out 100",
        "skipped 34 (30 too_large, 4 expired)",
        "sent 1,066",
        "ok 1,040",
        "error 20 (1.88%)",
        "timeout 6 (0.56%)",
        "cancelled 0",
        "pairs stored 1,039",
        "pairs not stored 1 (1 storage)",
        "account balanced",
        "agreement 95.00% (93.47% to 96.19% at 95%), 950 of 1,000",
        "not comparable 7",
        "beside other champions 40 pairs, not counted here",
        "difference p50 0 p90 0.25 p99 1.5 max 12",
        "pairs kept from 2026-03-14T12:00:00.000Z to 2026-03-14T12:01:00.000Z",
        "latency p50 p90 p99",
        "champion 1 900 µs 1.8 ms 25 ms",
        "challenger 2 1.1 ms 2.4 ms 1.25 s",
        "carrier compared agreement interval",
        "UA 990 95.45% 93.97% to 96.59%",
        "[red]AA 10 too few",
        "and 3 more",
        "worst mismatches difference where",
        "id-of-the-worst in kind $.a, $.b, $.c and 2 more",
        "id-of-the-next 12 $.outputs[0].data[3]",
    ],
)
def test_the_page_has_a_line(line: str) -> None:
    assert line in page()


def test_what_is_under_way_is_said_instead_of_balanced() -> None:
    totals = {(OFFERED.name, LABELS): {"eligible": 9}, (SHADOW.name, LABELS): {"sent": 7, "ok": 4, "stored": 1}}
    report = assemble(Facts("flight-delay", "c", "1", ("2",)), totals, {"2": Kept(SUMMARY, [])}, NOW)
    assert "account 5 in flight, 3 pairs to store" in lines_of(report_text(report))


def test_no_pairs_are_said_to_be_none() -> None:
    nothing = replace(
        SUMMARY, compared=0, agree=0, difference=None, champion_us=None, challenger_us=None, slices=(), first_at_us=None
    )
    found = page(nothing)
    assert "agreement no pairs compared with champion 1" in found
    assert not [line for line in found if line.startswith(("difference p50", "latency p50", "pairs kept"))]


def test_a_former_challenger_is_marked() -> None:
    assert "challenger 2 (no longer configured)" in page(facts=())


def test_a_model_without_challengers_says_so() -> None:
    report = assemble(Facts("m", "c", "1", ()), {}, {}, NOW)
    assert lines_of(report_text(report)) == [
        "m champion 1 config c",
        "0 requests",
        "No challenger is configured, and none ever was.",
    ]


def test_many_slices_are_cut_short() -> None:
    slices = tuple(SliceCount("tenant", f"t{number}", 50, 50) for number in range(14))
    found = page(replace(SUMMARY, slices=slices, slices_left_out={"tenant": 6}))
    assert "t9 50 100.00% 92.87% to 100.00%" in found
    assert not [line for line in found if line.startswith("t10 ")]
    assert "and 10 more" in found


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [(0, "0 µs"), (999, "999 µs"), (1000, "1 ms"), (1234, "1.23 ms"), (999_000, "999 ms"), (1_500_000, "1.5 s")],
)
def test_durations_have_the_unit_that_suits_them(microseconds: int, text: str) -> None:
    assert duration_text(microseconds) == text


def test_text_that_is_not_printable_is_escaped() -> None:
    assert plain("größe \x1b[31m\r\n\x00\u202e[bold]") == "größe \\x1b[31m\\r\\n\\x00\\u202e[bold]"


def test_a_pair_is_shown_side_by_side() -> None:
    pair = a_pair(
        7,
        agree=False,
        difference=1.5,
        paths=("$.outputs[0].data[0]",),
        challenger_answer='{"outputs":[{"name":"label","data":["late"],"shape":[1,2]}]}',
    )
    found = printed(pairs_text([pair]))
    assert f"request {pair.request_id}" in found
    assert "model flight-delay  at 2026-03-14T12:00:00.000Z  config 5d41402abc4b" in found
    assert "path /v2/models/flight-delay/infer" in found
    assert "tenant UA  client 192.0.2.7  slices carrier=UA, origin=JFK" in found
    lines = found.splitlines()
    (heading,) = [line for line in lines if "champion 1" in line]
    assert heading.index("champion 1") < heading.index("challenger 2")
    assert [line for line in lines if "200 in 1.5 ms" in line and "200 in 2.5 ms" in line]
    assert [line for line in lines if '"data": ["on time"]' in line and '"data": ["late"]' in line]
    assert '"shape": [1, 2]' in found
    assert "differ, difference 1.5\n  $.outputs[0].data[0]" in found


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "agree, difference 0"),
        ({"difference": None}, "agree"),
        ({"agree": None, "detail": "not JSON"}, "not compared: not JSON"),
        ({"agree": None, "outcome": "timeout", "detail": "2 s"}, "timeout: 2 s"),
        ({"agree": None, "outcome": "cancelled"}, "cancelled"),
        ({"agree": False, "difference": None}, "differ"),
        ({"agree": False, "paths": tuple("ab" * 30)}, "  and 10 more"),
    ],
)
def test_a_pair_ends_with_its_verdict(changes: dict[str, object], verdict: str) -> None:
    assert printed(pairs_text([a_pair(1, **changes)])).rstrip().splitlines()[-1] == verdict


@pytest.mark.parametrize(
    ("body", "form", "text"),
    [
        ("", "none", "(not kept)"),
        ("e3b0c442", "sha256", "sha256 e3b0c442"),
        ("AAEC", "base64", "base64 AAEC"),
        ("not JSON", "text", "not JSON"),
        ("\x1b]0;owned\x07 [bold]", "text", "\\x1b]0;owned\\x07 [bold]"),
        ("[" + "[1]," * 100 + "2]", "text", "(and 43 more lines)"),
        ("x" * 2500, "text", "x (and 500 more characters)"),
    ],
)
def test_a_body_is_shown_as_far_as_it_is_kept(body: str, form: str, text: str) -> None:
    found = printed(pairs_text([a_pair(1, request=body, request_form=form)]))
    assert text in found.replace("\n", "")
    assert "\x1b" not in found


def test_a_time_of_no_calendar_is_shown_as_a_number() -> None:
    assert f"at {2**62} µs" in printed(pairs_text([a_pair(1, at_us=2**62, request_id="r")]))
