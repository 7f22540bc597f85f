"""Rules for header sections: what a request's head must be, and which fields end at this hop.

Pure functions over parsed fields. Field names are lower-case bytes; values carry no surrounding whitespace.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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

_DECIDES = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade", b"content-type"}
)
_SINGLE = frozenset({b"host", b"content-length", b"content-type"})
_ORDINARY_CONNECTION = frozenset({b"keep-alive", b"Keep-Alive", b"close"})
_HOST = re.compile(
    rb"(?:(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._~-]+)?\])"
    rb"(?::[0-9]{0,5})?"
)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"/[\x21\x24-\x7e]*")
"""Origin-form: printable ASCII but for `"` and `#` (a fragment is never sent, RFC 9112 section 3.2)."""
_ABSOLUTE = re.compile(rb"https?://([^/?#@]+)(/[^#]*|\?[^#]*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Framing:
    """What a request's head says about its body and its connection. `length` is None without Content-Length."""

    length: int | None
    chunked: bool
    keep_alive: bool
    expects_continue: bool
    nominated: frozenset[bytes]
    """Fields that `Connection` names, beyond those that are hop-by-hop anyway."""


_NOTHING_NOMINATED: frozenset[bytes] = frozenset()
_PLAIN = {
    (chunked, keep_alive): Framing(None, chunked, keep_alive, False, _NOTHING_NOMINATED)
    for chunked in (False, True)
    for keep_alive in (False, True)
}


def bad_request(detail: str) -> Refusal:
    """400 for a message that breaks HTTP."""
    return Refusal(Problem.BAD_REQUEST, detail)


def inspect(version: str, fields: Fields) -> Framing | Refusal:
    """Decide how a request is framed, or why it is refused. Field syntax has been checked by the parser."""
    host = length = connection = expect = transfer = None
    single = 0
    for name, value in fields:
        if name not in _DECIDES:
            continue
        if name in _SINGLE:
            single += 1
        if name == b"host":
            if host is not None:
                return bad_request("more than one Host field")
            host = value
        elif name == b"content-length":
            if length is not None:
                return bad_request("more than one Content-Length field")
            length = value
        elif name == b"connection":
            connection = value if connection is None else connection + b"," + value
        elif name == b"transfer-encoding":
            transfer = value if transfer is None else transfer + b"," + value
        elif name == b"expect":
            expect = value if expect is None else expect + b"," + value
    if host is None:
        if version == "1.1":
            return bad_request("no Host field")
    elif not _HOST.fullmatch(host):
        return bad_request("the Host field is not a host with an optional port")
    if transfer is not None:
        refusal = _check_transfer_coding(version, transfer, length)
        if refusal is not None:
            return refusal
    if length is not None and not (length.isdigit() and len(length) <= 18):
        return bad_request("Content-Length is not a number of bytes")
    if expect is not None and expect.lower() != b"100-continue":
        return Refusal(Problem.EXPECTATION_FAILED, "Expect names something other than 100-continue")
    keep_alive = version == "1.1"
    nominated = _NOTHING_NOMINATED
    if connection is not None:
        if connection in _ORDINARY_CONNECTION:
            keep_alive = connection != b"close"
        else:
            options = {option.strip(b" \t").lower() for option in connection.split(b",")} - {b""}
            if not all(_TOKEN.fullmatch(option) for option in options):
                return bad_request("the Connection field is not a list of tokens")
            keep_alive = b"close" not in options and (keep_alive or b"keep-alive" in options)
            nominated = frozenset(options - {b"close", b"keep-alive"})
    if length is None and expect is None and not nominated:
        return _PLAIN[transfer is not None, keep_alive]
    return Framing(
        length=int(length) if length is not None else None,
        chunked=transfer is not None,
        keep_alive=keep_alive,
        expects_continue=expect is not None and version == "1.1",
        nominated=nominated,
    )


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
    if target.startswith(b"/"):
        if _TARGET.fullmatch(target):
            return target
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


def end_to_end(fields: Fields, dropped: frozenset[bytes], nominated: frozenset[bytes]) -> list[bytes]:
    """The fields that go on to the next hop, as wire lines."""
    if nominated:
        dropped = dropped | nominated
    return [b"%b: %b\r\n" % field for field in fields if field[0] not in dropped and b"_" not in field[0]]


def connection_options(fields: Fields) -> frozenset[bytes]:
    """The options of all Connection fields, lower-case."""
    options: set[bytes] = set()
    for name, value in fields:
        if name == b"connection":
            options.update(option.strip(b" \t").lower() for option in value.split(b","))
    return frozenset(options)
