"""What every test may rely on: one hypothesis profile and the real models that set-up unpacked.

Fixtures of one area live in that area's conftest. Nothing here starts a process or opens a socket.
"""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gateway.core import flow

# No deadline: a shared machine's pauses are not a property of the code. On CI the same examples
# every time, so that a red run is about the change; elsewhere new ones, so that they search on.
settings.register_profile(
    "tiltyard",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tiltyard")

# Gateways under test run the sources, which is what coverage can see; the tests of the native build ask for it.
os.environ.setdefault("TILTYARD_NATIVE", "off")

COMPILED = not str(flow.__file__).endswith(".py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Over the native build, tests that replace parts of the code are left out: compiled code has bound them."""
    for item in items:
        if COMPILED and item.get_closest_marker("interpreted"):
            item.add_marker(pytest.mark.skip(reason="replaces what compiled code has bound; tested with the sources"))


MODELS = Path(sys.prefix) / "share" / "tiltyard"


@pytest.fixture(scope="session")
def magika_models() -> dict[str, Path]:
    """Two releases of one real model, by version: folders of `model.onnx`, `config.min.json`."""
    return {version: MODELS / f"magika-{version}" for version in ("0.6.1", "1.0.3")}
