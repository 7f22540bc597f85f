"""`tiltyard stats METHOD`: one object in, one out; batches; errors in their place; exit status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gateway.cli import stats
from gateway.cli.stats import METHODS, answer

WILSON = {"k": 9, "n": 10, "confidence": 0.95}
ROOT = Path(__file__).resolve().parents[3]


def ask(method: str, arguments: object) -> tuple[dict, int]:
    text, status = answer(method, json.dumps(arguments))
    return json.loads(text), status


def test_a_batch_is_answered_in_order_with_errors_in_their_place() -> None:
    got, status = ask("wilson", {"batch": [WILSON, {"k": 1}, [], {**WILSON, "k": 0}]})
    assert status == 0
    assert [set(one) for one in got["batch"]] == [
        {"lower", "upper"}, {"error"}, {"error"}, {"lower", "upper"},
    ]  # fmt: skip
    assert got["batch"][3]["lower"] == 0
    assert ask("wilson", {"batch": []}) == ({"batch": []}, 0)


@pytest.mark.parametrize(
    ("method", "arguments", "said"),
    [
        ("no-such", {}, "wilson"),
        ("wilson", {}, "`k`"),
        ("wilson", [WILSON], "object"),
        ("wilson", {**WILSON, "z": 1}, "`z`"),
        ("wilson", {**WILSON, "k": -1}, "$.k"),
        ("wilson", {**WILSON, "k": 11}, "k must not"),
        ("wilson", {**WILSON, "k": True}, "bool"),
        ("wilson", {**WILSON, "k": 0.5}, "float"),
        ("wilson", {**WILSON, "n": 10**40}, "$.n"),
        ("wilson", {**WILSON, "confidence": 0}, "$.confidence"),
        ("wilson", {**WILSON, "confidence": 1}, "$.confidence"),
        ("wilson", {**WILSON, "confidence": "0.95"}, "$.confidence"),
        ("wilson", {"batch": WILSON}, "batch"),
        ("wilson", {"batch": [], "k": 1}, "batch"),
        ("compare", {"champion": 1, "challenger": 1}, "`compare`"),
        ("compare", {"champion": 1, "compare": {}}, "`challenger`"),
        ("compare", {"champion": 1, "challenger": 1, "compare": {"kind": "label"}}, "compare.output"),
        ("compare", {"champion": 1, "challenger": 1, "compare": {"kind": "rank"}}, "kind"),
        ("compare", {"champion": 1, "challenger": 1, "compare": {"ignore": ["id"]}}, "$.a"),
        ("compare", {"champion": 1, "challenger": 1, "compare": {"tolerance": {"absolute": -1}}}, "absolute"),
        ("compare", {"champion": 1, "challenger": 1, "compare": {"tolerance": {"percent": 1}}}, "percent"),
        (
            "compare",
            {"champion": 1, "challenger": 1, "compare": {"kind": "label", "output": "x", "order": "any"}},
            "compare.order",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_an_error_that_names_what_is_wrong(method: str, arguments: object, said: str) -> None:
    got, status = ask(method, arguments)
    assert status == 2
    assert list(got) == ["error"]
    assert said in got["error"]


@pytest.mark.parametrize("text", ["", "{", "NaN", '{"k": 1e999}', b"\xff", '"\\ud800"', "[" * 100_000])
def test_what_is_not_json_is_an_error(text: str | bytes) -> None:
    got, status = answer("wilson", text)
    assert status == 2
    assert "not JSON" in json.loads(got)["error"]


def test_input_beyond_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "MAX_INPUT_BYTES", 10)
    got, status = answer("wilson", " " * 11)
    assert (status, "more than 10 bytes" in got) == (2, True)


@given(st.sampled_from([*METHODS, "other"]), st.text() | st.binary())
def test_no_text_raises(method: str, text: str | bytes) -> None:
    got, status = answer(method, text)
    assert status == (2 if "error" in json.loads(got) else 0)


def test_comparison_lists_every_path_and_counts_whole() -> None:
    many = 500
    got, status = ask(
        "compare",
        {
            "champion": {"x": [0] * many},
            "challenger": {"x": [1] * many},
            "compare": {"output": "x", "kind": "label"},
        },
    )
    assert status == 0
    assert (got["agree"], got["difference"], len(got["paths"])) == (False, many, many)
    assert isinstance(got["difference"], int)


def test_comparison_can_disregard_order() -> None:
    arguments = {"champion": [1, 2], "challenger": [2, 1], "compare": {"kind": "json"}}
    assert ask("compare", arguments)[0]["paths"] == ["$[0]", "$[1]"]
    arguments["compare"]["order"] = "any"
    assert ask("compare", arguments)[0] == {"agree": True, "difference": 0, "paths": []}


def test_command_reads_standard_input_and_exits_with_the_status() -> None:
    app = typer.Typer()
    app.command()(stats.stats)
    run = CliRunner().invoke

    machine = run(app, ["wilson", "--json"], input=json.dumps(WILSON))
    reader = run(app, ["wilson"], input=json.dumps(WILSON))
    wrong = run(app, ["wilson", "--json"], input="[]")

    assert machine.exit_code == reader.exit_code == 0
    assert machine.output.count("\n") == 1
    assert json.loads(machine.output) == json.loads(reader.output)
    assert wrong.exit_code == 2
    assert list(json.loads(wrong.output)) == ["error"]


def test_command_needs_neither_numpy_nor_a_gateway() -> None:
    code = "import sys, gateway.cli.stats; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
