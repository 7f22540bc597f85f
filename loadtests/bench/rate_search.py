"""The search for the highest rate that is held: trials in, the next rate or the result out.

From a first rate it grows until a trial fails, or shrinks until one is held; then it halves what lies between, until
that is narrow. A failure above a rate that was held, like the very first, must come twice: a pause of the machine or a
segment being rolled fails a short trial that the next one keeps. A pure decision: whoever asks makes the trials.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

FIRST_RATE = 3000.0
GROWTH = 1.5
NARROW = 1.06
"""The lowest rate that failed over the highest that was held, at most, when the search is over."""
MOST_TRIALS = 12
SAFETY = 0.95
"""What is measured lasts longer than a trial."""


@dataclass(frozen=True, slots=True)
class RateSearch:
    """What the trials so far have shown, and the rate to try next."""

    rate: float = FIRST_RATE
    held: float = 0.0
    failed: float = math.inf
    trials: int = 0
    in_doubt: bool = False
    """Whether `rate` has failed once."""

    def after(self, is_held: bool) -> RateSearch:
        """The search once the trial at `rate` has shown this."""
        tried = replace(self, trials=self.trials + 1, in_doubt=False)
        if is_held:
            return replace(tried, held=self.rate)._on()
        if not self.in_doubt and not self._is_shrinking():
            return replace(tried, in_doubt=True)
        return replace(tried, failed=self.rate)._on()

    def is_over(self) -> bool:
        """Whether no further trial is wanted."""
        return self.trials >= MOST_TRIALS or self.failed <= self.held * NARROW

    def result(self) -> float | None:
        """The rate to measure at; None when no trial was held."""
        return self.held * SAFETY or None

    def _is_shrinking(self) -> bool:
        return not self.held and not math.isinf(self.failed)

    def _on(self) -> RateSearch:
        if math.isinf(self.failed):
            return replace(self, rate=self.rate * GROWTH)
        if self._is_shrinking():
            return replace(self, rate=self.rate / GROWTH)
        return replace(self, rate=math.sqrt(self.held * self.failed))
