"""`tiltyard stats METHOD`: every statistic of the gateway, on numbers from standard input.

One JSON object in, one out; needs no configuration, no state and no running gateway. `{"batch": [...]}`
answers each of its calls in order. Bad input is `{"error": ...}` in its place: exit status 2 if the
single call failed, 0 for a batch. A method is one row in `METHODS`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

import msgspec
import typer
from msgspec import Meta, Struct

from gateway.evidence.compare import InvalidRule, Rule, compile_rule
from gateway.evidence.stats.wilson import wilson

MAX_INPUT_BYTES: Final = 64 * 1024 * 1024
DONE: Final = 0
WRONG_USE: Final = 2
_EXACT_IN_A_DOUBLE: Final = 2**53

Answer: TypeAlias = dict[str, object]
Method: TypeAlias = Callable[[object], Answer]
Arguments = TypeVar("Arguments", bound=Struct)
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Probability: TypeAlias = Annotated[float, Meta(gt=0, lt=1)]
NotNegative: TypeAlias = Annotated[float, Meta(ge=0)]


class _BadInput(Exception):
    """What is wrong with the arguments, for whoever wrote them."""


class _WilsonArguments(Struct, forbid_unknown_fields=True):
    k: Count
    n: Count
    confidence: Probability


class _Tolerance(Struct, forbid_unknown_fields=True):
    absolute: NotNegative = 0.0
    relative: NotNegative = 0.0


class _Compare(Struct, forbid_unknown_fields=True):
    """The keys of `compare:` in the routing file."""

    kind: Literal["label", "number", "json"] = "json"
    output: str | None = None
    tolerance: _Tolerance = msgspec.field(default_factory=_Tolerance)
    ignore: list[str] = msgspec.field(default_factory=list)
    order: Literal["strict", "any"] = "strict"


class _CompareArguments(Struct, forbid_unknown_fields=True):
    champion: Any  # any JSON value: what a backend answered
    challenger: Any
    compare: _Compare


def _wilson(arguments: _WilsonArguments) -> Answer:
    if arguments.k > arguments.n:
        raise _BadInput("k must not be larger than n")
    lower, upper = wilson(arguments.k, arguments.n, arguments.confidence)
    return {"lower": lower, "upper": upper}


def _compare(arguments: _CompareArguments) -> Answer:
    written = arguments.compare
    try:
        rule = Rule(
            kind=written.kind,
            output=written.output,
            absolute=written.tolerance.absolute,
            relative=written.tolerance.relative,
            ignore=tuple(written.ignore),
            ordered=written.order == "strict",
        )
    except InvalidRule as error:
        raise _BadInput(f"compare.{error}") from error
    outcome = compile_rule(rule, max_paths=None).compare(arguments.champion, arguments.challenger)
    return {
        "agree": outcome.agree,
        "difference": _whole_if_it_is(outcome.difference),
        "paths": list(outcome.paths),
    }


def _method(taking: type[Arguments], answering: Callable[[Arguments], Answer]) -> Method:
    return lambda given: answering(msgspec.convert(given, taking))


METHODS: Final[dict[str, Method]] = {
    "wilson": _method(_WilsonArguments, _wilson),
    "compare": _method(_CompareArguments, _compare),
}


def answer(method: str, text: str | bytes) -> tuple[str, int]:
    """What the command prints for this input, and its exit status."""
    call = METHODS.get(method)
    if call is None:
        return _failed(f"unknown method {method!r}; there are: {', '.join(sorted(METHODS))}")
    if len(text) > MAX_INPUT_BYTES:
        return _failed(f"more than {MAX_INPUT_BYTES} bytes of input")
    try:
        given = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        return _failed(f"standard input is not JSON: {error}")
    if not (isinstance(given, dict) and "batch" in given):
        result = _one(call, given)
        return _text(result), WRONG_USE if "error" in result else DONE
    if len(given) > 1 or not isinstance(given["batch"], list):
        return _failed("`batch` must be a list, and no other key may stand beside it")
    return _text({"batch": [_one(call, arguments) for arguments in given["batch"]]}), DONE


def stats(
    method: Annotated[str, typer.Argument(help=f"One of: {', '.join(sorted(METHODS))}.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON instead of indented JSON.")] = False,
) -> None:
    """Compute a statistic of the arguments on standard input (one JSON object)."""
    text, status = answer(method, sys.stdin.buffer.read(MAX_INPUT_BYTES + 1))
    sys.stdout.write((text if as_json else msgspec.json.format(text, indent=2)) + "\n")
    raise typer.Exit(status)


def _one(call: Method, given: object) -> Answer:
    try:
        return call(given)
    except (msgspec.ValidationError, _BadInput) as error:
        return {"error": str(error)}


def _failed(reason: str) -> tuple[str, int]:
    return _text({"error": reason}), WRONG_USE


def _text(result: Answer) -> str:
    return msgspec.json.encode(result).decode()


def _whole_if_it_is(number: float | None) -> float | int | None:
    """A whole number without its `.0`: a count of labels is 2."""
    if number is not None and number.is_integer() and abs(number) <= _EXACT_IN_A_DOUBLE:
        return int(number)
    return number
