"""Loading: whatever stands in a file, the answer is a configuration or errors with positions."""

import gc
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.config import FileContext, Gateway, canonical, config_id
from gateway.core.configfile import ConfigError, LoadedConfig, Source, load_config, parse_config, positions
from gateway.core.configfile.load import MAX_ERRORS, MAX_FILE_BYTES

MINIMAL = 'models: {m: {versions: {"1": {urls: ["http://127.0.0.1:9000"]}}, champion: "1"}}\n'
DIGEST = "ab" * 32


def anything_exists(path: Path) -> str:
    return DIGEST


def parse(text: str, environment: Mapping[str, str] | None = None) -> LoadedConfig | list[ConfigError]:
    return parse_config(text, Source("f.yaml", FileContext(Path("/base"), anything_exists), environment or {}))


def valid(text: str, environment: Mapping[str, str] | None = None) -> Gateway:
    loaded = parse(text, environment)
    assert isinstance(loaded, LoadedConfig), loaded
    return loaded.config


def errors(text: str, environment: Mapping[str, str] | None = None) -> list[str]:
    found = parse(text, environment)
    assert isinstance(found, list)
    return [str(error).removeprefix("f.yaml:") for error in found]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "gateway.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


# --- files ----------------------------------------------------------------------------------------


def test_paths_are_relative_to_the_file(write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("state: kept/\naccess_log: ../access.log\n" + MINIMAL)
    monkeypatch.chdir(path.parent)

    loaded = load_config(Path(path.name), {})

    assert isinstance(loaded, LoadedConfig)
    assert loaded.config.state == path.parent / "kept"
    assert loaded.config.access_log == str(path.parent.parent / "access.log")


def test_state_is_beside_the_file_unless_it_says_otherwise(write: Callable[[str], Path]) -> None:
    path = write(MINIMAL)

    loaded = load_config(path, {})

    assert isinstance(loaded, LoadedConfig)
    assert loaded.config.state == path.parent / "state"


def test_a_model_trained_anew_is_a_new_configuration(write: Callable[[str], Path]) -> None:
    path = write('models: {m: {versions: {"1": {onnx: a.onnx}, "2": {onnx: ./a.onnx}}, champion: "1"}}')
    model = path.parent / "a.onnx"

    def load(content: bytes) -> Gateway:
        model.write_bytes(content)
        loaded = load_config(path, {})
        assert isinstance(loaded, LoadedConfig)
        return loaded.config

    first, again, anew = load(b"weights"), load(b"weights"), load(b"other weights")

    assert config_id(first) == config_id(again) != config_id(anew)
    assert first.models["m"].versions["1"].onnx == model
    assert first.models["m"].versions["1"].digest == hashlib.sha256(b"weights").hexdigest()
    assert Gateway.model_validate_json(canonical(first)) == first


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "1:1: the file is empty; it needs at least `models:`"),
        (b"models:\n  \xff: {}", "2:3: not UTF-8 text"),
        (b"\xff\xfem\x00", "1:1: not UTF-8 text"),
        (b"a" * (MAX_FILE_BYTES + 1), "1:1: larger than 16 MiB"),
    ],
)
def test_a_file_that_is_no_text_is_an_error(write: Callable[[bytes], Path], content: bytes, error: str) -> None:
    path = write(content)

    assert list(map(str, load_config(path, {}))) == [f"{path}:{error}"]  # type: ignore[call-overload]


def test_a_byte_order_mark_is_not_part_of_the_text(write: Callable[[bytes], Path]) -> None:
    loaded = load_config(write(b"\xef\xbb\xbf" + MINIMAL.encode()), {})

    assert isinstance(loaded, LoadedConfig)
    assert loaded.text == MINIMAL


def test_what_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    paths = {
        tmp_path / "absent.yaml": "no such file",
        tmp_path: "cannot be read: it is not a regular file",
        tmp_path / "pipe": "cannot be read: it is not a regular file",
        tmp_path / "nul\0": "cannot be read: embedded null byte",
        tmp_path / ("x" * 300): "cannot be read: File name too long",
    }
    for path, message in paths.items():
        assert load_config(path, {}) == [ConfigError(str(path), 1, 1, message)]


# --- meaning --------------------------------------------------------------------------------------


def test_values_written_in_any_way_mean_the_same() -> None:
    block = (
        "models:\n  m:\n    versions:\n      1:\n        urls:\n          - http://127.0.0.1:9000\n    champion: 1\n"
    )

    assert valid(block) == valid(MINIMAL) == valid(json.dumps(yaml.safe_load(MINIMAL)))


def test_a_variable_left_unquoted_means_what_its_text_means() -> None:
    environment = {"N": "3", "T": "2s", "OFF": "off"}
    text = 'workers: ${N}\nhttp: {header: "${T}"}\naccess_log: "${OFF}"\n' + MINIMAL

    config = valid(text, environment)

    assert (config.workers, config.http.header, config.access_log) == (3, 2.0, "off")
    assert errors('workers: "${N}"\n' + MINIMAL, environment) == [
        "1:10: expected a whole number, got the value of ${N}"
    ]


def test_a_variable_brings_no_structure() -> None:
    config = valid(MINIMAL + 'access_log: "${X}"', {"X": "a\nmodels: {}"})

    assert config.access_log == "/base/a\nmodels: {}"


@pytest.mark.parametrize(
    "line",
    [
        'limit_store: "${X}"',
        'state: "${X}"',
        "models: {m: {versions: {a: {urls: ['http://a']}}, champion: '${X}'}}",
        "trusted_proxies: ['${X}']",
        "http: {header: '${X}'}",
    ],
)
@pytest.mark.parametrize("secret", ["redis://u:hunter2@h/" + "0" * 200, "hunter2\\\"'\n", "postgresql://hunter2"])
def test_no_error_names_what_came_from_the_environment(line: str, secret: str) -> None:
    assert "hunter2" not in "".join(errors(line, {"X": secret}))


def test_where_places_stand_can_be_asked_later() -> None:
    places = [("models", "m", "versions", "1", "urls", 0), ("models", "m", "champion"), ("nowhere",)]

    places.append(("models", "m", "versions", "1", "urls", 7))
    assert positions(MINIMAL, places) == [(1, 38), (1, 76), (1, 1), (1, 37)]
    assert positions("", places[:1]) == [(1, 1)]


# --- all errors -----------------------------------------------------------------------------------


def test_errors_are_told_in_the_order_of_the_file_and_each_once() -> None:
    text = "models: {a: &m {versions: {v: &v {urls: [1]}, w: *v}, champion: x}, b: *m}\nworkers: 0\n"

    assert errors(text) == [
        "1:42: expected a text, got 1: put it in quotes",
        "1:55: no version 'x'; there are: v, w",
        "2:10: expected 1 or more, got 0",
    ]


def test_a_key_that_stands_twice_is_an_error_even_if_both_are_right() -> None:
    assert errors("workers: 1\nworkers: 1\n" + MINIMAL) == ["2:1: duplicate key 'workers'; it is on line 1 already"]


def test_very_many_errors_are_cut() -> None:
    text = "".join(f"key{number}: 1\n" for number in range(MAX_ERRORS + 500))

    found = errors(text)

    assert len(found) == MAX_ERRORS + 1
    assert found[-1] == f"{MAX_ERRORS}:1: more than {MAX_ERRORS} errors; the rest is not shown"


def test_ten_thousand_models_load() -> None:
    model = (
        '{versions: {"1": {urls: ["http://a:1"]}, "2": {urls: ["http://a:2"]}}, champion: "1", challengers: {"2": {}}}'
    )
    text = "models:\n" + "".join(f"  m{number}: {model}\n" for number in range(10_000))

    config = valid(text)

    assert len(config.models) == 10_000
    assert config.models["m9999"].versions["2"].urls == ("http://a:2",)


def test_the_collector_runs_on_after_loading() -> None:
    assert gc.isenabled()
    parse(MINIMAL)
    parse("[")
    assert gc.isenabled()


# --- properties -----------------------------------------------------------------------------------

PRINTABLE = st.characters(max_codepoint=0x2FFF, exclude_categories=["Cc", "Cn", "Zl", "Zp"], exclude_characters="$")
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
DURATIONS = st.builds(
    "{}{}".format, st.integers(1, 999) | st.decimals("0.001", "99", places=3), st.sampled_from(["ms", "s", "m", "h"])
).filter(lambda text: not (text.endswith("ms") and "." in text))
SIZES = st.integers(1, 2**40) | st.builds(
    "{}{}".format, st.integers(1, 9999), st.sampled_from(["B", "KiB", "MB", "GiB"])
)
COUNTS = st.integers(1, 1000)
URLS = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["127.0.0.1", "[::1]", "models.example.net"]),
    st.integers(1, 65535).map(":{}".format) | st.just(""),
    st.sampled_from(["", "/", "/a/b"]),
)


def keys(**optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=optional)


SIZE_GUARDS = keys(body=SIZES, mode=st.sampled_from(["enforce", "off"]))
HTTP_VERSIONS = st.fixed_dictionaries(
    {"urls": st.lists(URLS, min_size=1, max_size=3)}, optional={"timeout": DURATIONS, "connections": COUNTS}
)
VERSIONS = HTTP_VERSIONS | st.fixed_dictionaries(
    {"onnx": st.sampled_from(["a.onnx", "/m/b.onnx"])},
    optional={"threads": st.integers(1, 8), "batch": keys(max=COUNTS, wait=DURATIONS | st.just("0s"))},
)
CHALLENGERS = keys(
    percent=st.floats(0, 100) | st.integers(0, 100),
    timeout=DURATIONS,
    concurrency=COUNTS,
    queue_items=COUNTS,
    queue_bytes=SIZES,
    answer=SIZES,
    breaker=keys(failures=COUNTS, open=DURATIONS),
)
COMPARISONS = keys(
    output=st.text(PRINTABLE, min_size=1, max_size=10),
    tolerance=keys(absolute=st.floats(0, 1e9), relative=st.floats(0, 1)),
    ignore=st.lists(st.sampled_from(["$.id", "$.outputs[*].name", "$['a.b'][0]"]), max_size=3),
    order=st.sampled_from(["strict", "any"]),
)


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    protocol = draw(st.sampled_from([{}, {"protocol": "open-inference"}, {"protocol": "json"}]))
    kinds = HTTP_VERSIONS if protocol.get("protocol") == "json" else VERSIONS
    versions = draw(st.dictionaries(NAMES, kinds, min_size=1, max_size=4))
    champion = draw(st.sampled_from(sorted(versions)))
    others = sorted(versions.keys() - {champion})
    challengers = draw(st.lists(st.sampled_from(others), unique=True)) if others else []
    optional = keys(
        owner=st.text(PRINTABLE, min_size=1, max_size=20),
        compare=COMPARISONS,
        slices=st.dictionaries(NAMES, st.sampled_from(["tenant", "version", "input:a b", "header:x-a"]), max_size=3),
        timeout=DURATIONS,
        pairs=st.fixed_dictionaries({"payload": st.sampled_from(["body", "digest", "none"])}),
        guards=keys(sizes=SIZE_GUARDS),
    )
    required = {"versions": versions, "champion": champion, **protocol}
    return required | {"challengers": {name: draw(CHALLENGERS) for name in challengers}} | draw(optional)


DOCUMENTS = st.fixed_dictionaries(
    {"models": st.dictionaries(NAMES, models(), min_size=1, max_size=3)},
    optional={
        "workers": st.integers(1, 64),
        "state": st.sampled_from(["state/", "/var/lib/tiltyard", "."]),
        "trusted_proxies": st.lists(st.sampled_from(["10.0.0.0/8", "::1", "192.0.2.7"]), max_size=3),
        "tenant_header": st.sampled_from(["x-tenant", "X-Customer"]),
        "access_log": st.sampled_from(["stdout", "off", "log/access"]),
        "http": keys(request_line=SIZES, fields=COUNTS, header=DURATIONS, body_rate=COUNTS, buffer=SIZES),
        "shadow": keys(queue_items=COUNTS, queue_bytes=SIZES, body=SIZES, max_age=DURATIONS),
        "pairs": keys(payload=st.just("body"), segment=SIZES, roll=DURATIONS, keep_age=DURATIONS, keep_bytes=SIZES),
        "guards": keys(sizes=SIZE_GUARDS, limits=st.just([]), auth=st.just({"mode": "off"})),
    },
)


@given(DOCUMENTS)
def test_every_valid_configuration_reads_back_exactly(document: dict[str, Any]) -> None:
    config = valid(json.dumps(document, ensure_ascii=False))

    again = Gateway.model_validate_json(canonical(config))

    assert again == config
    assert canonical(again) == canonical(config)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("${X}"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


def places(value: object, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(inner for key, one in below for inner in places(one, (*place, key)))]


def replaced(value: Any, place: tuple[Any, ...], by: object) -> Any:
    if not place:
        return by
    copy = value.copy()
    copy[place[0]] = replaced(value[place[0]], place[1:], by)
    return copy


def assert_answered(answer: LoadedConfig | list[ConfigError], text: str) -> None:
    if isinstance(answer, LoadedConfig):
        assert Gateway.model_validate_json(canonical(answer.config)) == answer.config
        return
    assert answer == sorted(answer)
    assert answer
    for error in answer:
        assert 1 <= error.line <= len(text.splitlines()) + 1
        assert error.column >= 1
        assert error.message.isprintable()
        assert "pydantic" not in error.message


@given(DOCUMENTS, st.data())
def test_a_valid_file_with_anything_put_in_is_answered(document: dict[str, Any], data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(document)))
    text = yaml.safe_dump(replaced(document, place, data.draw(ANYTHING)), allow_unicode=True)

    assert_answered(parse(text, {"X": "1"}), text)


@given(DOCUMENTS, st.data())
def test_a_valid_file_with_a_part_torn_out_is_answered(document: dict[str, Any], data: st.DataObject) -> None:
    text = yaml.safe_dump(document, default_flow_style=data.draw(st.booleans()))
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    torn = text[:start] + text[end:]

    assert_answered(parse(torn), torn)


@given(ANYTHING)
def test_any_yaml_is_answered(value: object) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)

    assert_answered(parse(text), text)


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)

    assert_answered(load_config(path, {}), content.decode(errors="replace"))
