"""Request ids: UUID version 7 (RFC 9562 section 5.7), which are also prediction ids and usage-event ids.

Time-ordered, so that stores sort by arrival; 74 random bits from the kernel, so that nobody can guess another
tenant's id and label its predictions.
"""

from __future__ import annotations

import os
import re
import time

_BATCH = 512
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The variant digit from a random one: its two high bits are fixed (RFC 9562 section 4.1)."""
_CLIENT_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


class RequestIds:
    """Makes ids as lower-case text; randomness is fetched from the kernel for 512 ids at a time."""

    __slots__ = ("_at", "_millisecond", "_random", "_stamp")

    def __init__(self) -> None:
        self._random = ""
        self._at = 0
        self._millisecond = 0
        self._stamp = ""

    def new(self) -> str:
        """A fresh UUIDv7, e.g. `01938f2e-7b1c-7a4e-9d0c-5a1f0e6b2c3d`."""
        at = self._at
        random = self._random
        if at >= len(random):
            random = self._random = os.urandom(10 * _BATCH).hex()
            at = 0
        self._at = at + 20
        millisecond = time.time_ns() // 1_000_000
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            stamp = f"{millisecond:012x}"
            self._stamp = f"{stamp[:8]}-{stamp[8:]}-7"
        variant = _VARIANT[random[at + 3]]
        return f"{self._stamp}{random[at : at + 3]}-{variant}{random[at + 4 : at + 7]}-{random[at + 7 : at + 19]}"


def valid_client_id(value: str) -> bool:
    """Whether a client's own `x-request-id` is fit to be kept as `x-client-request-id`."""
    return _CLIENT_ID.fullmatch(value) is not None
