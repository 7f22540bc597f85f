"""Real gateways and scripted backends for the tests of the processes."""

from tests.support.fixtures import (
    new_gateway,
    new_scripted,
    start_backend,
    start_gateway,
    start_scripted,
)

__all__ = ["new_gateway", "new_scripted", "start_backend", "start_gateway", "start_scripted"]
