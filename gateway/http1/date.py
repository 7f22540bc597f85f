"""The Date field (RFC 9110 section 6.6.1), written once a second."""

from __future__ import annotations

import time
from email.utils import formatdate


class DateLine:
    """The present time as a field line."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def now(self) -> bytes:
        """`date: Mon, 23 Nov 2026 07:08:15 GMT` with its line end."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = b"date: %b\r\n" % formatdate(second, usegmt=True).encode()
        return self._line
