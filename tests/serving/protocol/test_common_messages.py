"""Protobuf requests read in C: what the library and Python read, and nothing that they would reject."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import MIXED, NUMBERS

from headway.core.errors import DataError
from headway.serving.grpc._server import INFERENCE, decode_request, message_target, parse_message
from headway.serving.protocol.open_inference import RequestReader

REQUEST = INFERENCE["ModelInferRequest"]
READERS = {"numbers": RequestReader(NUMBERS), "mixed": RequestReader(MIXED)}
KEY = {"key": {"string_param": "k-ü"}}


def by_library(name: str, content: bytes) -> tuple[object, ...]:
    """Return what the library and Python read from a message, or how they reject it."""
    try:
        message = parse_message(REQUEST, content)
        decoded = READERS[name].decode(decode_request(message, READERS[name]))
    except DataError as error:
        return str(error), error.where, error.hint
    how = decoded.key, bool(message.raw_input_contents), decoded.timeout_us
    return decoded.rows.shape, decoded.rows.tobytes(), message.id, *how


def in_c(name: str, content: bytes) -> tuple[object, ...] | None:
    """Return what is read from a message in C."""
    decoded = READERS[name].read_message(content)
    if decoded is None:
        return None
    assert decoded.rows.dtype == np.float64 and decoded.rows.flags.c_contiguous and decoded.rows.flags.writeable
    how = decoded.key, decoded.binary, decoded.timeout_us
    return decoded.rows.shape, decoded.rows.tobytes(), decoded.id, *how


def strings(*values: str) -> bytes:
    """Pack strings behind their lengths."""
    return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)


def request(*inputs: dict[str, Any], raw: list[bytes] | None = None, **more: Any) -> bytes:
    """Return a message with these inputs."""
    fields = {"model_name": "flights", "inputs": list(inputs), "raw_input_contents": raw or [], **more}
    return bytes(REQUEST(**fields).SerializeToString())


def make_input(name: str, shape: list[int], datatype: str = "FP64", **contents: object) -> dict[str, Any]:
    """Return one input, with typed contents if there are any."""
    return {"name": name, "shape": shape, "datatype": datatype, **({"contents": contents} if contents else {})}


A, B, C = (make_input(name, [2]) for name in "abc")
TYPED = [make_input(name, [2, 1], fp64_contents=[1.5, np.nan]) for name in "abc"]
TWO = [struct.pack("<2d", *values) for values in ((1, 2), (np.nan, -0.0), (1e300, 5e-324))]
MATRIX, SIX = make_input("rows", [2, 3]), struct.pack("<6d", *range(6))
SIZE, CARRIER = make_input("size", [2]), make_input("carrier", [2], "BYTES")
UNSEEN_NAN = struct.pack("<2Q", 0x7FF8_0000_0000_5EED, 0xFFF0_0000_0000_0001)
COMMON = [
    ("numbers", request(A, B, C, raw=TWO)),
    ("numbers", request(C, A, B, raw=TWO, id="7", parameters=KEY, outputs=[{"name": "probability"}])),
    ("numbers", request(A, B, C, raw=[*TWO[:2], UNSEEN_NAN])),
    ("numbers", request(A, B, make_input("c", [2, 1], "FP32"), raw=[*TWO[:2], struct.pack("<2f", 0.1, np.nan)])),
    ("numbers", request(A, B, make_input("c", [2], "INT64"), raw=[*TWO[:2], struct.pack("<2q", -(2**53), 2**53)])),
    ("numbers", request(A, B, make_input("c", [2], "INT32"), raw=[*TWO[:2], struct.pack("<2i", -(2**31), 7)])),
    ("numbers", request(MATRIX, raw=[SIX])),
    ("numbers", request(*TYPED)),
    ("numbers", request(make_input("x", [2, 3], "FP32", fp32_contents=[0.1, 1, 2, 3, 4, 5]))),
    ("mixed", request(SIZE, CARRIER, raw=[TWO[0], strings("UA", "AA")])),
    ("mixed", request(CARRIER, SIZE, raw=[strings("UA", "AA"), TWO[0]])),
]
INFINITE = struct.pack("<2d", np.inf, 0)
UNCOMMON = [
    ("numbers", b""),
    ("numbers", request(A, B, C, raw=TWO)[:-1]),
    ("numbers", request(A, B, C, raw=TWO) + b"\x0a\x01x"),
    ("numbers", request(A, B, C, raw=TWO) + b"\x48\x01"),
    ("numbers", request(A, B, C, raw=TWO) + b"\x4d\x01\x01\x01\x01"),
    ("numbers", request(A, B, C, raw=TWO) + b"\xfa\x01\x00"),
    ("numbers", request(A, B, C, raw=TWO) + b"\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    ("numbers", request(A, B, C, raw=TWO, parameters={"key": {"int64_param": 1}})),
    ("numbers", request(A, B, C, raw=TWO, parameters={"timeout": {"int64_param": 1}})),
    ("numbers", request(A, B, C, raw=TWO, parameters={"other": {"string_param": "x"}})),
    ("numbers", request(A, B, C, raw=TWO, parameters=KEY) + b"\x22\x0a\x0a\x03key\x12\x03\x1a\x01b"),
    ("numbers", request(A, B, C, raw=TWO) + b"\x22\x02\x18\x01"),
    ("numbers", request(A, B, C, raw=TWO) + b"\x22\x05\x0a\x03key"),
    ("numbers", request(A, B, C, raw=TWO) + b"\x22\x05\x12\x03\x1a\x01b"),
    ("numbers", request(A, B, C, raw=TWO) + b"\x22\x02\x0a\x05"),
    ("numbers", request(A, B, C, raw=TWO, outputs=[{"name": "other"}])),
    ("numbers", request(A, B, C, raw=TWO, outputs=[{"name": "probability"}] * 2)),
    ("numbers", request(A, B, C, raw=TWO, outputs=[{"name": "probability", "parameters": KEY}])),
    ("numbers", request(A, B, C, raw=TWO[:2])),
    ("numbers", request(A, B, C, raw=[*TWO, b""])),
    ("numbers", request(A, B, C, raw=[*TWO, b"", b""])),
    ("numbers", request(A, B, C, B, raw=[*TWO, TWO[1]])),
    ("numbers", request(A, B, C, B, B, raw=[*TWO, TWO[1], TWO[1]])),
    ("numbers", request(A, B, raw=TWO[:2])),
    ("numbers", request(A, B, C, raw=[*TWO[:2], INFINITE])),
    ("numbers", request(A, B, C, raw=[*TWO[:2], b"1" * 15])),
    ("numbers", request(A, B, C, raw=[*TWO[:2], b"1" * 24])),
    ("numbers", request(A, B, make_input("c", [2], "INT64"), raw=[*TWO[:2], struct.pack("<2q", 2**53 + 1, 0)])),
    ("numbers", request(A, B, make_input("c", [2], "INT64"), raw=[*TWO[:2], struct.pack("<2q", -(2**53) - 1, 0)])),
    ("numbers", request(A, B, make_input("c", [2], "FP32"), raw=[*TWO[:2], struct.pack("<2f", np.inf, 0)])),
    ("numbers", request(A, B, make_input("c", [2], "INT8"), raw=[*TWO[:2], b"12"])),
    ("numbers", request(A, B, make_input("c", [2], "BYTES"), raw=[*TWO[:2], strings("1", "2")])),
    ("numbers", request(A, B, make_input("c", [2, 2]), raw=[*TWO[:2], TWO[0] * 2])),
    ("numbers", request(A, B, make_input("c", [2, 1, 1]), raw=TWO)),
    ("numbers", request(A, B, make_input("c", [0]), raw=[*TWO[:2], b""])),
    ("numbers", request(A, B, make_input("c", [-2]), raw=TWO)),
    ("numbers", request(A, B, make_input("c", [10**9]), raw=TWO)),
    ("numbers", request(A, B, make_input("c", []), raw=TWO)),
    ("numbers", request(A, B, make_input("", [2]), raw=TWO)),
    ("numbers", request(A, B, make_input("c", [2], ""), raw=TWO)),
    ("numbers", request(A, B, {**C, "parameters": KEY}, raw=TWO)),
    ("numbers", request(*TYPED, raw=TWO)),
    ("numbers", request(A, *TYPED[1:])),
    ("numbers", request(*TYPED[:2], C)),
    ("numbers", request(*TYPED[:2], make_input("c", [2], "FP32", fp64_contents=[1, 2]))),
    ("numbers", request(*TYPED[:2], make_input("c", [2], fp64_contents=[1, 2], fp32_contents=[1]))),
    ("numbers", request(*TYPED[:2], make_input("c", [2], fp64_contents=[1, np.inf]))),
    ("numbers", request(*TYPED[:2], make_input("c", [2], "INT64", int64_contents=[1, 2]))),
    ("numbers", request(*TYPED[:2], {"name": "c", "shape": [2], "datatype": "FP64", "contents": {}})),
    ("numbers", request(MATRIX, MATRIX, raw=[SIX, SIX])),
    ("numbers", request(make_input("ü", [2, 3]), raw=[SIX])),
    ("mixed", request(SIZE, CARRIER, raw=[TWO[0], strings("UA", "??")])),
    ("mixed", request(SIZE, CARRIER, raw=[TWO[0], strings("UA")])),
    ("mixed", request(SIZE, CARRIER, raw=[TWO[0], strings("UA", "AA") + b"\0"])),
    ("mixed", request(SIZE, CARRIER, raw=[TWO[0], strings("UA", "AA")[:-1]])),
    ("mixed", request(SIZE, CARRIER, raw=[TWO[0], strings("UA") + b"\x01\0\0\0\xff"])),
    ("mixed", request(make_input("size", [2], "BYTES"), CARRIER, raw=[strings("UA", "AA")] * 2)),
    ("mixed", request(make_input("x", [1, 2]), raw=[TWO[0]])),
]


@pytest.mark.kernels
@pytest.mark.parametrize(("name", "content"), COMMON)
def test_a_common_message_is_read_in_c_as_the_library_reads_it(name: str, content: bytes) -> None:
    assert in_c(name, content) == by_library(name, content)


@pytest.mark.kernels
@pytest.mark.parametrize(("name", "content"), UNCOMMON)
def test_any_other_message_is_left_to_the_library(name: str, content: bytes) -> None:
    assert in_c(name, content) is None


@pytest.mark.kernels
def test_shapes_that_are_not_packed_are_read_too() -> None:
    matrix = b"\x0a\x04rows\x12\x04FP64\x18\x02\x18\x03"
    content = b"\x2a" + bytes([len(matrix)]) + matrix + b"\x3a\x30" + SIX
    assert in_c("numbers", content) == by_library("numbers", content)


@pytest.mark.kernels
def test_texts_that_are_not_utf_8_are_left_to_the_library() -> None:
    for content in (
        request(A, B, C, raw=TWO) + b"\x1a\x01\xff",
        request(A, B, C, raw=TWO).replace(b"\x01c", b"\x01\xff"),
    ):
        assert in_c("numbers", content) is None
        assert len(by_library("numbers", content)) == 3  # an error


@pytest.mark.kernels
def test_the_target_of_a_message_is_found() -> None:
    assert message_target(request(A, raw=TWO)) == ("flights", "")
    assert message_target(request(A, model_version="3", id="x")) == ("flights", "3")
    assert message_target(b"") == ("", "")
    assert message_target(b"\x48\x01" * (1 << 18)) is None  # it would hold the interpreter for long
    for other in (b"\x0a\x01a\x0a\x01b", b"\x08\x01", b"\x0a\x01\xff", b"\x12\x01\xff", b"\x0a\x05a", b"\xff\xff"):
        assert message_target(other) is None
    with pytest.raises(TypeError):
        message_target("text")


@pytest.mark.slow
@given(st.sampled_from([*COMMON, *UNCOMMON]), st.data())
@settings(max_examples=400, deadline=None)
def test_a_mutated_message_is_read_as_the_library_reads_it_or_not_at_all(
    case: tuple[str, bytes], data: st.DataObject
) -> None:
    name, content = case
    changed = bytearray(content or b"\0")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        changed = changed or bytearray(b"\0")
    target, found = message_target(bytes(changed)), in_c(name, bytes(changed))
    if target is not None and found is not None:  # else the library reads it
        assert found == by_library(name, bytes(changed))
        message = parse_message(REQUEST, bytes(changed))
        assert target == (message.model_name, message.model_version)
