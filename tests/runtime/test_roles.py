"""What a process loads: each only what it needs, since memory and start-up are paid once per process."""

import subprocess
import sys

import pytest

from tests.support.gateway_process import ROOT

UPPER = {"duckdb", "starlette", "numpy", "onnxruntime", "prometheus_client", "typer", "httpx2"}


def loaded_by(role: str) -> set[str]:
    """The top-level packages in memory once a role's module is imported."""
    program = (
        "import sys, gateway.runtime.session as session\n"
        f"session.role_maker({role!r})\n"
        "print('\\n'.join({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("role", "not_loaded"),
    [
        ("worker", UPPER),
        ("shadow", {"duckdb", "starlette", "onnxruntime", "prometheus_client", "typer", "httpx2"}),
        ("model", {"duckdb", "starlette", "prometheus_client", "typer", "httpx2"}),
        ("control", {"onnxruntime", "duckdb"}),
    ],
)
def test_a_process_loads_nothing_that_is_anothers(role: str, not_loaded: set[str]) -> None:
    assert loaded_by(role) & not_loaded == set()


def test_the_supervisor_loads_nothing_that_serves() -> None:
    program = (
        "import sys, gateway.runtime.launch\nprint('\\n'.join({name.partition('.')[0] for name in sys.modules}))\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    assert set(done.stdout.split()) & (UPPER | {"uvicorn", "httptools"}) == set()
