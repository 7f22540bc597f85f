"""A real gateway for the conformance run."""

from tests.support.fixtures import new_gateway, start_gateway

__all__ = ["new_gateway", "start_gateway"]
