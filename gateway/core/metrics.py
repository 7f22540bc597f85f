"""Every metric of the product, as one table. docs/metrics.md and `/metrics` are written from it.

Customers are never a label (their number is unbounded); durations are in seconds, counted in buckets.
"""

from __future__ import annotations

from gateway.core.counters import Family, Kind

DURATION_BOUNDS_S = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
_BUCKETS = (*(f"{bound:g}" for bound in DURATION_BOUNDS_S), "+Inf", "sum_us")

SKIP_REASONS = (
    "too_large",
    "queue_full",
    "queue_bytes",
    "concurrency",
    "breaker_open",
    "champion_failed",
    "client_gone",
    "expired",
    "shadow_lost",
    "shutdown",
)
"""Why an eligible request was not sent to a challenger."""

UNSTORED_REASONS = ("storage", "shadow_lost", "shutdown")
"""Why the pair of an answered challenger call was not stored."""

REQUESTS = Family(
    "tiltyard_requests_total",
    "Inference requests by the version that answered and by what became of them.",
    ("model", "version"),
    "outcome",
    ("2xx", "3xx", "4xx", "5xx", "refused", "upstream_failed", "upstream_timeout", "client_gone"),
)
DURATION = Family(
    "tiltyard_request_duration_seconds",
    "From a request's first byte to the last byte of its answer.",
    ("model", "version"),
    "le",
    _BUCKETS,
    Kind.HISTOGRAM,
)
UPSTREAM_DURATION = Family(
    "tiltyard_upstream_duration_seconds",
    "From sending a request to a backend to the last byte of the backend's answer.",
    ("model", "version"),
    "le",
    _BUCKETS,
    Kind.HISTOGRAM,
)
REFUSALS = Family(
    "tiltyard_refusals_total",
    "Requests that the gateway refused, by problem code (docs/errors.md).",
    ("code",),
    "",
    ("count",),
)
OFFERED = Family(
    "tiltyard_shadow_offered_total",
    "Requests a challenger could have seen: all of them (eligible), and those the worker did not hand over, by reason.",
    ("model", "challenger"),
    "state",
    ("eligible", *SKIP_REASONS),
)
SHADOW = Family(
    "tiltyard_shadow_total",
    "What the shadow process did with the requests it took over from the workers.",
    ("model", "challenger"),
    "state",
    (
        "sampled_out",
        *(f"skipped_{reason}" for reason in SKIP_REASONS),
        "sent",
        "ok",
        "error",
        "timeout",
        "cancelled",
        "stored",
        *(f"unstored_{reason}" for reason in UNSTORED_REASONS),
        "failure_stored",
        "failure_unstored",
    ),
)
TAKEN = Family(
    "tiltyard_shadow_taken_total",
    "Requests the shadow process took over from one worker, per challenger.",
    ("worker", "model", "challenger"),
    "",
    ("count",),
)
JOURNAL = Family(
    "tiltyard_pair_journal_sequence",
    "Number of the last pair record that is in the journal and counted.",
    (),
    "",
    ("sequence",),
)
CHALLENGER_DURATION = Family(
    "tiltyard_challenger_duration_seconds",
    "From sending a shadow request to the last byte of the challenger's answer.",
    ("model", "challenger"),
    "le",
    _BUCKETS,
    Kind.HISTOGRAM,
)
CONNECTIONS = Family(
    "tiltyard_connections",
    "Open connections of a worker: from clients, to backends in use, and to backends idle.",
    (),
    "side",
    ("client", "upstream_used", "upstream_idle"),
    Kind.GAUGE,
)
ACCESS_LOG = Family(
    "tiltyard_access_log_lines_total",
    "Access log lines written, and lines lost because the log could not be written fast enough.",
    (),
    "state",
    ("written", "lost"),
)
RELOADS = Family(
    "tiltyard_config_reloads_total",
    "Configurations applied, and configurations refused because they were not valid.",
    (),
    "outcome",
    ("applied", "refused"),
)
RELOAD_OK = Family(
    "tiltyard_config_last_reload_successful",
    "1 if the file as it now is has been applied, 0 if it was refused and the former configuration goes on.",
    (),
    "",
    ("value",),
    Kind.GAUGE,
)
RESTARTS = Family(
    "tiltyard_process_restarts_total",
    "Processes that ended unasked and were started again, by role.",
    ("role",),
    "",
    ("count",),
)

FAMILIES = (
    REQUESTS,
    DURATION,
    UPSTREAM_DURATION,
    REFUSALS,
    OFFERED,
    SHADOW,
    TAKEN,
    JOURNAL,
    CHALLENGER_DURATION,
    CONNECTIONS,
    ACCESS_LOG,
    RELOADS,
    RELOAD_OK,
    RESTARTS,
)
