"""Every method that exists, against the reference numbers kept beside the repository.

The numbers are not part of the repository: `TILTYARD_SHARED` names their folder, or else it is
`shared` beside the repository.
"""

import json
import os
from pathlib import Path

import pytest

from gateway.cli.stats import METHODS, answer

ROOT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("TILTYARD_SHARED") or ROOT.parent / "shared")
REFERENCE = SHARED / "reference" / "statistics.json"
TOLERANCE = 1e-9


def reference_cases() -> list[object]:
    if not REFERENCE.exists():
        reason = f"the reference numbers are not here ({REFERENCE}); TILTYARD_SHARED names a folder"
        return [pytest.param("", {}, id="absent", marks=pytest.mark.skip(reason=reason))]
    cases = json.loads(REFERENCE.read_text())
    return [pytest.param(method, case, id=f"{method}-{case['name']}") for method in METHODS for case in cases[method]]


def agrees(got: object, want: object, tolerance: float) -> bool:
    if isinstance(want, float):
        return isinstance(got, int | float) and abs(got - want) <= tolerance * abs(want) + 1e-12
    if isinstance(want, list):
        return (
            isinstance(got, list)
            and len(got) == len(want)
            and all(agrees(one, other, tolerance) for one, other in zip(got, want, strict=True))
        )
    return type(got) is type(want) and got == want


@pytest.mark.parametrize(("method", "case"), reference_cases())
def test_method_gives_the_reference_numbers(method: str, case: dict) -> None:
    text, status = answer(method, json.dumps(case["args"]))
    got = json.loads(text)
    tolerance = case.get("tolerance", TOLERANCE)
    wrong = {key: got.get(key) for key, want in case["want"].items() if not agrees(got.get(key), want, tolerance)}
    assert status == 0
    assert wrong == {}
