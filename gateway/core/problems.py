"""Refusals of ours: one stable code each, sent as RFC 9457 problem details.

A code never changes its meaning or status once released; clients and alerts are written against it. What a backend
says about its own errors is never dressed up as one of these. docs/errors.md is written from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import msgspec


class Problem(Enum):
    """Every code with its HTTP status, its title and what the operator or client can do about it."""

    BAD_REQUEST = ("bad-request", 400, "The request is not valid HTTP", "Send one valid HTTP/1.1 message.")
    SHADOW_NOT_ALLOWED = (
        "shadow-not-allowed",
        400,
        "x-shadow is set by the gateway only",
        "Remove the x-shadow field; a shadow of a shadow is refused.",
    )
    NOT_FOUND = ("not-found", 404, "Nothing is served at this path", "See GET /v2 for what is served.")
    MODEL_NOT_FOUND = ("model-not-found", 404, "No such model or version", "Check the model and version names.")
    FORBIDDEN = ("forbidden", 403, "Not open to clients", "Ask the operator of the gateway.")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "The method does not fit this path", "See the Allow field.")
    REQUEST_TIMEOUT = ("request-timeout", 408, "The request arrived too slowly", "Send the request faster.")
    BODY_TOO_LARGE = ("body-too-large", 413, "The body is larger than allowed", "Send a smaller body.")
    URI_TOO_LONG = ("uri-too-long", 414, "The request line is longer than allowed", "Shorten the path or query.")
    EXPECTATION_FAILED = ("expectation-failed", 417, "Only 100-continue can be expected", "Remove the Expect field.")
    HEADER_TOO_LARGE = ("header-too-large", 431, "The header is larger than allowed", "Send fewer or smaller fields.")
    INTERNAL = ("internal", 500, "The gateway failed", "Report the request id to the operator.")
    NOT_IMPLEMENTED = ("not-implemented", 501, "The transfer coding is not supported", "Use chunked or a length.")
    UPSTREAM_INVALID = ("upstream-invalid", 502, "The backend's answer was not valid", "Retry later.")
    UPSTREAM_UNREACHABLE = ("upstream-unreachable", 502, "The backend could not be reached", "Retry later.")
    OVERLOADED = ("overloaded", 503, "The gateway is at its limit", "Retry after the time named.")
    UPSTREAM_TIMEOUT = ("upstream-timeout", 504, "The backend did not answer in time", "Retry later.")
    HTTP_VERSION = ("http-version", 505, "Only HTTP/1.0 and HTTP/1.1 are served", "Use HTTP/1.1.")

    def __init__(self, code: str, status: int, title: str, remedy: str):
        self.code = code
        self.status = status
        self.title = title
        self.remedy = remedy


CONTENT_TYPE = b"application/problem+json"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refusal: which problem, a detail for the reader, and fields to add to the answer."""

    problem: Problem
    detail: str
    fields: tuple[tuple[bytes, bytes], ...] = ()

    def body(self, request_id: str) -> bytes:
        """The problem details document of RFC 9457 section 3, with our `code` and the request's id.

        `error` repeats the detail where clients of the Open Inference Protocol look for it.
        """
        problem = self.problem
        return msgspec.json.encode(
            {
                "type": f"urn:tiltyard:problem:{problem.code}",
                "title": problem.title,
                "status": problem.status,
                "detail": self.detail,
                "code": problem.code,
                "instance": f"urn:uuid:{request_id}",
                "error": self.detail,
            }
        )
