"""Parts of the shadow process put together without processes: configurations, offers, and the books they end up in."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.core import counters
from gateway.core.counters import Counters
from gateway.core.metrics import OFFERED, SHADOW, SKIP_REASONS, TAKEN, UNSTORED_REASONS
from gateway.core.offer import Offer
from gateway.core.offer import Route as RouteMessage
from gateway.core.snapshot import Snapshot
from gateway.evidence.accounting import Accounting, account
from tests.support import configurations
from tests.support.gateway_process import Json, config

CELLS = 4096
NOWHERE = "http://127.0.0.1:9"


def shadowed(
    *challengers: str, urls: Mapping[str, str] | None = None, shadow: Mapping[str, object] | None = None, **model: Any
) -> Json:
    """Settings of one plain JSON model `m` with champion `champion`; `model` are keys of it, `settings` of each
    challenger.
    """
    each = model.pop("settings", {})
    urls = urls or {}
    versions = {name: {"urls": [urls.get(name, NOWHERE)]} for name in ("champion", *challengers)}
    one = {
        "protocol": "json",
        "versions": versions,
        "champion": "champion",
        "challengers": {name: {"timeout": "2s", **each} for name in challengers},
        **model,
    }
    return config({"m": one}, state="/state", shadow=dict(shadow or {}))


def snapshot_of(*challengers: str, **keys: Any) -> Snapshot:
    """The same, compiled."""
    return configurations.snapshot(shadowed(*challengers, **keys))


def an_offer(**changes: Any) -> Offer:
    """An offer like any other, made now, but for what is named."""
    usual: dict[str, Any] = {
        "route": 1,
        "request_id": "0192f3a0-0000-7000-8000-000000000001",
        "started_us": int(time.time() * 1e6),
        "offered_us": int(time.monotonic() * 1e6),
        "champion_us": 1500,
        "tenant": "",
        "client": "192.0.2.7",
        "method": "POST",
        "path": "/score",
        "fields": b"content-type: application/json\r\n",
        "body": b'{"x":1}',
        "status": 200,
        "content_type": "application/json",
        "content_encoding": "",
        "head_length": "",
        "answer": b'{"y":1}',
    }
    return Offer(**{**usual, **changes})


def a_route(snapshot: Snapshot, number: int = 1, model: str = "m") -> RouteMessage:
    """The route of a model under a snapshot, as a worker names it."""
    known = snapshot.models[model]
    challengers = tuple(challenger.version.name for challenger in known.challengers)
    return RouteMessage(number, snapshot.id, model, known.champion.name, challengers)


def books(directory: Path, name: str = "shadow") -> Counters:
    """The cells of one process."""
    return Counters(directory, name, CELLS)


def counted(directory: Path, challenger: str = "2", model: str = "m") -> dict[str, int]:
    """What the shadow process has counted of a challenger, without the zeros."""
    found = counters.totals(directory).get((SHADOW.name, (model, challenger)), {})
    return {field: value for field, value in found.items() if value}


def taken(directory: Path, challenger: str = "2", model: str = "m") -> int:
    """What it took over from all workers."""
    totals = counters.totals(directory)
    return sum(
        fields["count"]
        for (family, labels), fields in totals.items()
        if family == TAKEN.name and labels[1:] == (model, challenger)
    )


def accounting(directory: Path, challenger: str = "2", model: str = "m") -> Accounting:
    """The account of a challenger over all processes, as reports give it."""
    return account(counters.totals(directory), model, challenger)


def imbalance(directory: Path, challenger: str = "2", model: str = "m") -> dict[str, int]:
    """What is taken and not decided, sent and not ended, answered and not stored: all zero at rest, never negative."""
    found = counters.totals(directory).get((SHADOW.name, (model, challenger)), {})

    def total(*fields: str) -> int:
        return sum(found.get(field, 0) for field in fields)

    decided = total("sampled_out", "sent", *(f"skipped_{reason}" for reason in SKIP_REASONS))
    ended = total("ok", "error", "timeout", "cancelled")
    stored = total("stored", *(f"unstored_{reason}" for reason in UNSTORED_REASONS))
    return {
        "undecided": taken(directory, challenger, model) - decided,
        "in_flight": total("sent") - ended,
        "to_store": total("ok") - stored,
    }


AT_REST = {"undecided": 0, "in_flight": 0, "to_store": 0}


def offered(directory: Path, challenger: str = "2", model: str = "m") -> dict[str, int]:
    """What the workers have counted of a challenger, without the zeros."""
    found = counters.totals(directory).get((OFFERED.name, (model, challenger)), {})
    return {field: value for field, value in found.items() if value}
