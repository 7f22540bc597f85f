"""Every size and time limit of a client's connection, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.core.config import Http


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds; the defaults are those of the configuration."""

    request_line_bytes: int = 8 * 1024
    field_bytes: int = 8 * 1024
    section_bytes: int = 32 * 1024
    fields: int = 100
    header_s: float = 10.0
    body_idle_s: float = 10.0
    body_bytes_per_s: int = 500
    write_stall_s: float = 30.0
    keep_alive_s: float = 75.0
    buffer_bytes: int = 256 * 1024
    pipelined: int = 64
    """Requests read ahead of the one being answered before reading pauses."""
    linger_s: float = 1.0
    """How long a refused client may go on sending before the connection is cut."""

    @property
    def head_bytes(self) -> int:
        """Most bytes of a head as sent: its parts at their largest, method and version."""
        return self.request_line_bytes + self.section_bytes + 64

    @classmethod
    def of(cls, http: Http) -> Limits:
        """The limits an operator configured."""
        return cls(
            request_line_bytes=http.request_line,
            field_bytes=http.field,
            section_bytes=http.section,
            fields=http.fields,
            header_s=http.header,
            body_idle_s=http.body_idle,
            body_bytes_per_s=http.body_rate,
            write_stall_s=http.write_stall,
            keep_alive_s=http.keep_alive,
            buffer_bytes=http.buffer,
        )
