"""The accounting identity: every eligible request of a challenger is somewhere, and we say where.

    eligible = sampled_out + Σ skipped + sent
    sent = ok + error + timeout + cancelled
    ok = stored + Σ unstored

hold exactly at rest. While requests run, what is between two of these is `in_flight` (not ended) or `to_store`
(answered, its pair not yet in the journal). Pure: counts in, an account out.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.core.metrics import OFFERED, SHADOW, SKIP_REASONS, UNSTORED_REASONS

Totals = Mapping[tuple[str, tuple[str, ...]], Mapping[str, int]]
"""Counts as `gateway.core.counters.totals` gives them: by family and label values, then by field."""

_NOTHING: Mapping[str, int] = {}


class Accounting(msgspec.Struct, frozen=True, kw_only=True):
    """Where the eligible requests of one challenger are. `failure_stored` and `failure_unstored` are the pair records
    of calls that did not end `ok`; they are outside the identity.
    """

    eligible: int
    sampled_out: int
    skipped: dict[str, int]
    sent: int
    ok: int
    error: int
    timeout: int
    cancelled: int
    stored: int
    unstored: dict[str, int]
    failure_stored: int
    failure_unstored: int
    in_flight: int
    to_store: int
    balanced: bool


def account(totals: Totals, model: str, challenger: str) -> Accounting:
    """The account of one challenger. A request is skipped by the worker or by the shadow process, never by both."""
    offered = totals.get((OFFERED.name, (model, challenger)), _NOTHING)
    shadow = totals.get((SHADOW.name, (model, challenger)), _NOTHING)

    def shadowed(field: str) -> int:
        return shadow.get(field, 0)

    skipped = {reason: offered.get(reason, 0) + shadowed(f"skipped_{reason}") for reason in SKIP_REASONS}
    unstored = {reason: shadowed(f"unstored_{reason}") for reason in UNSTORED_REASONS}
    eligible = offered.get("eligible", 0)
    decided = shadowed("sampled_out") + sum(skipped.values()) + shadowed("sent")
    ended = sum(map(shadowed, ("ok", "error", "timeout", "cancelled")))
    to_store = shadowed("ok") - shadowed("stored") - sum(unstored.values())
    return Accounting(
        eligible=eligible,
        sampled_out=shadowed("sampled_out"),
        skipped=skipped,
        sent=shadowed("sent"),
        ok=shadowed("ok"),
        error=shadowed("error"),
        timeout=shadowed("timeout"),
        cancelled=shadowed("cancelled"),
        stored=shadowed("stored"),
        unstored=unstored,
        failure_stored=shadowed("failure_stored"),
        failure_unstored=shadowed("failure_unstored"),
        in_flight=(eligible - decided) + (shadowed("sent") - ended),
        to_store=to_store,
        balanced=eligible == decided and shadowed("sent") == ended and to_store == 0,
    )


def counted_challengers(totals: Totals, model: str) -> list[str]:
    """The versions that ever had an eligible request as a challenger of this model, in the order of their names."""
    return sorted(
        labels[1]
        for (family, labels), fields in totals.items()
        if family == OFFERED.name and labels[0] == model and fields.get("eligible", 0)
    )
