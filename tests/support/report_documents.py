"""Documents of a report as the admin listener gives them, for tests of those who read them."""

from typing import Any

Json = dict[str, Any]
NOTHING_SKIPPED = {"too_large": 0, "breaker_open": 0}


def challenger(**changes: object) -> Json:
    """One challenger, at rest and with nothing lost but for `changes`."""
    counted = {
        "eligible": 10,
        "sampled_out": 0,
        "skipped": NOTHING_SKIPPED,
        "sent": 10,
        "ok": 10,
        "error": 0,
        "timeout": 0,
        "cancelled": 0,
        "stored": 10,
        "unstored": {"storage": 0},
        "failure_stored": 0,
        "failure_unstored": 0,
        "in_flight": 0,
        "to_store": 0,
        "balanced": True,
    }
    kept = {
        "active": True,
        "error_share": 0.0,
        "timeout_share": 0.0,
        "pairs": 10,
        "pairs_other_champions": 0,
        "pairs_from": None,
        "pairs_to": None,
        "agreement": {"compared": 10, "agree": 9, "share": 0.9, "lower": 0.6, "upper": 0.98},
        "incomparable": 0,
        "difference": None,
        "latency": {"champion": None, "challenger": None},
        "slices": {},
        "slices_left_out": {},
        "worst": [],
    }
    return counted | kept | changes


def report(**challengers: Json) -> Json:
    """The report of a model whose champion `1` has answered ten requests."""
    requests = {"total": 10, "outcomes": {"2xx": 10}}
    return {
        "model": "flight-delay",
        "config_id": "0123456789ab",
        "champion": "1",
        "generated_at": "2013-04-01T00:00:00Z",
        "requests": {**requests, "by_version": {"1": requests}},
        "latency": None,
        "challengers": challengers,
    }
