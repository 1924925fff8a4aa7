"""The binary tensor extension: raw values in requests and responses, and errors for invalid ones."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from running import MIXED, NUMBERS, Peer, ask, loaded, request, serving

from headway.core.errors import DataError
from headway.serving.http.connection import Request
from headway.serving.http.routes import HttpInference
from headway.serving.protocol.open_inference import RequestReader

INFER = "/v2/models/flights/infer"
DTYPES = {
    "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "BOOL": "?",
}  # fmt: skip
numbers, mixed = RequestReader(NUMBERS), RequestReader(MIXED)


def packed(*inputs: tuple[dict[str, object], bytes], **more: object) -> tuple[bytes, int]:
    """Return a body of inputs with their raw values behind the JSON, and the length of the JSON."""
    head = json.dumps({"inputs": [tensor for tensor, _ in inputs], **more}).encode()
    return head + b"".join(raw for _, raw in inputs), len(head)


def column(name: str, raw: bytes, datatype: str = "FP64", **fields: object) -> tuple[dict[str, object], bytes]:
    """Return one row of a column."""
    tensor = {"name": name, "shape": [1], "datatype": datatype, "parameters": {"binary_data_size": len(raw)}}
    return {**tensor, **fields}, raw


def texts(*values: str) -> bytes:
    return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)


def eight(value: float) -> bytes:
    return struct.pack("<d", value)


A, B, C = (column(name, eight(value)) for name, value in zip("abc", (1, 2, 6), strict=True))


@pytest.mark.parametrize(("datatype", "dtype"), DTYPES.items())
def test_a_matrix_of_each_datatype_is_read_exactly(datatype, dtype):
    values = np.array([[0, 1, 1], [1, 0, 1]], dtype=dtype)
    body, size = packed(column("rows", values.tobytes(), datatype, shape=[2, 3]))
    rows = numbers.read(body, size).rows
    assert rows.dtype == np.float64 and rows.flags.c_contiguous
    np.testing.assert_array_equal(rows, values)


def test_the_upper_half_of_a_float32_is_a_bf16():
    values = np.array([1.0, -2.5, np.nan], dtype="<f4")
    body, size = packed(column("rows", (values.view("<u4") >> 16).astype("<u2").tobytes(), "BF16", shape=[1, 3]))
    np.testing.assert_array_equal(numbers.read(body, size).rows, [[1.0, -2.5, np.nan]])


@pytest.mark.slow
@given(
    arrays.arrays("<f4", st.tuples(st.integers(1, 9), st.just(3)), elements=st.floats(width=32, allow_infinity=False))
)
def test_float32_columns_are_read_with_nan_as_missing(values):
    body, size = packed(
        *(column(name, values[:, at].tobytes(), "FP32", shape=[len(values)]) for at, name in enumerate("abc"))
    )
    np.testing.assert_array_equal(numbers.read(body, size).rows, values.astype(np.float64))


def test_strings_follow_their_lengths():
    body, size = packed(
        column("carrier", texts("WN", "", "AA"), "BYTES", shape=[3, 1]),
        column("size", np.array([4, 5, 6]).tobytes(), "INT64", shape=[3]),
    )
    np.testing.assert_array_equal(mixed.read(body, size).rows, [[4, 2], [5, np.nan], [6, 0]])


def test_one_input_may_be_raw_and_another_in_json():
    tensor = {"name": "b", "shape": [1], "datatype": "FP64", "data": [None]}
    body, size = packed(A, (tensor, b""), C)
    np.testing.assert_array_equal(numbers.read(bytearray(body), size).rows, [[1, np.nan, 6]])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([A, B, column("c", b"1234")], "input 'c' has 4 bytes, its shape [1] of FP64 needs 8"),
        ([A, B, column("c", eight(1), parameters={"binary_data_size": 9})], "binary_data_size of 9, but 8 bytes"),
        ([A, B, column("c", eight(1), parameters={"binary_data_size": -1})], "binary_data_size of -1"),
        ([A, B, column("c", eight(1), parameters={})], "input 'c' has no data"),
        ([A, B, ({"name": "c", "shape": [1], "datatype": "FP64", "data": [1]}, b"x")], "1 bytes are left"),
        ([column("rows", b"\0\1\2", "BOOL", shape=[1, 3])], "input 'rows' holds 2, which does not fit in BOOL"),
        ([A, B, column("c", eight(1), shape=[1] * 17)], "an input has 17 dimensions, at most 16 are allowed"),
        ([column("rows", b"", shape=[2**40] * 2)], "whose number of values does not fit in 64 bits"),
        ([A, B, C, A], "column 'a' occurs 2 times"),
        ([A, B, column("c", eight(1), "FP8")], "input 'c' is FP8, expected one of BOOL, FP16"),
        ([A, B, column("c", eight(float("inf")))], "input 'c' holds an infinity"),
        ([A, B, column("c", b"", shape=[0])], "input 'c' has shape [0]"),
        ([A, B, column("c", eight(1), shape=[-1])], "input 'c' has shape [-1], which has no row"),
        ([A, B, column("c", eight(1) * 2, shape=[2])], "input 'c' has shape [2], expected [1]"),
        ([A, B, column("c", texts("x"), "BYTES")], "input 'c' is BYTES, expected a number"),
        ([column("c", texts("x", "y"), "BYTES")], "input 'c' has 10 bytes, its shape [1] of BYTES needs 1 strings"),
        ([column("c", b"\x09\0\0\0x", "BYTES")], "needs 1 strings, each behind its length"),
        ([column("c", b"\x01\0\0\0\xff", "BYTES")], "input 'c' holds a string that is not UTF-8"),
        ([column("rows", eight(1) * 2, shape=[1, 2])], "shape [1, 2], expected [n, 3]"),
    ],
)
def test_raw_values_that_do_not_fit_are_rejected_by_name(inputs, message):
    with pytest.raises(DataError) as error:
        numbers.read(*packed(*inputs))
    assert message in error.value.what


def test_the_largest_integer_in_json_is_read_next_to_raw_values():
    largest = {"name": "c", "shape": [1], "datatype": "INT64", "data": [2**63 - 1]}
    rows = numbers.read(*packed(A, B, (largest, b""))).rows
    np.testing.assert_array_equal(rows, [[1, 2, 2.0**63]])


def test_invalid_json_or_a_json_length_beyond_the_body_is_rejected():
    with pytest.raises(DataError, match="2 bytes, fewer than the 3 declared as JSON"):
        numbers.read(b"{}", 3)
    with pytest.raises(DataError, match="is not an infer request"):
        numbers.read(b"{}", 2)
    with pytest.raises(DataError, match="not JSON"):
        numbers.read(b"{]", 2)


@pytest.mark.parametrize(
    ("more", "binary"),
    [
        ({}, False),
        ({"parameters": {"binary_data_output": True}}, True),
        ({"outputs": [{"name": "probability", "parameters": {"binary_data": True}}]}, True),
        ({"outputs": [{"name": "probability"}], "parameters": {"binary_data_output": True}}, True),
        (
            {
                "outputs": [{"name": "probability", "parameters": {"binary_data": False}}],
                "parameters": {"binary_data_output": True},
            },
            False,
        ),
    ],
)
def test_the_response_is_raw_if_requested(server, more, binary):
    body, size = packed(A, B, C, id="7", **more)
    answer = ask(server, INFER, body, headers=[f"Inference-Header-Content-Length: {size}"])
    length = int(answer.headers.get("Inference-Header-Content-Length", len(answer.body)))
    response = json.loads(answer.body[:length])
    assert (answer.status, response["id"], response["outputs"][0]["shape"]) == (200, "7", [1, 1])
    assert (answer.headers["Content-Type"] == "application/octet-stream") is binary
    if binary:
        assert response["outputs"][0]["parameters"] == {"binary_data_size": 8}
        assert struct.unpack("<d", answer.body[length:]) == (3.0,)
    else:
        assert response["outputs"][0]["data"] == [3.0] and len(answer.body) == length


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"classification": -2}, "-2 classes are requested"),
        ({"shared_memory_region": "r"}, "not supported in shared memory"),
    ],
)
def test_an_unsupported_output_form_is_rejected(server, form, message):
    body, size = packed(A, B, C, outputs=[{"name": "probability", "parameters": form}])
    answer = ask(server, INFER, body, headers=[f"Inference-Header-Content-Length: {size}"])
    assert answer.status == 400 and message in answer.json["error"]


@pytest.mark.parametrize("length", ["x", "-1", "", "9" * 5000])
def test_an_invalid_json_length_is_refused(server, length):
    body, _ = packed(A, B, C)
    answer = ask(server, INFER, body, headers=[f"Inference-Header-Content-Length: {length}"])
    assert answer.status == 400 and "must be one number of bytes" in answer.json["error"]


def test_a_repeated_json_length_is_refused_and_one_applies_to_its_request_only(server):
    body, size = packed(A, B, C)
    header = f"Inference-Header-Content-Length: {size}"
    plain = {"inputs": [{"name": name, "shape": [1], "datatype": "FP64", "data": [3]} for name in "abc"]}
    with Peer(server) as peer:
        peer.send_bytes(request(body=body, headers=[header]) + request(body=json.dumps(plain).encode()))
        assert [peer.read_answer().values for _ in range(2)] == [[3.0], [3.0]]
        assert peer.send_bytes(request(body=body, headers=[header, header])).read_answer().status == 400


def test_raw_values_may_be_chunked():
    body, size = packed(A, B, C)
    head = request(method="POST", headers=["Transfer-Encoding: chunked", f"Inference-Header-Content-Length: {size}"])
    with serving(loaded()) as server, Peer(server) as peer:
        peer.send_bytes(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        assert peer.read_answer().values == [3.0]


def test_another_release_reads_the_same_raw_values_with_its_own_columns():
    body, size = packed(column("carrier", texts("WN"), "BYTES"), column("size", eight(4)))
    call = HttpInference(Request(None, b"POST", b"", body, size), rows=np.empty((1, 0)), id="", key="", started_ns=0)
    assert call.read_for(loaded(name="mixed", signature=MIXED)).tolist() == [[4.0, 2.0]]
