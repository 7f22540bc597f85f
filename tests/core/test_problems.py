"""Every refusal has a code of its own, and says what went wrong in the form of RFC 9457."""

import json
import re

import pytest

from gateway.core.problems import Problem, Refusal

REQUEST_ID = "01938f2e-7b1c-7a4e-9d0c-5a1f0e6b2c3d"

# Clients and alerts are written against these: a change here is a change of the contract.
RELEASED = {
    "bad-request": 400,
    "shadow-not-allowed": 400,
    "not-found": 404,
    "model-not-found": 404,
    "forbidden": 403,
    "method-not-allowed": 405,
    "request-timeout": 408,
    "body-too-large": 413,
    "uri-too-long": 414,
    "expectation-failed": 417,
    "header-too-large": 431,
    "internal": 500,
    "not-implemented": 501,
    "upstream-invalid": 502,
    "upstream-unreachable": 502,
    "overloaded": 503,
    "upstream-timeout": 504,
    "http-version": 505,
}


def test_no_released_code_changes_its_status() -> None:
    codes = {problem.code: problem.status for problem in Problem}
    assert {code: codes.get(code) for code in RELEASED} == RELEASED


def test_every_code_is_its_own() -> None:
    codes = [problem.code for problem in Problem]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("problem", Problem)
def test_every_problem_says_what_it_is_and_what_to_do(problem: Problem) -> None:
    assert 400 <= problem.status <= 599
    assert problem.title
    assert not problem.title.endswith(".")
    assert problem.remedy.endswith(".")


def test_a_refusal_is_a_problem_details_document() -> None:
    refusal = Refusal(Problem.BODY_TOO_LARGE, 'the body has 9 bytes; "8" are taken')
    assert json.loads(refusal.body(REQUEST_ID)) == {
        "type": "urn:tiltyard:problem:body-too-large",
        "title": "The body is larger than allowed",
        "status": 413,
        "detail": 'the body has 9 bytes; "8" are taken',
        "code": "body-too-large",
        "instance": f"urn:uuid:{REQUEST_ID}",
        # Where clients of the Open Inference Protocol look for it.
        "error": 'the body has 9 bytes; "8" are taken',
    }


def test_a_refusal_may_carry_fields() -> None:
    assert Refusal(Problem.NOT_FOUND, "").fields == ()
    assert Refusal(Problem.OVERLOADED, "", ((b"retry-after", b"1"),)).fields == ((b"retry-after", b"1"),)
