"""How long to wait before a process that ended is started again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 5.0
HEALTHY_S: Final = 10.0


@dataclass(slots=True)
class Backoff:
    """At once the first time, then 0.1 s doubling to 5 s; ten seconds of health forgive what was
    before.
    """

    failures: int = 0

    def after_exit(self, healthy_s: float) -> float:
        """The delay after an end that followed `healthy_s` of service."""
        if healthy_s >= HEALTHY_S:
            self.failures = 0
        self.failures += 1
        if self.failures == 1:
            return 0.0
        # Bounded exponent: a process may fail for months.
        return min(FIRST_DELAY_S * 2.0 ** min(self.failures - 2, 16), LONGEST_DELAY_S)
