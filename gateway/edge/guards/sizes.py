"""Declared size: a body that says it is larger than the model allows is refused before it is read."""

from __future__ import annotations

from gateway.core.problems import Problem, Refusal
from gateway.edge.exchange import Exchange
from gateway.edge.routing.route import Route


def declared_size(exchange: Exchange, route: Route) -> Refusal | None:
    """413 for a Content-Length over the cap; bodies without one are counted as they stream."""
    cap = route.model.body_cap_bytes
    length = exchange.length
    if length is not None and length > cap:
        return Refusal(Problem.BODY_TOO_LARGE, f"the body has {length} bytes; at most {cap} are taken")
    return None
