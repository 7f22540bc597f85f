"""Reading an answer's bytes: JSON, binary tensors, everything that is neither, and whole pairs."""

import json
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.evidence.compare import Rule, answers, compile_rule
from gateway.evidence.compare.answers import MAX_DEPTH, Body, Undecodable, decode
from gateway.evidence.compare.bodies import Uncompared, compare_bodies
from gateway.evidence.compare.values import Json


def binary(*tensors: tuple[str, str, bytes], tail: bytes = b"", **changes: Json) -> Body:
    outputs = [
        {"name": name, "datatype": datatype, "shape": [1], "parameters": {"binary_data_size": len(raw)}}
        for name, datatype, raw in tensors
    ]
    if changes:
        outputs[0].update(changes)
    head = json.dumps({"model_name": "m", "outputs": outputs}).encode()
    content = head + b"".join(raw for _, _, raw in tensors) + tail
    return Body(content, "application/octet-stream", str(len(head)))


def data_of(body: Body, output: int = 0) -> Json:
    answer = decode(body)
    assert isinstance(answer, dict), answer
    return answer["outputs"][output]["data"]


def reason(body: Body) -> str:
    found = decode(body)
    assert isinstance(found, Undecodable), found
    assert found.detail
    return found.reason


@pytest.mark.parametrize("content_type", ["", "application/json", "application/json; charset=utf-8", "text/html"])
def test_json_is_json_whatever_it_is_called(content_type: str) -> None:
    assert decode(Body(b'{"a": [1, 2.5, "x", null, true]}', content_type)) == {"a": [1, 2.5, "x", None, True]}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"NaN", b'{"a": Infinity}', b"1e999", b'"\xff"', b"\xff\xfe", b'"\\ud800"',
     b"data: {}\n\n", b"<html>", b"\x1f\x8b\x08", b"[1,]", b"{} {}"],
)  # fmt: skip
def test_what_is_not_strict_json_is_no_answer(content: bytes) -> None:
    assert reason(Body(content, "text/plain")) == "not_json"


def test_the_content_type_explains_a_failure_and_is_cut_short() -> None:
    found = decode(Body(b"data: 1", "text/event-stream" + "x" * 5000))
    assert isinstance(found, Undecodable)
    assert "text/event-stream" in found.detail
    assert len(found.detail) < 300


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_has_a_bound(opening: bytes, closing: bytes) -> None:
    def nested(depth: int) -> Body:
        return Body(opening * depth + b"1" + closing * depth)

    assert not isinstance(decode(nested(MAX_DEPTH)), Undecodable)
    assert reason(nested(MAX_DEPTH + 1)) == "too_deep"
    assert reason(nested(100_000)) == "too_deep"


def test_many_brackets_side_by_side_are_not_deep() -> None:
    rows = [[[n], {}] for n in range(1000)]
    assert decode(Body(json.dumps(rows).encode())) == rows


@pytest.mark.interpreted
def test_values_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_ELEMENTS", 10)
    assert decode(Body(json.dumps([10**9] * 10).encode())) == [10**9] * 10
    assert reason(Body(json.dumps([1] * 11).encode())) == "too_many"
    assert data_of(binary(("x", "UINT8", bytes(10)))) == [0] * 10
    assert reason(binary(("x", "UINT8", bytes(11)))) == "too_many"
    assert reason(binary(("x", "BOOL", bytes(6)), ("y", "FP64", bytes(40)))) == "too_many"
    assert reason(binary(("x", "BYTES", bytes(44)))) == "too_many"
    assert reason(binary(("x", "BOOL", bytes(11)))) == "too_many"


@pytest.mark.parametrize(
    ("datatype", "values", "kind"),
    [
        ("INT8", [-128, 0, 127], "<i1"),
        ("INT16", [-(2**15), 2**15 - 1], "<i2"),
        ("INT32", [-(2**31), 2**31 - 1], "<i4"),
        ("INT64", [-(2**63), 2**63 - 1], "<i8"),
        ("UINT8", [0, 255], "<u1"),
        ("UINT16", [0, 2**16 - 1], "<u2"),
        ("UINT32", [0, 2**32 - 1], "<u4"),
        ("UINT64", [0, 2**64 - 1], "<u8"),
        ("FP16", [0.5, -65504.0, 2.0**-24], "<f2"),
        ("FP32", [0.5, -1.0, 2.0**-149], "<f4"),
        ("FP64", [0.1, -1e300], "<f8"),
    ],
)
def test_numbers_come_out_of_binary_tensors_exactly(datatype: str, values: list[Json], kind: str) -> None:
    found = data_of(binary(("x", datatype, np.array(values, dtype=kind).tobytes())))
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]
    assert data_of(binary(("x", datatype, b""))) == []


def test_other_datatypes_come_out_of_binary_tensors() -> None:
    assert data_of(binary(("x", "BOOL", b"\x00\x01\x02"))) == [False, True, True]
    assert data_of(binary(("x", "BF16", struct.pack("<3H", 0x3F80, 0xC000, 0x7F80)))) == [
        1.0, -2.0, float("inf"),
    ]  # fmt: skip
    text = b"".join(struct.pack("<I", len(one)) + one for one in (b"", "né".encode(), b"\xff\x00"))
    assert data_of(binary(("x", "BYTES", text))) == ["", "né", "\udcff\x00"]


def test_a_binary_tensor_reads_as_if_it_had_been_sent_as_json() -> None:
    mixed = {"model_name": "m", "outputs": [
        {"name": "a", "datatype": "INT32", "shape": [2], "parameters": {"binary_data_size": 8, "x": 1}},
        {"name": "b", "datatype": "FP32", "shape": [1], "data": [0.5]},
        {"name": "c", "datatype": "UINT8", "shape": [1], "parameters": {"binary_data_size": 1}},
    ]}  # fmt: skip
    head = json.dumps(mixed).encode()
    answer = decode(Body(head + struct.pack("<2iB", 7, -7, 9), "", str(len(head))))
    assert answer == {"model_name": "m", "outputs": [
        {"name": "a", "datatype": "INT32", "shape": [2], "data": [7, -7], "parameters": {"x": 1}},
        {"name": "b", "datatype": "FP32", "shape": [1], "data": [0.5]},
        {"name": "c", "datatype": "UINT8", "shape": [1], "data": [9]},
    ]}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (Body(b"{}", "", "3"), "head_length"),
        (Body(b"{}", "", "-1"), "head_length"),
        (Body(b"{}", "", "2.0"), "head_length"),
        (Body(b"{}", "", " 2"), "head_length"),
        (Body(b"{}", "", "٢"), "head_length"),
        (Body(b"{}", "", "9" * 5000), "head_length"),
        (Body(b"{}", "", "0"), "not_json"),
        (Body(b"{}x", "", "1"), "not_json"),
        (Body(b"{}x", "", "2"), "binary_size"),
        (Body(b'{"outputs": 1}x', "", "14"), "binary_size"),
        (Body(b"[]x", "", "2"), "binary_size"),
        (binary(("x", "INT32", bytes(6))), "binary_size"),
        (binary(("x", "INT32", bytes(8)), tail=b"x"), "binary_size"),
        (binary(("x", "INT32", bytes(4)), parameters={"binary_data_size": 8}), "binary_size"),
        (binary(("x", "INT32", bytes(4)), parameters={"binary_data_size": -4}), "binary_size"),
        (binary(("x", "INT32", bytes(4)), parameters={"binary_data_size": "4"}), "binary_size"),
        (binary(("x", "INT32", bytes(4)), parameters={"binary_data_size": True}), "binary_size"),
        (binary(("x", "INT32", bytes(4)), parameters={"binary_data_size": 10**30}), "binary_size"),
        (binary(("x", "INT32", bytes(4)), parameters=4), "binary_size"),
        (binary(("x", "COMPLEX64", bytes(8))), "datatype"),
        (binary(("x", "INT32", bytes(4)), datatype=["INT32"]), "datatype"),
        (binary(("x", "BYTES", b"\x01\x00")), "binary_size"),
        (binary(("x", "BYTES", b"\x05\x00\x00\x00ab")), "binary_size"),
        (binary(("x", "BYTES", b"\xff\xff\xff\xff")), "binary_size"),
    ],
)
def test_a_binary_answer_that_does_not_add_up_is_no_answer(body: Body, why: str) -> None:
    assert reason(body) == why


def test_a_head_without_binary_outputs_is_the_whole_answer() -> None:
    assert decode(Body(b'{"outputs": [5, {"data": [1]}]}', "", "31")) == {"outputs": [5, {"data": [1]}]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


@given(json_values)
def test_any_json_is_read_as_it_was_written(value: Json) -> None:
    assert decode(Body(msgspec.json.encode(value))) == value


@given(st.binary() | json_values.map(msgspec.json.encode), st.text(), st.text() | st.integers(0, 50).map(str))
def test_no_bytes_and_no_header_raise(content: bytes, content_type: str, head_length: str) -> None:
    decode(Body(content, content_type, head_length))


@given(st.sampled_from(["BYTES", "BOOL", "BF16", "FP16", "INT64", "X"]), st.binary(), st.binary())
def test_no_tensor_bytes_raise(datatype: str, raw: bytes, tail: bytes) -> None:
    decode(binary(("x", datatype, raw), tail=tail))


LABEL = compile_rule(Rule("label", "label"))


def oip(label: int, **others: Json) -> bytes:
    return json.dumps({"outputs": [{"name": "label", "data": [label]}], **others}).encode()


def test_a_pair_of_bodies_is_decoded_and_compared() -> None:
    one, same, other = Body(oip(1, id="a")), Body(oip(1, id="b")), Body(oip(2, id="a"))
    assert compare_bodies(LABEL, one, same).agree
    assert compare_bodies(LABEL, one, other).paths == ("$.outputs[0].data[0]",)


def test_a_binary_answer_is_compared_with_a_json_one() -> None:
    raw = struct.pack("<q", 1)
    assert compare_bodies(LABEL, Body(oip(1)), binary(("label", "INT64", raw))).agree
    whole = compile_rule(Rule("json", ignore=("$.model_name", "$.outputs[*].shape")))
    assert compare_bodies(whole, Body(oip(1)), binary(("label", "INT64", raw))).paths == ("$.outputs[0].datatype",)


@pytest.mark.parametrize(
    ("content", "agrees"),
    [(oip(1), True), (b'{"label": 1}', True), (b'{"error": "x"}', False), (b'{"outputs": []}', False)],
)
def test_equal_bytes_agree_only_if_they_hold_the_output(content: bytes, agrees: bool) -> None:
    assert compare_bodies(LABEL, Body(content), Body(bytes(bytearray(content)))).agree is agrees


def test_equal_bytes_that_cannot_be_read_are_not_compared() -> None:
    found = compare_bodies(LABEL, Body(b"oops"), Body(b"oops"))
    assert isinstance(found, Uncompared)
    assert (found.role, found.cause.reason) == ("champion", "not_json")


def test_equal_bytes_under_another_head_length_are_read_each_for_itself() -> None:
    body = binary(("label", "UINT8", b"1"))
    found = compare_bodies(LABEL, body, Body(body.content))
    assert isinstance(found, Uncompared)
    assert (found.role, found.cause.reason) == ("challenger", "not_json")
