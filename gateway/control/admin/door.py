"""Who may come in: until there are roles, only clients on the gateway's own machine, and no web
page of elsewhere.

A loopback address alone would not keep a browser's pages out: a page can post to 127.0.0.1, and a
name of its own can be made to lead there. So the peer, the Host and, for what changes something,
the origin must all be of this machine.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.control.admin.problems import AdminProblem, Refused, response

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Door:
    """Refuses with 403 before anything else sees the request."""

    def __init__(self, app: ASGIApp, own_names: frozenset[str] = frozenset()):
        self._app = app
        self._own_names = own_names | {"localhost", socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            reason = self._refusal(Request(scope))
            if reason is not None:
                refused = Refused(AdminProblem.FORBIDDEN, reason)
                await response(refused)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, request: Request) -> str | None:
        if request.client is None or not _is_loopback(request.client.host):
            return "the admin listener serves clients on the gateway's own machine only"
        host = request.headers.get("host", "")
        if not self._is_ours(host):
            return "the Host field names neither an address nor this machine"
        if request.method not in SAFE_METHODS and not _same_origin(request, host):
            return "a page of another origin may not change anything here"
        return None

    def _is_ours(self, host: str) -> bool:
        if not host:
            # A load balancer's check in HTTP/1.0; no browser leaves it out.
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._own_names or name.endswith(".localhost") or _is_address(name)


def _same_origin(request: Request, host: str) -> bool:
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == host


def _is_loopback(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
