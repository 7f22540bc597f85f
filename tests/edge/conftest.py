"""Edges and scripted backends for the tests of the edge."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.edges import EdgeUnderTest
from tests.support.fixtures import new_gateway, start_backend, start_gateway
from tests.support.polling import eventually

__all__ = ["new_gateway", "start_backend", "start_edge", "start_gateway"]


class StartEdge(Protocol):
    def __call__(self, settings: Mapping[str, object], *, host: str = "127.0.0.1") -> EdgeUnderTest: ...


@pytest.fixture
def start_edge(tmp_path: Path) -> Iterator[StartEdge]:
    """Starts edges by configuration. Each must end with no connection to a backend in use and without a crash."""
    started: list[EdgeUnderTest] = []

    def start(settings: Mapping[str, object], *, host: str = "127.0.0.1") -> EdgeUnderTest:
        directory = tmp_path / f"edge-{len(started)}"
        directory.mkdir()
        started.append(EdgeUnderTest(directory, settings, host))
        return started[-1]

    yield start
    for edge in started:
        if not edge.crashes:
            eventually(lambda edge=edge: edge.used == 0, "no call to a backend is left")
        edge.close()
    assert [edge.crashes for edge in started if edge.crashes] == []
