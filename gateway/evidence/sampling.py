"""Which requests a challenger sees: a share of them, the same ones whenever the same key comes again.

The hash has a domain of its own, so that being in the sample says nothing about any live split of the traffic, nor
about another challenger's sample.
"""

from __future__ import annotations

from hashlib import blake2b

_DOMAIN = b"tiltyard.shadow.1"
_RANGE = float(2**64)


def sampled(model: str, challenger: str, key: str, share: float) -> bool:
    """Whether the request with this key is in the sample; `share` is the probability, 0 to 1."""
    if share >= 1.0:
        return True
    if share <= 0.0:
        return False
    text = f"{model}\0{challenger}\0{key}".encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(text, digest_size=8, key=_DOMAIN).digest()) < share * _RANGE
