"""Fixtures over the parts here; a conftest imports those it wants to offer."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.backends import Backend, Behaviour, answers
from tests.support.gateway_process import GatewayProcess

StartBackend = Callable[..., Backend]
StartGateway = Callable[..., GatewayProcess]


@pytest.fixture
def start_backend() -> Iterator[StartBackend]:
    """Starts backends by behaviour; all are closed at the end of the test."""
    started: list[Backend] = []

    def start(behaviour: Behaviour | None = None) -> Backend:
        started.append(Backend(behaviour or answers()))
        return started[-1]

    yield start
    for backend in started:
        backend.close()


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[StartGateway]:
    """Starts gateways by configuration and waits until they serve; what still runs at the end of
    the test is stopped by SIGTERM and must end with exit status 0.
    """
    started: list[GatewayProcess] = []

    def start(settings: Mapping[str, object] | str, **options: object) -> GatewayProcess:
        directory = tmp_path / f"gateway-{len(started)}"
        directory.mkdir()
        gateway = GatewayProcess(directory, settings, **options)  # type: ignore[arg-type]
        started.append(gateway)
        return gateway.until_serving()

    try:
        yield start
        for gateway in started:
            if gateway.process.poll() is None:
                gateway.stop()
    finally:
        for gateway in started:
            gateway.destroy()
