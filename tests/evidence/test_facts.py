"""What is read of a mirrored request: the values of its slices and its sequence, from JSON and from binary bodies."""

import json
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.offer import Offer
from gateway.core.snapshot import Model
from gateway.evidence.facts import MAX_VALUE_CHARS, Facts, field, read_facts
from tests.support.shadowing import an_offer, snapshot_of

SLICES = {
    "carrier": "tenant",
    "origin": "input:origin",
    "distance": "input:distance",
    "answered_by": "version",
    "region": "header:X-Region",
}


def a_model(protocol: str = "open-inference", **slices: str) -> Model:
    return snapshot_of("2", protocol=protocol, slices=slices).models["m"]


def facts_of(body: object, model: Model, **changes: Any) -> Facts:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_facts(an_offer(body=content, **changes), model)


def tensor(name: str, data: object, **keys: object) -> dict[str, object]:
    return {"name": name, "datatype": "BYTES", "shape": [1], "data": data, **keys}


def binary(head: dict[str, object], tail: bytes, more: bytes = b"") -> Offer:
    """An inference request whose tensors follow its JSON part."""
    text = json.dumps(head).encode()
    fields = b"host: m\r\ninference-header-content-length: %d\r\n" % len(text)
    return an_offer(body=text + tail, fields=fields + more)


def test_an_ordinary_request_is_not_read_at_all() -> None:
    found = facts_of(b"\xff no JSON", a_model())

    assert found == Facts({}, "", False)


def test_every_source_gives_its_value() -> None:
    body = {"inputs": [tensor("distance", [719.0, 5.0]), tensor("origin", [["JFK"], ["LGA"]])]}

    found = facts_of(body, a_model(**SLICES), tenant="UA", fields=b"host: a\r\nx-region: east\r\n")

    assert found.slices == {
        "carrier": "UA",
        "origin": "JFK",
        "distance": "719.0",
        "answered_by": "champion",
        "region": "east",
    }


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ({"origin": "JFK"}, "JFK"),
        ({"origin": 7}, "7"),
        ({"origin": ["EWR", "JFK"]}, "EWR"),
        ({"origin": True}, "true"),
        ({"origin": False}, "false"),
        ({"origin": None}, ""),
        ({"origin": {"code": "JFK"}}, ""),
        ({"origin": []}, ""),
        ({"other": "JFK"}, ""),
        ({"inputs": [{"name": "origin", "data": ["LGA"]}], "origin": "JFK"}, "JFK"),
        ({"inputs": "none", "origin": "JFK"}, "JFK"),
        ({"parameters": {"origin": "SFO"}}, "SFO"),
        ([{"origin": "JFK"}], ""),
        ("origin", ""),
    ],
)
def test_a_plain_json_body_has_its_values_at_the_top(body: object, value: str) -> None:
    assert facts_of(body, a_model("json", origin="input:origin")).slices == {"origin": value}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ({"inputs": [tensor("origin", ["JFK"])]}, "JFK"),
        ({"inputs": [tensor("origin", [])]}, ""),
        ({"inputs": [tensor("origin", [[[]]])]}, ""),
        ({"inputs": [tensor("origin", [None])]}, ""),
        ({"inputs": [tensor("origin", [True])]}, "true"),
        ({"inputs": [tensor("other", ["JFK"])]}, ""),
        ({"inputs": [tensor("other", ["JFK"])], "parameters": {"origin": "SFO"}}, "SFO"),
        ({"inputs": []}, ""),
        ({}, ""),
        (b"", ""),
        (b"not JSON", ""),
        (b'{"inputs":[{"name":"origin","data":["J\xff"]}]}', ""),
        (b'{"inputs":' + b"[" * 100_000, ""),
        (b'{"inputs":[{"name":"origin","data":[' + b"9" * 5000 + b"]}]}", ""),
    ],
)
def test_an_inference_request_has_its_values_in_its_inputs(body: object, value: str) -> None:
    assert facts_of(body, a_model(origin="input:origin")).slices == {"origin": value}


def test_a_value_is_cut_to_a_bound() -> None:
    long = "x" * 5000
    model = a_model(origin="input:origin", region="header:x-region", other="input:other")

    found = facts_of(
        {"inputs": [tensor("origin", [long])], "parameters": {"other": long}},
        model,
        fields=b"x-region: " + long.encode() + b"\r\n",
    )

    assert set(map(len, found.slices.values())) == {MAX_VALUE_CHARS}


ELEMENTS = [
    ("BYTES", struct.pack("<I", 3) + b"JFK" + struct.pack("<I", 3) + b"LGA", "JFK"),
    ("BYTES", struct.pack("<I", 0), ""),
    ("BYTES", struct.pack("<I", 2) + b"\xff\xfe", "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"),
    ("BYTES", struct.pack("<I", 900) + b"short", ""),
    ("BYTES", b"\1", ""),
    ("BYTES", struct.pack("<I", 500) + b"x" * 500, "x" * MAX_VALUE_CHARS),
    ("BOOL", b"\1\0", "true"),
    ("INT8", b"\xff", "-1"),
    ("UINT8", b"\xff", "255"),
    ("INT16", struct.pack("<h", -300), "-300"),
    ("UINT16", struct.pack("<H", 300), "300"),
    ("INT32", struct.pack("<ii", 1, 2), "1"),
    ("UINT32", struct.pack("<I", 2**32 - 1), str(2**32 - 1)),
    ("INT64", struct.pack("<q", -(2**63)), str(-(2**63))),
    ("UINT64", struct.pack("<Q", 2**64 - 1), str(2**64 - 1)),
    ("FP16", struct.pack("<e", 0.5), "0.5"),
    ("FP32", struct.pack("<f", 719.0), "719.0"),
    ("FP64", struct.pack("<d", 0.1), "0.1"),
    ("FP64", b"\0\0", ""),
    ("INT64", b"", ""),
    ("COMPLEX", b"\0" * 8, ""),
]


@pytest.mark.parametrize(("datatype", "content", "value"), ELEMENTS, ids=[f"{e[0]}-{len(e[1])}" for e in ELEMENTS])
def test_a_binary_tensor_has_its_value_behind_the_json_part(datatype: str, content: bytes, value: str) -> None:
    sizes = {"parameters": {"binary_data_size": len(content)}}
    head: dict[str, object] = {
        "inputs": [
            {"name": "first", "datatype": "INT32", "shape": [1], "parameters": {"binary_data_size": 4}},
            {"name": "json", "datatype": "INT32", "shape": [1], "data": [1]},
            {"name": "origin", "datatype": datatype, "shape": [1], **sizes},
        ]
    }

    found = read_facts(binary(head, b"abcd" + content + b"behind"), a_model(origin="input:origin"))

    assert found.slices == {"origin": value}


@pytest.mark.parametrize("size", [-4, 10**30, "4", None, 4.0])
def test_a_binary_size_that_cannot_be_gives_no_value(size: object) -> None:
    head: dict[str, object] = {
        "inputs": [
            {"name": "first", "datatype": "INT32", "shape": [1], "parameters": {"binary_data_size": size}},
            {"name": "origin", "datatype": "INT32", "shape": [1], "parameters": {"binary_data_size": 4}},
        ]
    }

    assert read_facts(binary(head, b"\1\0\0\0\2\0\0\0"), a_model(origin="input:origin")).slices["origin"] in ("", "1")


def test_json_and_binary_inputs_stand_side_by_side() -> None:
    head: dict[str, object] = {
        "inputs": [
            tensor("origin", ["JFK"]),
            {"name": "distance", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}},
        ],
        "parameters": {"sequence_id": 5},
    }

    found = read_facts(
        binary(head, struct.pack("<f", 2.5), more=b"x-region: west\r\n"),
        a_model(origin="input:origin", distance="input:distance", region="header:x-region"),
    )

    assert found == Facts({"origin": "JFK", "distance": "2.5", "region": "west"}, "5", False)


@pytest.mark.parametrize("length", [b"x", b"-1", b"999999999999", b"0", b"5"])
def test_a_head_length_that_is_wrong_gives_no_value(length: bytes) -> None:
    fields = b"inference-header-content-length: " + length + b"\r\n"
    offer = an_offer(body=b'{"inputs":[{"name":"origin"}]}', fields=fields)

    assert read_facts(offer, a_model(origin="input:origin")).slices == {"origin": ""}


@pytest.mark.parametrize(
    ("parameters", "sequence", "starts"),
    [
        ({"sequence_id": 42, "sequence_start": True}, "42", True),
        ({"sequence_id": "talk-1"}, "talk-1", False),
        ({"sequence_id": 42, "sequence_start": False}, "42", False),
        ({"sequence_id": 42, "sequence_start": "true"}, "42", False),
        # 0 and the empty text say "no sequence" (Triton's sequence extension).
        ({"sequence_id": 0, "sequence_start": True}, "", False),
        ({"sequence_id": ""}, "", False),
        ({"sequence_id": True}, "", False),
        ({"sequence_id": 1.5}, "", False),
        ({"sequence_id": None}, "", False),
        ({"sequence_id": {"of": 1}}, "", False),
        ({"sequence_start": True}, "", False),
    ],
)
@pytest.mark.parametrize("protocol", ["open-inference", "json"])
def test_a_sequence_is_known_by_its_id(
    protocol: str, parameters: dict[str, object], sequence: str, starts: bool
) -> None:
    body = {"inputs": [], "parameters": parameters}

    found = facts_of(body, a_model(protocol))

    assert (found.sequence, found.starts) == (sequence, starts)


def test_a_long_sequence_id_is_kept_short_and_apart() -> None:
    model = a_model()
    one, other = ({"parameters": {"sequence_id": "x" * 100_000 + last}} for last in "ab")

    assert len(facts_of(one, model).sequence) <= 128
    assert facts_of(one, model).sequence == facts_of(one, model).sequence != facts_of(other, model).sequence


@pytest.mark.parametrize(
    ("section", "value"),
    [
        (b"x-a: 1\r\n", b"1"),
        (b"x-b: 2\r\nx-a: 1\r\n", b"1"),
        (b"x-a: 1\r\nx-b: 2\r\nx-a: 3\r\n", b"1"),
        (b"x-b: 2\r\nx-a: 1\r\nx-a: 3\r\n", b"1"),
        (b"xx-a: 2\r\nx-a: 1\r\n", b"1"),
        (b"x-b: x-a: 9\r\nx-a: 1\r\n", b"1"),
        (b"x-a: \r\n", b""),
        (b"x-ab: 2\r\n", b""),
        (b"", b""),
    ],
)
def test_the_first_value_of_a_field_is_found(section: bytes, value: bytes) -> None:
    assert field(section, b"x-a") == value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["inputs", "parameters", "name", "data", "sequence_id", "origin"]), inner)
    ),
    max_leaves=20,
)


@given(JSON, st.sampled_from(["open-inference", "json"]))
def test_no_json_body_fails_and_every_value_can_be_written_down(body: object, protocol: str) -> None:
    found = facts_of(body, a_model(protocol, origin="input:origin"))

    assert msgspec.json.decode(msgspec.json.encode(found.slices)) == found.slices


@given(st.binary(max_size=200), st.integers(0, 300), st.sampled_from(["open-inference", "json"]))
def test_no_bytes_fail(content: bytes, length: int, protocol: str) -> None:
    fields = b"inference-header-content-length: %d\r\n" % length
    body = b'{"inputs":[{"name":"origin","datatype":"BYTES","parameters":{"binary_data_size":9}}]}' + content

    for one in (content, body, b'"sequence_id"' + content):
        read_facts(an_offer(body=one, fields=fields), a_model(protocol, origin="input:origin"))
