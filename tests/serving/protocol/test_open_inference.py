"""Infer requests decoded to rows, outputs encoded as JSON."""

from __future__ import annotations

import json
import time

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import MIXED, NUMBERS, body_of

from headway.core.errors import DataError
from headway.core.variant import Field, Signature
from headway.serving.protocol.open_inference import RequestReader, ResponseWriter, describe_model

NAN = float("nan")
numbers, mixed = RequestReader(NUMBERS), RequestReader(MIXED)


def column(name: str, data: list[object], **fields: object) -> dict[str, object]:
    return {"name": name, "shape": [len(data)], "datatype": "FP64", "data": data, **fields}


def text(data: list[object], **fields: object) -> dict[str, object]:
    return {**column("carrier", data), "datatype": "BYTES", **fields}


def matrix(data: list[object], shape: list[int], datatype: str = "FP64") -> bytes:
    return json.dumps({"inputs": [{"name": "rows", "shape": shape, "datatype": datatype, "data": data}]}).encode()


def encode_request(*inputs: dict[str, object], **more: object) -> bytes:
    return json.dumps({"inputs": inputs, **more}).encode()


def rows_of(reader: RequestReader, body: bytes) -> list[list[float]]:
    rows = reader.read(body).rows
    assert rows.dtype == np.float64 and rows.flags.c_contiguous
    return rows.tolist()


finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.slow
@given(st.lists(st.lists(finite | st.none(), min_size=3, max_size=3), min_size=1, max_size=20))
def test_rows_sent_as_columns_are_read_exactly(rows):
    expected = np.array(rows, dtype=np.float64)
    np.testing.assert_array_equal(numbers.read(body_of(*rows)).rows, expected)


@pytest.mark.slow
@given(st.lists(st.lists(finite | st.none(), min_size=3, max_size=3), min_size=1, max_size=20), st.booleans())
def test_rows_sent_as_a_flat_or_nested_matrix_are_read_exactly(rows, nested):
    data = rows if nested else [value for row in rows for value in row]
    np.testing.assert_array_equal(numbers.read(matrix(data, [len(rows), 3])).rows, np.array(rows, dtype=np.float64))


def test_columns_may_have_any_order_and_shape_n_by_one():
    body = encode_request(column("c", [3]), column("a", [[1]], shape=[1, 1]), column("b", [2], shape=[1, 1]))
    assert rows_of(numbers, body) == [[1.0, 2.0, 3.0]]


def test_a_category_is_read_as_its_code_and_an_unseen_one_as_missing():
    rows = mixed.read(encode_request(column("size", [1, None, 3, 4]), text(["WN", "AA", "XX", None]))).rows
    np.testing.assert_array_equal(rows, [[1, 2], [NAN, 0], [3, NAN], [4, NAN]])


def test_nested_strings_are_read_row_by_row():
    assert rows_of(mixed, encode_request(column("size", [1, 2]), text([["UA"], ["AA"]], shape=[2, 1]))) == [
        [1, 1],
        [2, 0],
    ]


def test_fp32_means_the_float32_that_the_caller_holds():
    body = encode_request(column("a", [0.1], datatype="FP32"), column("b", [0.1]), column("c", [2], datatype="INT64"))
    assert rows_of(numbers, body) == [[float(np.float32(0.1)), 0.1, 2.0]]


def test_the_id_is_returned_and_unknown_members_are_ignored():
    body = encode_request(
        column("a", [1]), column("b", [1]), column("c", [1]), id="x-1", parameters={"key": "k"}, other=[1]
    )
    assert numbers.read(body).id == "x-1"


def test_the_output_may_be_requested_by_name():
    body = encode_request(column("a", [1]), column("b", [1]), column("c", [1]), outputs=[{"name": "probability"}])
    assert rows_of(numbers, body) == [[1, 1, 1]]


def test_a_bytearray_is_read_like_bytes():
    assert rows_of(numbers, bytearray(body_of([1, 2, 3]))) == [[1, 2, 3]]


A, B, C = column("a", [1]), column("b", [1]), column("c", [1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (encode_request(A, B), "column 'c' is missing"),
        (encode_request(), "column 'a' is missing"),
        (encode_request(A, B, C, column("d", [1])), "unknown column 'd'"),
        (encode_request(A, B, C, C), "column 'c' occurs 2 times"),
        (encode_request(A, B, column("c", [1, 2])), "input 'c' has shape [2], expected [1]"),
        (encode_request(A, B, column("c", [1, 2], shape=[1])), "input 'c' has 2 values, its shape [1] needs 1"),
        (encode_request(A, B, column("c", [], shape=[1])), "input 'c' has 0 values"),
        (encode_request(A, B, column("c", [[1], 2], shape=[1])), "input 'c' has 2 values"),
        (
            encode_request(column("a", []), column("b", []), column("c", [])),
            "input 'a' has shape [0], which has no row",
        ),
        (encode_request(column("a", [1], shape=[]), B, C), "input 'a' has shape [], which has no row"),
        (encode_request(column("a", [1], shape=[-1]), B, C), "input 'a' has shape [-1], which has no row"),
        (encode_request(A, column("b", ["x"]), C), "input 'b' holds the string 'x'"),
        (encode_request(A, column("b", ["1.5"]), C), "input 'b' holds the string '1.5'"),
        (encode_request(A, column("b", [None, "x"], shape=[2]), C), "input 'b' has shape [2]"),
        (encode_request(A, text(["x"], name="b"), C), "input 'b' is BYTES, expected a number"),
        (
            encode_request(A, column("b", [1], datatype="FP8"), C),
            "input 'b' is FP8, expected a number: BF16, BOOL, FP16",
        ),
        (encode_request(A, column("b", [2], datatype="BOOL"), C), "input 'b' holds 2, which does not fit in BOOL"),
        (encode_request(column("a", [False], datatype="BOOL"), column("b", [True]), C), "got `bool`"),
        (
            encode_request(A, column("b", [1e5], datatype="FP16"), C),
            "input 'b' holds 100000, which does not fit in FP16",
        ),
        (
            encode_request(A, column("b", [3.4e38], datatype="BF16"), C),
            "input 'b' holds 3.4e+38, which does not fit in BF16",
        ),
        (encode_request(A, column("b", [True]), C), "input 'b'"),
        (encode_request(A, column("b", [{}]), C), "input 'b'"),
        (
            encode_request(A, column("b", [1e39], datatype="FP32"), C),
            "input 'b' holds 1e+39, which does not fit in FP32",
        ),
        (encode_request(A, column("b", [1.5], datatype="INT8"), C), "input 'b' holds 1.5, which does not fit in INT8"),
        (
            encode_request(A, column("b", [-1], datatype="UINT8"), C),
            "input 'b' holds -1, which does not fit in UINT8 (row 0)",
        ),
        (encode_request(A, column("b", [200], datatype="INT8"), C), "input 'b' holds 200, which does not fit in INT8"),
        (encode_request(A, B, C, outputs=[{"name": "label"}]), "no output 'label'"),
        (matrix([1, 2], [1, 2]), "input 'rows' has shape [1, 2], expected [n, 3]"),
        (matrix([1, 2, 3], [0, 3]), "input 'rows' has shape [0, 3]"),
        (matrix([1, 2, 3], [2, 3]), "input 'rows' has 3 values, its shape [2, 3] needs 6"),
        (
            matrix([1, 2, 3, 4, 5, "x"], [2, 3]),
            "input 'rows' holds the string 'x', expected numbers or null (row 1, col",
        ),
        (
            matrix([1, 2, 3, 4, 1.5, 6], [2, 3], "INT8"),
            "input 'rows' holds 1.5, which does not fit in INT8 (row 1, column 'b')",
        ),
        (matrix([1, 2, [3]], [1, 3]), "input 'rows' mixes lists and numbers"),
        (matrix([1, 2, 3], [1, 3], "BYTES"), "input 'rows' is BYTES, expected numbers"),
        (matrix([1, 2, 3], [3]), "unknown column 'rows'"),
        (b"", "Input data was truncated"),
        (b"null", "not an infer request"),
        (b'{"inputs":[1]}', "(input 0)"),
        (b'{"inputs":[],"inputs":[{},{}]}', "not an infer request"),
        (b'{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[true]},', "(input 0)"),
        (b"[" * 100_000, "nested more than 32 deep"),
        (b'{"x":' + b"[" * 100_000, "nested more than 32 deep"),
        (b'{"id":"\xff"}', "not an infer request"),
        (b'{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1e999]}]}', "(input 'a')"),
        (body_of([1, 2, 3]) + b"x", "not JSON"),
    ],
)
def test_the_error_names_the_input_at_fault(body, message):
    with pytest.raises(DataError) as error:
        numbers.read(body)
    assert message in f"{error.value.what} ({error.value.where})"


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_the_error_of_a_nan_token_names_its_input_and_suggests_null(token):
    body = f'{{"inputs":[{{"name":"a","shape":[2],"datatype":"FP64","data":[1,{token}]}}]}}'.encode()
    with pytest.raises(DataError) as error:
        numbers.read(body)
    assert error.value.where == "input 'a'" and error.value.hint == "send null where a value is missing"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((column("size", [1]), text([5])), "input 'carrier' holds a number or a list"),
        ((column("size", [1, 1]), text(["AA", ["UA"]])), "input 'carrier' holds a number or a list"),
        ((column("size", [1]), column("carrier", [1])), "input 'carrier' is FP64, expected a string"),
        ((column("size", ["AA"]), text(["AA"])), "input 'size' holds the string 'AA'"),
        ((column("size", [1, [2]]), text(["AA", "UA"])), "input 'size' mixes lists and numbers"),
        (({"name": "rows", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]},), "column 'carrier' holds strings"),
    ],
)
def test_strings_and_numbers_are_not_interchangeable(inputs, message):
    with pytest.raises(DataError) as error:
        mixed.read(encode_request(*inputs))
    assert message in error.value.what


def test_the_nearest_column_name_is_suggested():
    with pytest.raises(DataError) as error:
        mixed.read(encode_request(column("size", [1]), column("carier", ["AA"])))
    assert error.value.hint == "nearest: carrier"


@pytest.mark.slow
@given(st.lists(finite, min_size=1, max_size=20), st.text())
def test_answers_read_back_as_the_same_floats_and_id(values, id):
    body = ResponseWriter(name="flights", version="abc", output="p").write(id, values, len(values))
    answer = json.loads(body)
    assert [value.hex() for value in map(float, answer["outputs"][0]["data"])] == [value.hex() for value in values]
    assert answer.get("id", "") == id
    assert answer["outputs"][0]["shape"] == [len(values), 1]


def test_a_response_has_the_form_of_the_protocol():
    assert json.loads(ResponseWriter(name="f", version="v", output="p").write("7", [0.1, 0.9, NAN, 1.0], 2)) == {
        "model_name": "f",
        "model_version": "v",
        "id": "7",
        "outputs": [{"name": "p", "datatype": "FP64", "shape": [2, 2], "data": [0.1, 0.9, None, 1.0]}],
    }


def test_responses_of_any_number_of_rows_start_alike():
    writer = ResponseWriter(name="f", version="v", output="p")
    for n in (*range(1, 70), 1):  # more than are cached
        assert writer.write("", [0.5] * n, n) == writer.write("7", [0.5] * n, n).replace(b',"id":"7"', b"")


@pytest.mark.parametrize("form", ["json", "raw"])
def test_the_answer_of_several_classes_names_them(form):
    writer = ResponseWriter(name="f", version="v", output="p", classes=("no", 'it "may"', "yes"))
    body = writer.write("", [0.1, 0.2, 0.7], 1) if form == "json" else writer.pack("", [0.1, 0.2, 0.7], 1)[0]
    [output] = json.loads(body)["outputs"]
    assert output["shape"] == [1, 3] and output["parameters"]["classes"] == ["no", 'it "may"', "yes"]
    assert (output.get("data"), output["parameters"].get("binary_data_size")) == (
        ([0.1, 0.2, 0.7], None) if form == "json" else (None, 24)
    )


def test_metadata_names_the_classes_of_a_classifier():
    signature = msgspec.structs.replace(MIXED, classes=("no", "yes"))
    metadata = msgspec.json.decode(describe_model(signature, name="m", version="v", parameters={}))
    assert metadata["outputs"][0]["parameters"] == {"classes": ["no", "yes"]}
    assert all("parameters" not in tensor for tensor in metadata["inputs"])


def test_metadata_lists_the_columns_in_order():
    metadata = msgspec.json.decode(
        describe_model(MIXED, name="m", version="v", parameters={"threshold": 0.5}, n_outputs=2)
    )
    assert metadata["outputs"][0]["shape"] == [-1, 2]
    assert [(tensor["name"], tensor["datatype"]) for tensor in metadata["inputs"]] == [
        ("size", "FP64"),
        ("carrier", "BYTES"),
    ]
    assert metadata["outputs"][0]["name"] == "score" and metadata["parameters"] == {"threshold": 0.5}


@pytest.mark.parametrize(
    ("datatype", "sent", "read"),
    [
        ("BOOL", [True, False, None], [1.0, 0.0, np.nan]),
        ("BOOL", [1, 0, 1], [1.0, 0.0, 1.0]),
        ("FP16", [0.1, 65504, None], [float(np.float16(0.1)), 65504.0, np.nan]),
        ("BF16", [0.1, -3.0, None], [0.10009765625, -3.0, np.nan]),
        ("BF16", [1.00390625, 1.01171875, 1e-45], [1.0, 1.015625, 0.0]),
        ("FP32", [0.1, 3e38, None], [float(np.float32(0.1)), float(np.float32(3e38)), np.nan]),
        ("FP64", [0.1, 1e300, None], [0.1, 1e300, np.nan]),
        *(
            (f"INT{bits}", [-(2 ** (bits - 1)), 7, None], [-(2.0 ** (bits - 1)), 7.0, np.nan])
            for bits in (8, 16, 32, 64)
        ),
        *((f"UINT{bits}", [2 ** (bits - 1), 0, None], [2.0 ** (bits - 1), 0.0, np.nan]) for bits in (8, 16, 32, 64)),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_each_datatype_is_read_from_json_with_its_own_precision(datatype, sent, read, nested):
    data = [[value] for value in sent] if nested else sent
    shape = [3, 1] if nested else [3]
    body = encode_request(*(column(name, data, datatype=datatype, shape=shape) for name in "abc"))
    np.testing.assert_array_equal(numbers.read(body).rows, np.column_stack([read] * 3))


@pytest.mark.parametrize(
    ("datatype", "value", "fits"),
    [
        ("INT64", 2**63 - 1, True),
        ("INT64", 2**63, False),
        ("INT64", -(2**63), True),
        ("INT64", -(2**63) - 1, False),
        ("INT64", float(2**63), False),
        ("INT64", 1e19, False),
        ("UINT64", 2**64 - 1, True),
        ("UINT64", 2**64, False),
        ("UINT64", -1, False),
    ],
)
@pytest.mark.parametrize("form", ["column", "matrix", "lifted", "next to raw values"])
def test_integers_of_64_bits_are_in_range_to_the_last_digit(datatype, value, fits, form):
    size = None
    if form == "matrix":
        body = matrix([1, 2, None, 4, 5, value], [2, 3], datatype)
    elif form == "lifted":
        body = matrix([[1, 2, 3], [4, 5, 6], [7, 8, value]], [3, 3], datatype)
    else:
        body = encode_request(A, B, column("c", [value], datatype=datatype))
        size = None if form == "column" else len(body)
    try:
        assert numbers.read(body, size).rows[-1, -1] == float(value) and fits
    except DataError as error:
        assert not fits and f"which does not fit in {datatype}" in error.what
        assert error.where == ("row 0" if form in ("column", "next to raw values") else error.where)


def test_other_inputs_of_a_request_with_the_largest_integer_are_read_as_without():
    largest = column("c", [2**63 - 1], datatype="INT64")
    flag = {"name": "b", "shape": [1, 1], "datatype": "BOOL", "data": [[True]]}
    np.testing.assert_array_equal(
        numbers.read(encode_request(column("a", [None]), flag, largest)).rows, [[NAN, 1, 2.0**63]]
    )


def test_a_parameter_of_another_type_is_named():
    for body in (encode_request(A, B, C, parameters={"key": 5}), encode_request(A, B, C, parameters=[])):
        with pytest.raises(DataError, match="the body is not an infer request") as error:
            numbers.read(body)
        assert error.value.where == "parameters"
    assert numbers.read(encode_request(A, B, C, parameters=None)).key == ""


def test_the_nearest_of_many_columns_is_found_quickly():
    many = RequestReader(Signature(inputs=tuple(Field(name=f"feature_column_{at:04d}" * 3) for at in range(3_000))))
    began = time.thread_time()
    with pytest.raises(DataError) as error:
        many.read(encode_request(column("feature_column_0x17" * 3, [1])))
    assert error.value.hint.startswith("nearest: feature_column_") and time.thread_time() - began < 0.02


def test_looked_up_columns_may_be_sent_once_and_no_more():
    reader = RequestReader(NUMBERS, ignored=["looked_up"])
    extra = column("looked_up", [1])
    assert reader.read(encode_request(A, B, C, extra)).rows.tolist() == [[1, 1, 1]]
    with pytest.raises(DataError, match="column 'looked_up' occurs 2 times"):
        reader.read(encode_request(A, B, C, extra, extra))
