"""Configuration files that operators write, and exactly what they are told about them.

Expected errors stand beside each invalid file, as `line:column: message`; DIR is its directory.
"""

from pathlib import Path

import pytest

from gateway.core.config import Gateway, canonical
from gateway.core.configfile import ConfigError, LoadedConfig, load_config

GOLDEN = Path(__file__).parent.parent / "golden" / "config"
VALID = sorted((GOLDEN / "valid").glob("*.yaml"))
INVALID = sorted((GOLDEN / "invalid").glob("*.yaml"))
PUBLISHED = sorted((GOLDEN.parent.parent.parent / "configs").glob("*.yaml"))
ENVIRONMENT = {
    "WORKERS": "2",
    "HOST": "127.0.0.1",
    "PORT": "9000",
    "OWNER": "ops",
    "SECRET": "hunter2",
}


def name(path: Path) -> str:
    return path.stem


def told(errors: list[ConfigError] | tuple[ConfigError, ...], directory: Path) -> list[str]:
    return [f"{e.line}:{e.column}: {e.message}".replace(f"{directory}", "DIR") for e in errors]


@pytest.mark.parametrize("path", VALID + PUBLISHED, ids=name)
def test_a_valid_file_loads_and_reads_back_from_its_canonical_form(path: Path) -> None:
    loaded = load_config(path, ENVIRONMENT)

    assert isinstance(loaded, LoadedConfig), loaded
    assert loaded.text == path.read_text()
    assert Gateway.model_validate_json(canonical(loaded.config)) == loaded.config


@pytest.mark.parametrize("path", INVALID, ids=name)
def test_an_invalid_file_yields_all_its_errors_where_they_are(path: Path) -> None:
    errors = load_config(path, ENVIRONMENT)

    assert isinstance(errors, list)
    assert told(errors, path.parent) == path.with_suffix(".errors").read_text().splitlines()
    assert all(str(error).startswith(f"{path}:{error.line}:") for error in errors)


def test_what_is_doubtful_is_a_warning_where_it_is() -> None:
    loaded = load_config(GOLDEN / "valid" / "doubtful.yaml", {})

    assert isinstance(loaded, LoadedConfig)
    assert told(loaded.warnings, GOLDEN) == [
        "1:1: never believed, because `trusted_proxies` is empty",
        "5:13: the same URL twice is one replica with twice the share",
        "9:11: any server that answers there is believed to be the backend",
        "11:25: at 0 percent it is never called",
        "12:15: not used: `kind: json` compares the whole answer",
    ]


def test_what_came_from_the_environment_is_in_no_error() -> None:
    errors = load_config(GOLDEN / "invalid" / "secret.yaml", ENVIRONMENT)

    assert isinstance(errors, list)
    assert "hunter2" not in "".join(map(str, errors))
