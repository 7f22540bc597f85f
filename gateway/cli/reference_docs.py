"""Writes docs/errors.md, docs/metrics.md and docs/cli.md from the tables that the gateway itself uses.

`python -m gateway.cli.reference_docs errors > docs/errors.md`, and likewise `metrics` and `cli`. A test keeps the
pages equal to what this prints, so no code, metric, command or option can be undocumented. What the tables cannot say
stands here: when a reader needs the page, and an example of each command.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
import typer
from typer.core import TyperCommand, TyperGroup

from gateway.cli.main import COMMANDS, make_app
from gateway.control.admin.problems import AdminProblem
from gateway.control.exposition import COUNTER_SUFFIX, OBSERVED_FAMILIES
from gateway.core.counters import Family, Kind
from gateway.core.metrics import DURATION_BOUNDS_S, FAMILIES
from gateway.core.problems import Problem, Refusal

_NOTE: Final = "<!-- Written by `python -m gateway.cli.reference_docs {page}`; change {source}. -->"

_EXAMPLE: Final = msgspec.json.format(
    Refusal(Problem.MODEL_NOT_FOUND, "no such model or version").body("01a20787-aeeb-779f-b75a-34151bf4a588")
).decode()

ERRORS: Final = f"""\
# Errors

{_NOTE.format(page="errors", source="gateway/core/problems.py or gateway/control/admin/problems.py")}

A refusal of the gateway's own is `application/problem+json` (RFC 9457). Programs read `code`, which never changes its
meaning or its status; people read `title` and `detail`:

```json
{_EXAMPLE}
```

`error` repeats the detail where clients of the Open Inference Protocol look for it. `instance` is the request id, which
is also in the field `x-request-id` and in the access log's line with the `code`. `tiltyard_refusals_total{{code="…"}}`
counts refusals ([metrics](metrics.md)).

**A backend's own error is never changed**: its status and body are passed on, with `x-model-version` naming the
version that said it. So an answer with `x-model-version` is a backend's, one without is the gateway's.

An answer that has begun cannot be taken back. When the backend breaks off in the middle of one, the client's connection
is cut without a clean end, so that half an answer never looks like a whole one.

## Inference listener

"""

ADMIN_ERRORS: Final = """
## Admin listener

The same form, without `instance` and `error`; `errors` lists what is wrong with a configuration.

"""

COMMAND_ERRORS: Final = """
## Commands

With `--json` a command that is refused or fails prints one object with `code`; the exit status is 1. Codes of the admin
listener come through as they are. Beside them:

"""

COMMAND_CODES: Final = {
    "invalid-configuration": "The file is not valid; `errors` or `detail` has every mistake with its line and column.",
    "model-not-found": "The configuration has no such model.",
    "no-state": "No gateway has run with this configuration, so there is nothing to read.",
    "not-reached": "No gateway answers at the address, or none runs on the state directory of the configuration.",
    "pair-not-found": "No pair of this request is kept: it was not sampled, or was deleted by age, or never was.",
    "unavailable": "The pairs cannot be read now; `detail` says which file and why.",
}

MODEL_ERRORS: Final = """
## Built-in model server

What `onnx:` versions refuse is in the Open Inference Protocol's own form, `{"error": "…"}`, and passes the gateway like
any backend's error:

| status | when |
|---|---|
| 400 | the body is no inference request, does not fit the model (names, datatypes, shapes), or makes it fail |
| 404, 405 | nothing at this path; the method does not fit it |
| 413 | the body is too large, also after decompression |
| 415 | a content coding other than gzip and deflate |
| 500 | the model itself is at fault; other requests that shared its run are answered |
| 503 | 1,024 requests, or 256 MiB of them, wait for this model; or memory has run out |
"""

METRICS: Final = f"""\
# Metrics

{_NOTE.format(page="metrics", source="gateway/core/metrics.py or gateway/control/exposition.py")}

`GET /metrics` on the admin listener, in the Prometheus text format. Counts are summed over processes. They live in
files under `state/counters/`, so they go on after a restart, an upgrade and a `kill -9`: a counter that falls to zero
means another state directory. Gauges are of the processes that live now. Tenants and clients are never labels.

Durations are in seconds, counted in buckets up to {", ".join(f"{bound:g}" for bound in DURATION_BOUNDS_S)} and `+Inf`.

## Questions to ask

```promql
# share of requests that failed at the backend
sum(rate(tiltyard_requests_total{{outcome=~"5xx|upstream_failed|upstream_timeout"}}[5m]))
  / sum(rate(tiltyard_requests_total[5m]))

# p99 of one model, by version
histogram_quantile(0.99,
  sum by (le, version) (rate(tiltyard_request_duration_seconds_bucket{{model="flight-delay"}}[5m])))

# what was not handed over to the shadow process, by reason
sum by (state) (rate(tiltyard_shadow_offered_total{{state!="eligible"}}[5m]))

# alerts: pairs lost to the disk; an edit that was refused and still stands; a process that keeps dying
rate(tiltyard_shadow_total{{state="unstored_storage"}}[5m]) > 0
tiltyard_config_last_reload_successful == 0
increase(tiltyard_process_restarts_total[15m]) > 3
```

How the shadow counts add up is in [shadowing](shadowing.md#the-accounting-identity).

## All of them

"""

CLI: Final = f"""\
# Command line

{_NOTE.format(page="cli", source="the command's module in gateway/cli")}

Commands that need the running gateway find it by `--config FILE` (the file it was started with, also while that file
has a mistake in it) or by `--admin URL`. `--json` prints one JSON object for scripts. Exit status: 0 done, 1 refused or
failed (with `--json`, a `code` of [these](errors.md#commands)), 2 wrong use. `tiltyard --install-completion` teaches
your shell the commands.
"""

EXAMPLES: Final = {
    "run": "tiltyard run --config gateway.yaml",
    "demo": "tiltyard demo --port 9080 --admin-port 9081",
    "check": "tiltyard check gateway.yaml",
    "diff": "tiltyard diff edited.yaml --config gateway.yaml",
    "reload": "tiltyard reload --config gateway.yaml",
    "health": "tiltyard health --config gateway.yaml --timeout 1",
    "report": "tiltyard report flight-delay --config gateway.yaml",
    "pairs show": "tiltyard pairs show 019df0c2-51f0-7d3a-8bb0-a0ac1f2b4b10 --config gateway.yaml",
    "stats": 'echo \'{"k": 952, "n": 1000, "confidence": 0.95}\' | tiltyard stats wilson --json',
    "schema": "tiltyard schema > gateway.schema.json",
}


def errors_page() -> str:
    """The text of docs/errors.md."""
    commands = ((f"`{code}`", text) for code, text in sorted(COMMAND_CODES.items()))
    parts = (
        ERRORS,
        _problems(Problem),
        ADMIN_ERRORS,
        _problems(AdminProblem),
        COMMAND_ERRORS,
        table(("code", "what it says"), commands),
        MODEL_ERRORS,
    )
    return "".join(parts)


def metrics_page() -> str:
    """The text of docs/metrics.md."""
    lines = [line for family in (*FAMILIES, *OBSERVED_FAMILIES) for line in _metric(family)]
    return METRICS + "\n".join(lines).rstrip() + "\n"


def cli_page() -> str:
    """The text of docs/cli.md."""
    lines = [CLI]
    found = dict(commands_of(typer.main.get_command(make_app(None))))
    for name in sorted(found, key=lambda name: list(COMMANDS).index(name.split()[0])):
        lines += _command(name, found[name])
    return "\n".join(lines).rstrip() + "\n"


PAGES: Final[dict[str, Callable[[], str]]] = {"errors": errors_page, "metrics": metrics_page, "cli": cli_page}


def commands_of(group: object, above: str = "") -> Iterator[tuple[str, TyperCommand]]:
    """Every command that can be typed, by its words, groups within groups."""
    assert isinstance(group, TyperGroup), "the command line is a group of commands"
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands_of(command, f"{above}{name} ")
        else:
            assert isinstance(command, TyperCommand), f"{name} is a command"
            yield f"{above}{name}", command


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(cells)} |\n" for cells in (head, *rows)]
    lines.insert(1, "|" + "---|" * len(head) + "\n")
    return "".join(lines)


def _problems(problems: Iterable[Problem | AdminProblem]) -> str:
    rows = ((f"`{one.code}`", str(one.status), one.title, one.remedy) for one in problems)
    return table(("code", "status", "title", "what to do"), rows)


def _metric(family: Family) -> Iterator[str]:
    yield f"### `{family.name}`"
    yield ""
    yield f"{_kind(family)}. {family.help}"
    labels = [f"`{label}`" for label in family.labels]
    if family.kind is Kind.HISTOGRAM:
        labels.append("`le`")
    elif family.field_label:
        labels.append(f"`{family.field_label}`: {', '.join(f'`{field}`' for field in family.fields)}")
    if labels:
        yield ""
        yield f"Labels: {'; '.join(labels)}."
    yield ""


def _kind(family: Family) -> str:
    if family.kind is Kind.HISTOGRAM:
        return "Histogram"
    return "Counter" if family.name.endswith(COUNTER_SUFFIX) else "Gauge"


def _command(name: str, command: TyperCommand) -> Iterator[str]:
    yield f"## `tiltyard {name}`"
    yield ""
    yield command.help or ""
    yield ""
    yield f"```sh\n{EXAMPLES[name]}\n```"
    yield ""
    context = typer.Context(command)
    records = [record for one in command.params if (record := one.get_help_record(context))]
    if records:
        yield table(("what", "meaning"), ((f"`{what}`", meaning) for what, meaning in records))


if __name__ == "__main__":
    print(PAGES[sys.argv[1]](), end="")
