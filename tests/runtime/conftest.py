"""Real gateways and scripted backends for the tests of the processes."""

from tests.support.fixtures import start_backend, start_gateway

__all__ = ["start_backend", "start_gateway"]
