"""The OpenAPI document, made from the table of endpoints and the types of their answers: it
cannot say anything else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

import gateway
from gateway.control.admin.api import Endpoint
from gateway.control.admin.problems import CONTENT_TYPE, AdminProblem, ProblemDetails

OPENAPI_VERSION: Final = "3.1.0"
_REFERENCES: Final = "#/components/schemas/{name}"

Json = dict[str, Any]


def document(endpoints: Sequence[Endpoint]) -> Json:
    """The document that describes these endpoints."""
    answers = [endpoint.answer for endpoint in endpoints if not isinstance(endpoint.answer, str)]
    _, schemas = msgspec.json.schema_components(
        [*answers, ProblemDetails], schema_hook=_any_value, ref_template=_REFERENCES
    )
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        operation = _operation(endpoint)
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "Tiltyard admin API",
            "version": gateway.__version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(endpoint: Endpoint) -> Json:
    answers: Json = {"200": {"description": "Done", "content": _content(endpoint.answer)}}
    problems = [AdminProblem.FORBIDDEN, *endpoint.problems]
    for problem in problems:
        answers[str(problem.status)] = {
            "description": f"`{problem.code}`: {problem.title}. {problem.remedy}",
            "content": {CONTENT_TYPE: {"schema": _reference(ProblemDetails)}},
        }
    operation: Json = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "responses": answers,
    }
    parameters = re.findall(r"{(\w+)}", endpoint.path)
    if parameters:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in parameters
        ]
    return operation


def _content(answer: type[msgspec.Struct] | str) -> Json:
    if isinstance(answer, str):
        return {answer: {"schema": {}}}
    return {"application/json": {"schema": _reference(answer)}}


def _reference(answer: type[msgspec.Struct]) -> Json:
    return {"$ref": _REFERENCES.format(name=answer.__name__)}


def _any_value(kind: type) -> Json:
    """What has no narrower type than "some JSON"."""
    return {"description": "any JSON value"}
