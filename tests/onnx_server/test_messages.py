"""Requests that fit the model and those that do not, and the form of the answers."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from gateway.onnx_server import messages
from gateway.onnx_server.errors import Refused
from gateway.onnx_server.messages import Codec, InferenceRequest
from gateway.onnx_server.session import Model
from tests.onnx_server import graphs

Json = dict[str, Any]


def two_inputs() -> bytes:
    """`sum` is `a` plus `b`; `text` is `word`."""
    return graphs.graph(
        [
            helper.make_node("Add", ["a", "b"], ["sum"]),
            helper.make_node("Identity", ["word"], ["text"]),
        ],
        [
            graphs.tensor("a", "FP32", ["N", 2]),
            graphs.tensor("b", "FP32", ["N", 2]),
            graphs.tensor("word", "BYTES", ["N", 1]),
        ],
        [graphs.tensor("sum", "FP32", ["N", 2]), graphs.tensor("text", "BYTES", ["N", 1])],
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return graphs.loaded(tmp_path_factory.mktemp("model"), two_inputs())


@pytest.fixture(scope="module")
def codec(model: Model) -> Codec:
    return Codec("m", "1", model)


def an_input(name: str = "a", **changes: object) -> Json:
    given = {"name": name, "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    if name == "word":
        given = {"name": name, "datatype": "BYTES", "shape": [1, 1], "data": ["x"]}
    return {key: value for key, value in {**given, **changes}.items() if value is not ...}


def a_request(*inputs: Json, **keys: object) -> Json:
    """A whole request; those of `inputs` replace the ones of the same name."""
    given = {name: an_input(name) for name in ("a", "b", "word")}
    given.update({replaced["name"]: replaced for replaced in inputs})
    return {"inputs": list(given.values()), **keys}


def decoded(codec: Codec, request: object, binary: bytes = b"") -> InferenceRequest:
    head = json.dumps(request).encode()
    return codec.decode(head + binary, len(head) if binary else None)


def test_a_request_becomes_one_array_per_input_in_the_order_of_the_model(codec: Codec) -> None:
    request = a_request(an_input("b", data=[[3, 4]]), id="7")
    request["inputs"].reverse()
    fitting = decoded(codec, request)
    assert [array.tolist() for array in fitting.inputs] == [[[1, 2]], [[3, 4]], [["x"]]]
    assert fitting.id == "7"
    assert [output.name for output in fitting.outputs] == ["sum", "text"]


def test_binary_and_json_tensors_mix_in_one_request(codec: Codec) -> None:
    sizes = {"parameters": {"binary_data_size": 8}, "data": ...}
    texts = {"parameters": {"binary_data_size": 7, "note": "any"}, "data": ...}
    request = a_request(an_input("b", **sizes), an_input("word", **texts))
    binary = np.array([5, 6], np.float32).tobytes() + b"\3\0\0\0abc"
    fitting = decoded(codec, request, binary)
    assert [array.tolist() for array in fitting.inputs] == [[[1, 2]], [[5, 6]], [["abc"]]]


def test_parameters_of_other_servers_are_tolerated(codec: Codec) -> None:
    parameters = {"sequence_id": 7, "priority": 3, "mine": {"any": ["thing"]}}
    request = a_request(an_input(parameters={"unit": "km"}), parameters=parameters, model="m")
    request["outputs"] = [{"name": "sum", "parameters": {"unit": "km"}}]
    assert decoded(codec, request).inputs[0].tolist() == [[1, 2]]


BINARY_8 = {"parameters": {"binary_data_size": 8}, "data": ...}


@pytest.mark.parametrize(
    ("request_", "binary", "words"),
    [
        ([], b"", "not an inference request: Expected `object`"),
        ({}, b"", "missing required field `inputs`"),
        ({"inputs": {}}, b"", "Expected `array`"),
        ({"inputs": []}, b"", "missing inputs: a, b, word"),
        ({"inputs": [{}]}, b"", r"missing required field `name` - at `\$.inputs\[0\]`"),
        (a_request(id=5), b"", r"Expected `str \| null`, got `int` - at `\$.id`"),
        (a_request(an_input("c")), b"", "no input 'c'; it has a, b, word"),
        ({"inputs": [an_input(), an_input()]}, b"", "input 'a' is given twice"),
        ({"inputs": [an_input()]}, b"", "missing inputs: b, word"),
        (a_request(an_input(datatype="FP64")), b"", "'a': the model takes datatype FP32"),
        (a_request(an_input(datatype="BF16")), b"", "datatype FP32, not 'BF16'"),
        (a_request(an_input(datatype="x" * 500)), b"", "not 'xxxx.*…"),
        (a_request(an_input(shape=[1, 3])), b"", r"takes shape \[-1, 2\], not \[1, 3\]"),
        (a_request(an_input(shape=[2])), b"", r"takes shape \[-1, 2\], not \[2\]"),
        (a_request(an_input(shape=[])), b"", r"takes shape \[-1, 2\], not \[\]"),
        (a_request(an_input(shape=[-1, 2])), b"", "Expected `int` >= 0"),
        (a_request(an_input(shape=[1.5, 2])), b"", "Expected `int`"),
        (a_request(an_input(shape=[2**60, 2])), b"", "Expected `int` <= "),
        (a_request(an_input(shape=[1] * 40)), b"", "Expected `array` of length <= 32"),
        (a_request(an_input(shape=[2, 2])), b"", "2 elements, shape .* wants 4"),
        (a_request(an_input(shape=[2**53, 2])), b"", "2 elements, shape .* wants"),
        (a_request(an_input(data=["1", "2"])), b"", "does not fit datatype FP32"),
        (a_request(an_input(data=[1e39, 0])), b"", "'a': a number is out of the range of FP32"),
        (a_request(an_input(data=...)), b"", "neither data nor binary_data_size"),
        (a_request(an_input(parameters={"binary_data_size": 8})), bytes(8), "both data and"),
        (a_request(an_input(**BINARY_8)), bytes(7), "7 bytes, FP32 .* wants 8"),
        (a_request(an_input(**BINARY_8)), bytes(9), "name 8 bytes .* has 9"),
        (a_request(an_input(**BINARY_8, shape=[2, 2])), bytes(8), "8 bytes, FP32 .* wants 16"),
        (a_request(an_input(parameters={"binary_data_size": -1})), b"", ">= 0"),
        (a_request(an_input(parameters={"binary_data_size": "8"})), b"", "got `str`"),
        (a_request(), bytes(3), "name 0 bytes of binary data, the body has 3"),
        (a_request(an_input(parameters={"shared_memory_region": "r"})), b"", "shared memory"),
        (a_request(outputs=[{"name": "other"}]), b"", "no output 'other'; it has sum, text"),
        (a_request(outputs=[{"name": "sum"}] * 2), b"", "requested twice"),
        (
            a_request(outputs=[{"name": "sum", "parameters": {"classification": 3}}]),
            b"",
            "classification extension is not offered",
        ),
        (
            a_request(outputs=[{"name": "sum", "parameters": {"shared_memory_region": "r"}}]),
            b"",
            "shared memory is not offered",
        ),
    ],
)
def test_a_request_that_does_not_fit_says_where(request_: object, binary: bytes, words: str, codec: Codec) -> None:
    with pytest.raises(Refused, match=words) as refused:
        decoded(codec, request_, binary)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"inputs": [NaN]}',
        b'{"inputs": []} {}',
        b'{"inputs": [{"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [1, NaN]}]}',
        b'{"inputs": [{"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [1, 2}]}',
        b'{"inputs": [{"name": "\xff", "shape": [1], "datatype": "FP32", "data": []}]}',
        b'{"inputs": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"parameters": ' + b"[" * 100_000,
        b'{"inputs": [{"name": "a", "shape": [1, 2], "datatype": "FP32", "data": '
        + b"[" * 5_000
        + b"]" * 5_000
        + b"}]}",
    ],
)
def test_a_body_that_is_no_json_is_refused(body: bytes, codec: Codec) -> None:
    with pytest.raises(Refused) as refused:
        codec.decode(body, None)
    assert refused.value.status == 400


def test_texts_that_are_not_utf_8_are_refused(codec: Codec) -> None:
    body = json.dumps(a_request(an_input("word", data=["?"]))).encode().replace(b"?", b"\xff")
    with pytest.raises(Refused, match="'word': data is not valid") as refused:
        codec.decode(body, None)
    assert refused.value.status == 400


def test_a_json_part_longer_than_the_body_is_refused(codec: Codec) -> None:
    with pytest.raises(Refused, match="is 3, the body has 2 bytes"):
        codec.decode(b"{}", 3)


def test_json_beyond_its_bound_is_refused_before_it_is_read(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_JSON_BYTES", 10)
    with pytest.raises(Refused, match="as binary data") as refused:
        codec.decode(b"{" * 11, None)
    assert refused.value.status == 413


def test_an_empty_tensor_cannot_be_described_to_be_huge(tmp_path: Path) -> None:
    codec = Codec("m", "1", graphs.loaded(tmp_path, graphs.identity("FP32", [None, None])))
    given = {"name": "x", "datatype": "FP32", "shape": [2**50, 0], "data": []}
    with pytest.raises(Refused, match="no elements but is too large"):
        decoded(codec, {"inputs": [given]})
    given["shape"] = [1000, 0]
    assert decoded(codec, {"inputs": [given]}).inputs[0].shape == (1000, 0)


def test_an_output_that_is_no_tensor_is_refused_with_its_type(tmp_path: Path) -> None:
    codec = Codec("m", "1", graphs.loaded(tmp_path, graphs.score_and_map()))
    given = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0, 1]}
    with pytest.raises(Refused, match=r"output 'by_name' is seq\(map.*export it as a tensor"):
        decoded(codec, {"inputs": [given], "outputs": [{"name": "by_name"}]})


RESULTS = {"sum": np.array([[0.5, 2.5]], np.float32), "text": np.array([["é"]], object)}


def answered(codec: Codec, request: Json) -> tuple[Json, bytes, int | None]:
    fitting = decoded(codec, request)
    results = [RESULTS[output.name] for output in fitting.outputs]
    body, length = codec.encode(fitting, results)
    return json.loads(body[:length]), body[length or len(body) :], length


SUM = {"name": "sum", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 2.5]}
TEXT = {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["é"]}


def test_an_answer_has_the_models_outputs_and_the_requests_id(codec: Codec) -> None:
    head, binary, length = answered(codec, a_request(id="no. 7"))
    assert head == {"model_name": "m", "model_version": "1", "id": "no. 7", "outputs": [SUM, TEXT]}
    assert (binary, length) == (b"", None)


def test_an_answer_to_a_request_without_id_has_none(codec: Codec) -> None:
    assert "id" not in answered(codec, a_request())[0]


def test_an_answer_has_only_the_outputs_that_were_asked_for_in_their_order(codec: Codec) -> None:
    named = {"outputs": [{"name": "text"}, {"name": "sum"}]}
    assert answered(codec, a_request(**named))[0]["outputs"] == [TEXT, SUM]
    assert answered(codec, a_request(outputs=[{"name": "text"}]))[0]["outputs"] == [TEXT]
    assert answered(codec, a_request(outputs=[]))[0]["outputs"] == [SUM, TEXT]


def in_binary(output: Json, size: int) -> Json:
    described = {key: value for key, value in output.items() if key != "data"}
    return {**described, "parameters": {"binary_data_size": size}}


def test_all_outputs_are_binary_when_the_request_says_so(codec: Codec) -> None:
    head, binary, length = answered(codec, a_request(parameters={"binary_data_output": True}))
    assert head["outputs"] == [in_binary(SUM, 8), in_binary(TEXT, 6)]
    assert binary == RESULTS["sum"].tobytes() + b"\2\0\0\0\xc3\xa9"
    assert length is not None


def test_one_outputs_form_overrides_that_of_the_request(codec: Codec) -> None:
    outputs = [
        {"name": "sum", "parameters": {"binary_data": False}},
        {"name": "text", "parameters": {"binary_data": True}},
    ]
    for all_binary in (True, False):
        request = a_request(parameters={"binary_data_output": all_binary}, outputs=outputs)
        head, binary, _ = answered(codec, request)
        assert head["outputs"] == [SUM, in_binary(TEXT, 6)]
        assert binary == b"\2\0\0\0\xc3\xa9"


def test_what_json_cannot_say_is_null(codec: Codec) -> None:
    fitting = decoded(codec, a_request(outputs=[{"name": "sum"}]))
    body, _ = codec.encode(fitting, [np.array([[math.nan, math.inf]], np.float32)])
    assert json.loads(body)["outputs"][0]["data"] == [None, None]
