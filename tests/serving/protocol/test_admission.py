"""What a body contains is counted on its bytes, in C and in Python alike, before any of it is decoded."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import NUMBERS

from headway.core.errors import DataError
from headway.serving.grpc._server import INFERENCE, decode_request, parse_message
from headway.serving.protocol import admission, mlflow, open_inference
from headway.serving.protocol.admission import (
    MAX_VALUES,
    admit_frames,
    admit_inference,
    admit_labels,
    admit_lines,
    admit_message,
    admit_object,
    admit_rows,
    count_json,
    scan_in_python,
    scan_json,
)
from headway.serving.protocol.open_inference import RequestReader

NAMES = (b"inputs", b"shape")
PIECES = [
    *(b'"inputs"', b'"in\\u0070uts"', b'"\\u0g70"', b'"in\\', b'"shape"', b'"a\\"b"', b'"inputs', b"null"),
    *(bytes([byte]) for byte in b'[{]},:1 "\\\nx'),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
COLUMN = {"shape": [1], "datatype": "FP64", "data": [1.0]}


def body_over(limit: str, count: int) -> bytes:
    """Return an infer request with so many of what `limit` names."""
    numbered = dict.fromkeys(map(str, range(count)), 1)
    bodies = {
        "inputs": {"inputs": [{"name": f"x{number}", **COLUMN} for number in range(count)]},
        "parameters": {"inputs": [], "parameters": numbered},
        "outputs": {"inputs": [], "outputs": [{"name": "probability"}] * count},
        "members": {"inputs": [], **numbered},
        "dimensions": {"inputs": [{"name": "a", "datatype": "FP64", "data": [1], "shape": [1] * count}]},
        "strings": {"inputs": [{"name": "a", "datatype": "BYTES", "shape": [1], "data": ["x"] * count}]},
    }
    return json.dumps(bodies[limit]).encode()


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=2), max_size=30).map(b"".join), st.integers(1, 6))
def test_c_and_python_count_any_bytes_alike(content, max_depth):
    for body in (content, bytearray(content), memoryview(content)):
        assert scan_json(body, NAMES, max_depth) == scan_in_python(body, NAMES, max_depth)


def values_of(value: object) -> tuple[int, int]:
    """Return the strings, lists and objects of a value, with the keys, and its other values."""
    if isinstance(value, list | dict):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        counts = [values_of(item) for item in inner]
        return 1 + sum(texts for texts, _ in counts), sum(scalars for _, scalars in counts)
    return (1, 0) if isinstance(value, str) else (0, 1)


@given(VALUES, st.booleans())
def test_the_counts_of_json_are_those_of_its_values(value, is_spaced):
    body = json.dumps({"inputs": value}, indent=1 if is_spaced else None).encode()
    counts = count_json(body, NAMES)
    assert (counts.texts, counts.scalars) == values_of({"inputs": value})
    assert counts.named[0] >= (len(value) if isinstance(value, list | dict) else 0)
    assert counts.items == 1


@pytest.mark.parametrize(
    "arguments", [(), (b"", [], 1), (b"", (), 0), (b"", (), 257), (b"", (b"",) * 9, 1), (b"", ("x",), 1), ("x", (), 1)]
)
def test_the_scan_in_c_refuses_other_arguments(arguments):
    with pytest.raises((TypeError, OverflowError)):
        scan_json(*arguments)


@pytest.fixture(params=["c", "python"])
def scanner(request, monkeypatch) -> None:
    """Count with and without the extension."""
    if request.param == "python":
        monkeypatch.setattr(admission, "scan_json", None)


def str_of(value: object) -> str:
    """Return the beginning of a parameter, as the name of a case."""
    return str(value)[:40]


def refuse_to_decode(*_: object) -> None:
    raise AssertionError("a body over a limit was decoded")


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize(
    ("limit", "count", "message"),
    [
        ("inputs", 68, "the request has 68 inputs, the model reads 3"),
        ("parameters", 65, "the request has 65 parameters, at most 64 are allowed"),
        ("outputs", 17, "the request names 17 outputs, at most 16 are allowed"),
        ("members", 128, "an object of the body has 129 members, at most 128"),
        ("dimensions", 17, "an input has 17 dimensions, at most 16"),
        ("strings", MAX_VALUES + 1, "strings, lists and objects, at most 500,000 are decoded at once"),
    ],
)
@pytest.mark.parametrize("is_binary", [False, True])
def test_no_decoder_sees_an_infer_request_over_a_limit(monkeypatch, limit, count, message, is_binary):
    for name in ("_decode", "_decode_binary", "_decode_bools", "_decode_exact", "_decode_lifted", "_decode_names"):
        monkeypatch.setattr(open_inference, name, refuse_to_decode)
    body = body_over(limit, count)
    reader = RequestReader(NUMBERS, lift=refuse_to_decode)
    with pytest.raises(DataError, match=message):
        reader.read(body, len(body) if is_binary else None)


def test_numbers_that_are_not_lifted_have_a_limit_too():
    data = {"inputs": [{"name": "rows", "datatype": "FP64", "shape": [1, 3], "data": [1] * MAX_VALUES}]}
    with pytest.raises(DataError, match="values, at most 500,000 are decoded at once"):
        RequestReader(NUMBERS, lift=None).read(json.dumps(data).encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"dataframe_split": {"columns": ["a"] * 200_000, "data": []}}, "has 200,000 columns, the model reads 3"),
        ({"instances": [dict.fromkeys(map(str, range(200_000)), 1)]}, "an object of the body has 200,000 members"),
        ({"instances": [[1]], "params": dict.fromkeys(map(str, range(65)), 1)}, "has 65 parameters, at most 64"),
        ({"instances": [{}] * (MAX_VALUES + 1)}, "at most 500,000 are decoded at once"),
        ({"instances": [[1] * MAX_VALUES]}, "at most 500,000 are decoded at once"),
    ],
)
def test_no_decoder_sees_a_request_in_the_form_of_mlflow_over_a_limit(monkeypatch, content, message):
    monkeypatch.setattr(mlflow, "_decode", refuse_to_decode)
    with pytest.raises(DataError, match=message):
        mlflow.read_mlflow(RequestReader(NUMBERS), json.dumps(content).encode())


@pytest.mark.parametrize(
    ("admit", "message"),
    [
        (lambda: admit_labels(b'{"labels":[1,2,3]}', max_rows=2), "has 3 labels, more than 2"),
        (lambda: admit_rows(b"[1,2,3]", max_rows=2), "at most 2 rows, not 3"),
        (lambda: admit_rows(b"[[" + b"1," * MAX_VALUES, max_rows=2), "at most 500,000 are decoded at once"),
        (lambda: admit_lines(b"\n" * (MAX_VALUES + 1), max_rows=2), "at most 500,000 lines"),
        (lambda: admit_lines(b"1\n\n2\n3", max_rows=2), "at most 2 rows, not 3"),
        (lambda: admit_lines(b'{"a\n' * 2 + b"[" + b"1," * MAX_VALUES, max_rows=3), "at most 500,000 values"),
        (lambda: admit_lines(b"1\n" + b"[" * 33, max_rows=3), "nested more than 32 deep"),
        (lambda: admit_object(b"[" + b"1," * MAX_VALUES), "at most 500,000 are decoded at once"),
        (lambda: admit_frames(b"[" * 33, max_columns=1), "nested more than 32 deep"),
        (lambda: admit_inference(b'{"parameters":{' + b'"":1,' * 65, max_inputs=1), "66 parameters"),
    ],
)
def test_any_other_body_over_a_limit_is_refused_with_what_was_sent(admit, message):
    with pytest.raises(DataError, match=message):
        admit()


def test_what_is_at_a_limit_is_admitted():
    admit_labels(b'{"labels":[1,2]}', max_rows=2)
    admit_rows(b"[1,2]", max_rows=2)
    assert admit_lines(b"1\n" * 2 + b"\n" * (MAX_VALUES - 2), max_rows=2)[:3] == [b"1", b"1", b""]
    assert len(admit_lines(b"[1]\n[1]", max_rows=2)) == 2
    admit_frames(b"[" * 32, max_columns=1)
    admit_object(b"{}")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"inputs": [{"name": "a"}] * 68}, "more than 67 inputs"),
        ({"outputs": [{"name": "a"}] * 17}, "more than 16 outputs"),
        ({"parameters": {str(number): {"int64_param": 1} for number in range(65)}}, "more than 64 parameters"),
        ({"raw_input_contents": [b"x" * 200] * 68}, "more than 67 raw inputs"),
        ({"inputs": [{"shape": [1] * 200}]}, "more than 16 dimensions"),
        ({"inputs": [{"parameters": {str(number): {} for number in range(129)}}]}, "more than 128 fields"),
        ({"outputs": [{"parameters": {str(number): {} for number in range(129)}}]}, "more than 128 fields"),
        *(
            ({"inputs": [{"contents": {name: values * (MAX_VALUES // 2 + 1)}}] * 2}, "more than 500,000 values")
            for name, values in (
                *(("bool_contents", [True]), ("int64_contents", [-1]), ("uint_contents", [300])),
                *(("fp32_contents", [1.0]), ("fp64_contents", [1.0]), ("bytes_contents", [b""])),
            )
        ),
    ],
    ids=str_of,
)
def test_a_message_over_a_limit_is_refused_before_it_is_parsed(fields, message):
    content = INFERENCE["ModelInferRequest"](model_name="m", **fields).SerializeToString()
    with pytest.raises(DataError, match=message):
        admit_message(content, max_inputs=3)


FIELD, GROUP, END = b"\x0a\x00", b"\x7b", b"\x7c"  # of an input an empty name; of any message an unknown group


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (FIELD * 129, "more than 128 fields of its own"),
        (GROUP + b"\x2a\x00" * 68 + END, "more than 67 inputs"),
        (GROUP + END + b"\x2a\x00" * 68, "more than 67 inputs"),
        (b"\x2a\x82\x02" + FIELD * 129, "more than 128 fields"),
        (b"\x2a\xe8\x07" + b"\x22\xe5\x07" + bytes(997) + b"\x2a\x00" * 68, "more than 67 inputs"),
    ],
)
def test_fields_that_a_client_would_not_send_are_counted_too(content, message):
    with pytest.raises(DataError, match=message):
        admit_message(content, max_inputs=3)


@given(
    st.lists(
        st.sampled_from(
            [b"\x2a\x00", b"\xaa\x80\x00\x00", b"\x28\x01", b"\x2a\x02\x0a\x00", GROUP, END, b"\x79" + bytes(8)]
        )
        | st.binary(max_size=2),
        max_size=12,
    ).map(b"".join)
)
def test_no_bytes_that_are_admitted_are_parsed_to_more_inputs_than_the_limit(content):
    try:
        admit_message(content, max_inputs=-62)
        message = parse_message(INFERENCE["ModelInferRequest"], content)
    except DataError:
        return
    assert len(message.inputs) <= 2


def test_a_large_message_with_few_values_is_admitted():
    texts = {"name": "a", "contents": {"bytes_contents": [b"x" * 100] * 10_000}}
    numbers = {"name": "b", "contents": {"fp64_contents": [1.5] * 100_000, "int64_contents": [300] * 100_000}}
    admit_message(INFERENCE["ModelInferRequest"](inputs=[texts, numbers]).SerializeToString(), max_inputs=3)


def test_a_message_within_the_limits_and_one_that_is_malformed_go_to_the_parser():
    whole = INFERENCE["ModelInferRequest"](model_name="m", inputs=[{"name": "a"}] * 67).SerializeToString()
    other_types = b"\x58\x01" + b"\x61" + bytes(8) + b"\x6d" + bytes(4) + b"\x28\x01" + GROUP + END
    for content in (b"", whole, whole[:-1], other_types, b"\x0b", b"\xff" * 20, b"\x0a", b"\x0a\xff\xff\xff\xff\x7f"):
        admit_message(content, max_inputs=3)


def cpu_s(run: Callable[[], object]) -> float:
    """Return the least CPU time of three runs, in seconds."""
    times = []
    for _ in range(3):
        before = time.process_time()
        run()
        times.append(time.process_time() - before)
    return min(times)


def test_refusing_100_000_inputs_takes_a_fraction_of_the_time_to_decode_them():
    body = body_over("inputs", 100_000)

    def refuse() -> None:
        with pytest.raises(DataError):
            RequestReader(NUMBERS).read(body)

    assert cpu_s(refuse) < cpu_s(lambda: msgspec.json.decode(body)) / 2


def test_an_input_whose_shape_has_more_values_than_the_rows_of_a_request_is_refused_before_they_are_read():
    head = {"name": "a", "datatype": "INT8", "shape": [1, 65_536 * 3 + 1], "parameters": {"binary_data_size": 0}}
    body = json.dumps({"inputs": [head]}).encode()
    with pytest.raises(DataError, match="input 'a' has 196,609 values, more than 196,608"):
        RequestReader(NUMBERS).read(body, len(body))


def test_contents_of_another_number_than_the_shape_says_are_not_copied():
    tensor = {"name": "a", "datatype": "INT64", "shape": [2], "contents": {"int64_contents": [1] * 100_000}}
    with pytest.raises(DataError, match=r"input 'a' has 100000 values, its shape \[2\] needs 2"):
        decode_request(INFERENCE["ModelInferRequest"](inputs=[tensor]), RequestReader(NUMBERS))


def test_a_large_message_without_rows_is_not_parsed():
    kind = INFERENCE["ModelReadyRequest"]
    with pytest.raises(DataError, match="a ModelReadyRequest of 70,004 bytes is too large: 65,536"):
        parse_message(kind, kind(name="x" * 70_000).SerializeToString())


@pytest.mark.usefixtures("scanner")
def test_what_is_nested_too_deep_is_counted_no_further():
    counts = count_json(b'{"inputs":[1,2,' + b"[" * 1_000, NAMES)
    assert (counts.depth, counts.texts, counts.scalars) == (33, 34, 2)


def test_a_body_whose_numbers_were_lifted_and_whose_rest_is_wrong_is_refused_with_the_reason():
    body = json.dumps({"inputs": [{"name": 5, "shape": [10], "datatype": "FP64", "data": [1.5] * 10}]}).encode()
    with pytest.raises(DataError, match="the body is not an infer request: Expected `str`, got `int`"):
        RequestReader(NUMBERS).read(body)
