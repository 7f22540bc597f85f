"""Refusals of the admin listener, as RFC 9457 problem details like those of the inference
listener.
"""

from __future__ import annotations

from enum import Enum

import msgspec
from starlette.responses import Response

CONTENT_TYPE = "application/problem+json"


class AdminProblem(Enum):
    """Every code with its HTTP status, its title and what the operator can do about it."""

    FORBIDDEN = (
        "forbidden",
        403,
        "Not open to this client",
        "Call the admin listener from the gateway's own machine, by address.",
    )
    NOT_FOUND = ("not-found", 404, "Nothing is served at this path", "See /api/openapi.json.")
    MODEL_NOT_FOUND = ("model-not-found", 404, "No such model", "See /api/models.")
    PAIR_NOT_FOUND = (
        "pair-not-found",
        404,
        "No pair of this request",
        "Check the id; not every request is sampled, and pairs are deleted by age.",
    )
    METHOD_NOT_ALLOWED = (
        "method-not-allowed",
        405,
        "The method does not fit this path",
        "See the Allow field.",
    )
    CONFIG_REFUSED = (
        "config-refused",
        422,
        "The configuration was refused; the former one goes on",
        "Mend what `errors` names.",
    )
    INTERNAL = ("internal", 500, "The gateway failed", "See the log of the control process.")
    UNAVAILABLE = (
        "unavailable",
        503,
        "What is asked for cannot be had now",
        "Retry; the detail says what failed.",
    )

    def __init__(self, code: str, status: int, title: str, remedy: str):
        self.code = code
        self.status = status
        self.title = title
        self.remedy = remedy


class Refused(Exception):
    """Ends the handling of a request with a problem."""

    def __init__(self, problem: AdminProblem, detail: str, errors: tuple[str, ...] = ()):
        super().__init__(detail)
        self.problem = problem
        self.detail = detail
        self.errors = errors


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every refusal."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: tuple[str, ...] = ()


def response(refused: Refused, headers: dict[str, str] | None = None) -> Response:
    """The answer that says it."""
    problem = refused.problem
    details = ProblemDetails(
        type=f"urn:tiltyard:problem:{problem.code}",
        title=problem.title,
        status=problem.status,
        detail=refused.detail,
        code=problem.code,
        errors=refused.errors,
    )
    content = msgspec.json.encode(details)
    return Response(content, problem.status, headers, media_type=CONTENT_TYPE)
