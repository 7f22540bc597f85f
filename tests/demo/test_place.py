import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from zipfile import ZipFile

import pytest

from gateway.core.configfile import LoadedConfig, load_config
from gateway.demo import place as places
from gateway.demo.demo import EXAMPLE_ID, example_flight
from gateway.demo.flights import read_flights
from gateway.demo.place import TREE_CONFIG, Place, Ports, readable_request, routing_text, shown, template
from gateway.runtime.places import PlaceTaken, StateDirectory

FLIGHT = next(read_flights())
PORTS = Ports(18080, 18081)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "state" / "demo")


def loaded(path: Path) -> LoadedConfig:
    found = load_config(path, {})
    assert isinstance(found, LoadedConfig), [str(error) for error in found]
    return found


def test_the_demos_configuration_is_the_example_but_for_what_depends_on_where_it_runs(place):
    place.prepare(PORTS, FLIGHT)
    config, example = loaded(place.config).config, loaded(TREE_CONFIG).config

    assert (config.listen.inference.port, config.listen.admin.port) == (18080, 18081)
    assert config.state.resolve() == place.directory.resolve()
    assert config.models == example.models
    own = {"listen", "state"}
    assert config.model_dump(exclude=own) == example.model_dump(exclude=own)


def test_its_comments_stay_and_its_head_says_where_it_comes_from(place):
    place.prepare(PORTS, FLIGHT)
    text, example = place.config.read_text(), TREE_CONFIG.read_text()
    comments = [line for line in example.partition("\nlisten:")[2].splitlines() if line.strip().startswith("#")]

    assert text.startswith("# Written by `tiltyard demo` at each start, from the example in configs/demo.yaml.")
    assert "$schema" not in text
    assert comments
    assert [line for line in comments if line not in text] == []


def test_the_edit_that_the_head_proposes_is_valid(place):
    place.prepare(PORTS, FLIGHT)
    text = place.config.read_text()
    place.config.write_text(
        text.replace('champion: "1"', 'champion: "2"').replace('"2": {percent: 100}', '"1": {percent: 100}')
    )
    model = loaded(place.config).config.models["flight-delay"]

    assert (model.champion, sorted(model.challengers)) == ("2", ["1", "3"])


def test_models_are_found_wherever_the_package_is_installed(place, tmp_path, monkeypatch):
    strange = tmp_path / 'a "folder", {with} ${HOME} # and spaces'
    strange.mkdir()
    for name in ("delay-1.onnx", "delay-2.onnx", "delay-3.onnx"):
        (strange / name).write_bytes((places.DATA / name).read_bytes())
    monkeypatch.setattr(places, "DATA", strange)
    place.prepare(PORTS, FLIGHT)

    versions = loaded(place.config).config.models["flight-delay"].versions
    assert {version.onnx for version in versions.values()} == set(strange.iterdir())


def test_an_example_without_the_keys_that_are_replaced_is_a_defect_that_is_named():
    with pytest.raises(ValueError, match=r"0 places like .*admin"):
        routing_text(TREE_CONFIG.read_text().replace("  admin:", "  administration:"), PORTS)


def test_nothing_is_written_where_a_gateway_runs(place):
    held = StateDirectory.hold(place.directory)
    with pytest.raises(PlaceTaken, match="in use by another gateway"):
        place.prepare(PORTS, FLIGHT)
    held.release()

    assert not place.config.exists()


def test_logs_are_those_of_the_last_run(place):
    place.prepare(PORTS, FLIGHT)
    place.events.write_text("what was said")
    place.access_log.write_text("who asked")
    place.prepare(PORTS, FLIGHT)

    assert place.events.read_text() == place.access_log.read_text() == ""


def test_how_far_the_replay_has_come_is_remembered(place):
    place.prepare(PORTS, FLIGHT)
    assert place.next_flight() == 0

    place.remember(1234)
    assert place.next_flight() == 1234


@pytest.mark.parametrize("text", ["", "{", '{"next_flight": "far"}', '{"next_flight": -5}', "[]"])
def test_a_broken_memory_means_from_the_start(place, text):
    place.directory.mkdir(parents=True)
    (place.directory / "replay.json").write_text(text)

    assert place.next_flight() == 0


def test_the_example_request_is_the_flights_own_one_input_a_line():
    text = readable_request(FLIGHT)

    assert json.loads(text) == json.loads(FLIGHT.request_body())
    assert len(text.splitlines()) == 2 + 10
    assert max(map(len, text.splitlines())) < 100


def test_the_example_flight_is_among_the_first():
    # It is looked for from the start of the file, each time the demo starts.
    assert EXAMPLE_ID in {flight.id for flight in islice(read_flights(), 100)}
    assert example_flight().id == EXAMPLE_ID


def test_a_path_is_shown_as_it_can_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert shown(Path("state/demo/demo.yaml")) == "state/demo/demo.yaml"
    assert shown(tmp_path / "a folder" / "x") == "'a folder/x'"
    assert shown(Path("/elsewhere/x")) == "/elsewhere/x"


def test_the_wheel_carries_the_example(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=TREE_CONFIG.parents[1], check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    ZipFile(wheel).extractall(tmp_path / "installed")
    found = subprocess.run(
        [sys.executable, "-P", "-c", "from gateway.demo.place import template; print(template())"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()

    assert found == str(tmp_path / "installed" / "gateway" / "demo" / "data" / "demo.yaml")
    assert Path(found).read_bytes() == template().read_bytes()
