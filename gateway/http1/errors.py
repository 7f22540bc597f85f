"""What can go wrong on the wire, as exceptions that reach a request's flow.

Each says whose fault it is: the client's (`ClientFault`), or the backend's (`UpstreamFault`). `DeadlineExceeded` is
nobody's in particular: the time the request had is over.
"""

from __future__ import annotations

from gateway.core.problems import Refusal


class WireError(Exception):
    """Base of all errors of this package."""


class DeadlineExceeded(WireError):
    """The request's own deadline has passed."""


class ClientFault(WireError):
    """The client broke off, or sent what cannot be served."""


class ClientGone(ClientFault):
    """The client's connection is lost; nobody reads an answer any more."""


class BodyBroken(ClientFault):
    """The body breaks its framing, came too slowly, or is larger than allowed; `refusal` is the answer."""

    def __init__(self, refusal: Refusal):
        super().__init__(refusal.detail)
        self.refusal = refusal


class UpstreamFault(WireError):
    """A backend call failed. `untouched` says that no byte of an answer came, so that a replay does nothing twice
    as far as can be known on a connection that was idle before.
    """

    untouched = False


class UpstreamUnreachable(UpstreamFault):
    """No connection could be made."""

    untouched = True


class UpstreamSaturated(UpstreamFault):
    """The bound on connections to this backend is reached, and so is the bound on those who wait for one."""


class UpstreamClosed(UpstreamFault):
    """The backend closed or reset the connection before the answer began."""

    untouched = True


class UpstreamInvalid(UpstreamFault):
    """The backend's answer is not valid HTTP/1.1."""


class UpstreamTruncated(UpstreamFault):
    """The answer ended before its end."""
