"""Outputs written in C: byte for byte those that msgspec writes."""

from __future__ import annotations

import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.serving.protocol.open_inference import ResponseWriter, write_numbers

LARGEST = math.nextafter(2.0**53, 0.0)
POWERS = [math.ldexp(1.0, exponent) for exponent in range(-1074, 53)]
TENS = [float(f"{digits}e{power}") for digits in (1, 5, 9, 123, 999, 9007) for power in range(-323, 12)]
FORMS = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    0.5,
    12345.678,
    1e-4,
    1e-5,
    1.5e-5,
    9.999e-6,
    1e-6,
    -1e-7,
    1.25e-7,
    1e-10,
    1.5e-99,
    1e-100,
    5e-324,
    -2.2250738585072014e-308,
    2.2250738585072009e-308,
    1e15,
    123456789012345.0,
    LARGEST,
    float(np.float32(0.1)),
    math.nan,
    math.inf,
    -math.inf,
]


def written(values: list[float]) -> bytes | None:
    return write_numbers(b"<", np.array(values), b">")


@pytest.mark.parametrize("values", [[], FORMS, POWERS, TENS])
def test_all_forms_of_a_number_are_written_as_by_msgspec(values):
    assert written(values) == b"<" + msgspec.json.encode(values) + b">"


@pytest.mark.parametrize("values", [POWERS[1:], TENS])
@pytest.mark.parametrize("towards", [0.0, math.inf])
def test_neighbors_of_round_numbers_are_written_as_by_msgspec(values, towards):
    near = [math.nextafter(value, towards) for value in values]
    assert written(near) == b"<" + msgspec.json.encode(near) + b">"


@given(st.lists(st.floats(-LARGEST, LARGEST) | st.sampled_from([math.nan, math.inf])))
def test_any_number_is_written_as_by_msgspec(values):
    assert written(values) == b"<" + msgspec.json.encode(values) + b">"


@given(st.integers(0, 2**32))
def test_probabilities_are_written_with_the_fewest_digits_that_read_back_the_same(seed):
    values = np.random.default_rng(seed).dirichlet(np.full(150, 0.1)).tolist()
    body = written(values)
    assert json.loads(body[1:-1]) == values
    assert body == b"<" + msgspec.json.encode(values) + b">"


@pytest.mark.parametrize("value", [2.0**53, -(2.0**53), 1e300])
def test_larger_numbers_and_other_arrays_are_left_to_python(value):
    assert written([0.5, value]) is None
    for other in (np.float32, np.int64, ">f8"):
        assert write_numbers(b"", np.array([1], other), b"") is None
    body = ResponseWriter(name="m", version="1", output="p").write("", np.array([0.5, value]), 2)
    assert json.loads(body)["outputs"][0]["data"] == [0.5, value]


@pytest.mark.parametrize("arguments", [(b"", b""), ("", b"", b""), (b"", 3, b""), (b"", b"", "")])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(TypeError):
        write_numbers(*arguments)


@pytest.mark.parametrize("extension", [write_numbers, None])
def test_a_response_is_the_same_from_a_list_and_from_an_array(extension):
    writer = ResponseWriter(name="m", version="1", output="p", classes=("a", "b"), write_numbers=extension)
    values = [0.25, 0.75, 1e-9, math.nan]
    for id in ("", "7"):
        assert writer.write(id, np.array(values), 2) == writer.write(id, values, 2)
        assert writer.pack(id, np.array(values), 2) == writer.pack(id, values, 2)
