"""What the schema refuses, in the operator's words: what was expected, found, probably meant.

One error of the validation library becomes one `Complaint` or several, each about one place.
Which line and column that is, the loader finds.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, Union, cast, get_args, get_origin

from pydantic_core import ErrorDetails

from gateway.core.config import Gateway, Section
from gateway.core.config.models import name_problems
from gateway.core.config.section import Place, Problem
from gateway.core.config.values import named, shown

MOST_KEYS_LISTED = 15


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong at a place; `at_key` where it is the key rather than its value."""

    place: Place
    message: str
    at_key: bool


def complaints(error: ErrorDetails) -> Iterator[Complaint]:
    """What one error of the validation library says."""
    place = error["loc"]
    context = error.get("ctx", {})
    match error["type"]:
        case "problems":
            for inner, message in cast("list[Problem]", context["problems"]):
                yield Complaint(place + inner, message, at_key=True)
        case "missing":
            message = f"missing key '{place[-1]}'{_inside(place[:-1])}"
            yield Complaint(place[:-1], message, at_key=True)
        case "extra_forbidden":
            yield Complaint(place, _unknown_key(place), at_key=True)
        case _ if place and place[-1] == "[key]":
            yield Complaint(place[:-1], _words(error), at_key=True)
        case _:
            yield Complaint(place, _words(error), at_key=False)


def broken_names(document: object) -> Iterator[Complaint]:
    """Names that no version of a model has, in models that are not valid for other reasons too."""
    models = document.get("models") if isinstance(document, dict) else None
    for name, model in models.items() if isinstance(models, dict) else ():
        if not isinstance(model, dict) or not isinstance(versions := model.get("versions"), dict):
            continue
        champion, challengers = model.get("champion"), model.get("challengers")
        if not isinstance(champion, str):
            champion = str(champion) if type(champion) is int else None
        named = challengers if isinstance(challengers, dict) else {}
        for inner, message in name_problems(versions, champion, named):
            yield Complaint(("models", name, *inner), message, at_key=True)


def _words(error: ErrorDetails) -> str:
    words = _WORDS.get(error["type"])
    return words(error.get("ctx", {}), error["input"]) if words else error["msg"]


_Words: TypeAlias = Callable[[dict[str, Any], object], str]


def _expected(what: str) -> _Words:
    return lambda context, found: f"expected {what.format(**context)}, got {shown(found)}"


def _text(context: dict[str, Any], found: object) -> str:
    quote = ": put it in quotes" if isinstance(found, int | float) else ""
    return f"expected a text, got {shown(found)}{quote}"


def _choice(context: dict[str, Any], found: object) -> str:
    choices = str(context["expected"]).replace("'", "")
    return f"expected {choices}, got {shown(found)}"


def _at_least(context: dict[str, Any], found: object) -> str:
    return f"expected {context['ge']:.15g} or more, got {shown(found)}"


def _at_most(context: dict[str, Any], found: object) -> str:
    return f"expected {context['le']:.15g} or less, got {shown(found)}"


def _too_few(context: dict[str, Any], found: object) -> str:
    return "expected at least one entry, got none"


_WORDS: dict[str, _Words] = {
    "refused": lambda context, found: str(context["text"]),
    "int_type": _expected("a whole number"),
    "int_from_float": _expected("a whole number"),
    "float_type": _expected("a number"),
    "finite_number": _expected("a finite number"),
    "bool_type": _expected("true or false"),
    "string_type": _text,
    "string_too_short": _expected("a text"),
    "string_too_long": _expected("a text of at most {max_length} characters"),
    "dict_type": _expected("a mapping"),
    "model_type": _expected("a mapping"),
    "tuple_type": _expected("a list"),
    "literal_error": _choice,
    "greater_than_equal": _at_least,
    "less_than_equal": _at_most,
    "too_short": _too_few,
}


def _inside(place: Place) -> str:
    parts = (str(part) for part in place)
    path = ".".join(part if part.isidentifier() else shown(part) for part in parts)
    return f" in {path}" if path else ""


def _unknown_key(place: Place) -> str:
    key, section = str(place[-1]), section_at(place[:-1])
    if key in section.later:
        return f"'{key}' is not available in this version"
    known = [name for name in section.model_fields if name not in section.found]
    unknown = f"unknown key '{named(key)}'{_inside(place[:-1])}"
    nearest = difflib.get_close_matches(named(key), known, n=1)
    if nearest:
        return f"{unknown}; did you mean '{nearest[0]}'?"
    return f"{unknown}; there are: {', '.join(known[:MOST_KEYS_LISTED])}"


def section_at(place: Place) -> type[Section]:
    """The section of the schema that stands at a place."""
    annotation: object = Gateway
    for part in place:
        if isinstance(annotation, type) and issubclass(annotation, Section):
            annotation = _bare(annotation.model_fields[str(part)].annotation)
        else:
            annotation = _bare(get_args(annotation)[-1])
    assert isinstance(annotation, type)
    assert issubclass(annotation, Section)
    return annotation


def _bare(annotation: object) -> object:
    """The annotation without `| None`."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(one for one in get_args(annotation) if one is not type(None))
    return annotation
