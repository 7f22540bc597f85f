"""What the gateway itself counts: the accounting of one challenger, read from the admin listener.

Read only while the gateway rests and outside every metered turn, since answering costs CPU as
well.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, fields
from typing import Any

from loadtests.bench.processes import BenchError
from loadtests.bench.subjects import Subject

TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Accounting:
    """The identity of one challenger: eligible = sampled_out + skipped + sent, and stored pairs."""

    eligible: int
    sampled_out: int
    skipped: int
    sent: int
    ok: int
    error: int
    timeout: int
    cancelled: int
    stored: int
    unstored: int

    def since(self, earlier: Accounting) -> Accounting:
        """What was counted after `earlier`."""
        names = [entry.name for entry in fields(Accounting)]
        return Accounting(*(getattr(self, name) - getattr(earlier, name) for name in names))

    def adds_up(self) -> bool:
        """Whether the identity holds exactly, as it does at rest."""
        return (
            self.eligible == self.sampled_out + self.skipped + self.sent
            and self.sent == self.ok + self.error + self.timeout + self.cancelled
            and self.ok == self.stored + self.unstored
        )


def accounting(subject: Subject, version: str, model: str = "bench") -> Accounting:
    """One challenger's counts now."""
    connection = http.client.HTTPConnection("127.0.0.1", subject.admin, timeout=TIMEOUT_S)
    try:
        connection.request("GET", f"/api/models/{model}/report")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as problem:
        raise BenchError(f"{subject.name}: no report: {problem}") from problem
    finally:
        connection.close()
    if answer.status != 200:
        raise BenchError(f"{subject.name}: report answered {answer.status}: {body[:200]!r}")
    challengers = json.loads(body).get("challengers", {})
    if version not in challengers:
        raise BenchError(f"{subject.name}: the report does not speak of challenger {version}: {body[:200]!r}")
    counts = challengers[version]
    return Accounting(*(_total(counts, entry.name) for entry in fields(Accounting)))


def _total(counts: dict[str, Any], name: str) -> int:
    """A count, or the sum over its reasons."""
    value = counts[name]
    return sum(value.values()) if isinstance(value, dict) else int(value)
