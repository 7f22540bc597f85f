"""Wilson's score interval for a share: k successes among n (Wilson, JASA 22, 1927).

Two-sided, without continuity correction. Unlike the textbook interval it stays within [0, 1] and says
something true at k = 0 and k = n. Nothing observed (n = 0) leaves every share possible: (0, 1).
"""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

_STANDARD_NORMAL = NormalDist()


def wilson(k: int, n: int, confidence: float) -> tuple[float, float]:
    """The (lower, upper) bounds of the share; 0 <= k <= n and 0 < confidence < 1."""
    if not 0 <= k <= n:
        raise ValueError("k must be between 0 and n")
    if not 0 < confidence < 1:
        raise ValueError("confidence must be between 0 and 1, both excluded")
    if n == 0:
        return 0.0, 1.0
    z = -_STANDARD_NORMAL.inv_cdf((1 - confidence) / 2)
    # The bounds solve (n + z²)x² + k²/n = (2k + z²)x. The larger root has no cancellation; the
    # smaller follows from their product, where subtracting would cost a small share its digits.
    upper = (2 * k + z * z + z * sqrt(z * z + 4 * k * (n - k) / n)) / (2 * (n + z * z))
    lower = k * k / (n * (n + z * z) * upper) if k else 0.0
    return lower, 1.0 if k == n else min(upper, 1.0)
