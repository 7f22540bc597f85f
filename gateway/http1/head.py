"""Rules for header sections: what a request's head must be, and which fields end at this hop.

Pure functions over parsed fields. Field names are lower-case bytes; values carry no surrounding whitespace.
"""

from __future__ import annotations

import re
from typing import ClassVar, Protocol

from gateway.core.problems import Problem, Refusal

Fields = list[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
"""Fields for one connection only (RFC 9110 section 7.6.1, with the historical ones)."""

_DECIDES = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"})
_ORDINARY_CONNECTION = frozenset({b"keep-alive", b"Keep-Alive", b"close"})
_HOST = re.compile(
    rb"(?:(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._~-]+)?\])"
    rb"(?::[0-9]{0,5})?"
)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"/[\x21\x24-\x7e]*")
"""Origin-form: printable ASCII but for `"` and `#` (a fragment is never sent, RFC 9112 section 3.2)."""
_ABSOLUTE = re.compile(rb"https?://([^/?#@]+)(/[^#]*|\?[^#]*)?", re.IGNORECASE)


NOTHING_NOMINATED: frozenset[bytes] = frozenset()


class Framed(Protocol):
    """A request whose head says how it is framed; `inspect` fills in all but the first two."""

    version: str
    fields: Fields
    host: bytes
    length: int | None
    """None without Content-Length."""
    chunked: bool
    keep_alive: bool
    expects_continue: bool
    nominated: frozenset[bytes]
    """Fields that `Connection` names: they are for this hop only."""


def bad_request(detail: str) -> Refusal:
    """400 for a message that breaks HTTP."""
    return Refusal(Problem.BAD_REQUEST, detail)


def inspect(request: Framed, known_host: bytes | None) -> Refusal | None:
    """Decide how a request is framed and note it on the request, or say why it is refused.

    Field syntax has been checked by the parser; `known_host` is a Host value that is known to be good.
    """
    host = length = connection = expect = transfer = None
    for name, value in request.fields:
        if name not in _DECIDES:
            continue
        if name == b"content-length":
            if length is not None:
                return bad_request("more than one Content-Length field")
            length = value
        elif name == b"host":
            if host is not None:
                return bad_request("more than one Host field")
            host = value
        elif name == b"connection":
            connection = value if connection is None else connection + b"," + value
        elif name == b"transfer-encoding":
            transfer = value if transfer is None else transfer + b"," + value
        else:
            expect = value if expect is None else expect + b"," + value
    version = request.version
    if host is None:
        if version == "1.1":
            return bad_request("no Host field")
    elif host != known_host and not _HOST.fullmatch(host):
        return bad_request("the Host field is not a host with an optional port")
    else:
        request.host = host
    if length is not None:
        if not (length.isdigit() and len(length) <= 18):
            return bad_request("Content-Length is not a number of bytes")
        request.length = int(length)
    if transfer is not None:
        refusal = _check_transfer_coding(version, transfer, length)
        if refusal is not None:
            return refusal
        request.chunked = True
    if expect is not None:
        if expect.lower() != b"100-continue":
            return Refusal(Problem.EXPECTATION_FAILED, "Expect names something other than 100-continue")
        request.expects_continue = version == "1.1"
    request.keep_alive = version == "1.1"
    return _read_connection(request, connection) if connection is not None else None


def _read_connection(request: Framed, connection: bytes) -> Refusal | None:
    if connection in _ORDINARY_CONNECTION:
        request.keep_alive = connection != b"close"
        return None
    options = {option.strip(b" \t").lower() for option in connection.split(b",")} - {b""}
    if not all(_TOKEN.fullmatch(option) for option in options):
        return bad_request("the Connection field is not a list of tokens")
    request.keep_alive = b"close" not in options and (request.keep_alive or b"keep-alive" in options)
    request.nominated = frozenset(options - {b"close", b"keep-alive"})
    return None


def _check_transfer_coding(version: str, transfer: bytes, length: bytes | None) -> Refusal | None:
    if version != "1.1":
        return bad_request("Transfer-Encoding in an HTTP/1.0 message")
    if length is not None:
        return bad_request("Content-Length together with Transfer-Encoding")
    if transfer.lower() != b"chunked":
        return Refusal(Problem.NOT_IMPLEMENTED, "Transfer-Encoding other than chunked")
    return None


def origin_form(method: str, target: bytes) -> bytes | Refusal:
    """The target as path and query, from origin-form, absolute-form or `OPTIONS *` (RFC 9112 section 3.2)."""
    if _TARGET.fullmatch(target):
        return target
    if target.startswith(b"/"):
        return bad_request("the request target has characters that must be percent-encoded")
    if target == b"*" and method == "OPTIONS":
        return target
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute and _HOST.fullmatch(absolute[1]):
        path = absolute[2] or b"/"
        path = path if path.startswith(b"/") else b"/" + path
        if _TARGET.fullmatch(path):
            return path
    return bad_request("the request target is neither a path nor an http URL")


class Forwarded(dict[bytes, bool]):
    """Which fields go on to the next hop, by lower-case name; remembers its answers up to a bound.

    Names with an underscore never do: `content_length` is `content-length` to many a backend.
    """

    REMEMBERED: ClassVar = 4096

    def __init__(self, ends_here: frozenset[bytes]):
        super().__init__()
        self._ends_here = ends_here

    def __missing__(self, name: bytes) -> bool:
        goes_on = name not in self._ends_here and b"_" not in name
        if len(self) < self.REMEMBERED:
            self[name] = goes_on
        return goes_on


def end_to_end(fields: Fields, forwarded: Forwarded, nominated: frozenset[bytes]) -> list[bytes]:
    """The fields that go on to the next hop, in wire form, as parts to be joined."""
    parts: list[bytes] = []
    for name, value in fields:
        if forwarded[name] and name not in nominated:
            parts += (name, b": ", value, b"\r\n")
    return parts


def nominated_by(connection: bytes) -> frozenset[bytes]:
    """The fields that a Connection field names, lower-case; its options `close` and `keep-alive` are not fields."""
    if connection in _ORDINARY_CONNECTION:
        return NOTHING_NOMINATED
    options = {option.strip(b" \t").lower() for option in connection.split(b",")}
    return frozenset(options - {b"", b"close", b"keep-alive"})
