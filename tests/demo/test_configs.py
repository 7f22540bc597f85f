from pathlib import Path

import pytest

from gateway.core.configfile import LoadedConfig, load_config

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("name", ["demo.yaml", "example.yaml"])
def test_a_shipped_configuration_has_no_mistake(name):
    loaded = load_config(CONFIGS / name, {})

    assert isinstance(loaded, LoadedConfig), [str(error) for error in loaded]


def test_the_demo_compares_three_real_versions_and_keeps_whole_pairs():
    loaded = load_config(CONFIGS / "demo.yaml", {})
    assert isinstance(loaded, LoadedConfig)
    model = loaded.config.models["flight-delay"]

    assert model.champion == "1"
    assert {name: one.percent for name, one in model.challengers.items()} == {"2": 100, "3": 25}
    assert {name: one.onnx.name for name, one in model.versions.items()} == {
        "1": "delay-1.onnx",
        "2": "delay-2.onnx",
        "3": "delay-3.onnx",
    }
    assert (model.compare.output, model.compare.kind) == ("label", "label")
    assert model.slices == {"carrier": "tenant", "origin": "input:origin"}
    assert loaded.config.pairs.payload == "body"
    assert loaded.config.tenant_header == "x-tenant"
