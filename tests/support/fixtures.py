"""Fixtures over the parts here; a conftest imports those it wants to offer."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support.backends import Backend, Behaviour, answers
from tests.support.gateway_process import GatewayProcess

SCRIPTED_ROLES = (sys.executable, "-m", "tests.support.roles")


class StartBackend(Protocol):
    def __call__(self, behaviour: Behaviour | None = None) -> Backend: ...


class StartGateway(Protocol):
    def __call__(self, settings: Mapping[str, object] | str, **options: Any) -> GatewayProcess: ...


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
def new_gateway(tmp_path: Path) -> Iterator[StartGateway]:
    """Starts gateways by configuration without waiting; what runs at the end of the test is killed."""
    started: list[GatewayProcess] = []

    def start(settings: Mapping[str, object] | str, **options: Any) -> GatewayProcess:
        directory = tmp_path / f"gateway-{len(started)}"
        directory.mkdir()
        started.append(GatewayProcess(directory, settings, **options))
        return started[-1]

    yield start
    for gateway in started:
        gateway.destroy()


@pytest.fixture
def start_gateway(new_gateway: StartGateway) -> Iterator[StartGateway]:
    """Starts gateways and waits until they serve; what runs at the end of the test is stopped by
    SIGTERM and must end with exit status 0.
    """
    started: list[GatewayProcess] = []

    def start(settings: Mapping[str, object] | str, **options: Any) -> GatewayProcess:
        started.append(new_gateway(settings, **options))
        return started[-1].until_serving()

    yield start
    for gateway in started:
        if gateway.process.poll() is None:
            gateway.stop()


@pytest.fixture
def start_scripted(start_gateway: StartGateway) -> StartGateway:
    """Like `start_gateway`, with the worker and shadow of tests.support.roles."""

    def start(settings: Mapping[str, object] | str, **options: Any) -> GatewayProcess:
        return start_gateway(settings, command=SCRIPTED_ROLES, **options)

    return start


@pytest.fixture
def new_scripted(new_gateway: StartGateway) -> StartGateway:
    """Like `new_gateway`, with the worker and shadow of tests.support.roles."""

    def start(settings: Mapping[str, object] | str, **options: Any) -> GatewayProcess:
        return new_gateway(settings, command=SCRIPTED_ROLES, **options)

    return start
