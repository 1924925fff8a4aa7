"""Numbers lifted out of JSON in C: bit for bit those of Python, and the same answers as without."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from running import MIXED, NUMBERS

from headway.core.errors import DataError
from headway.serving.protocol.open_inference import RequestReader, lift

LIFTING, PLAIN = RequestReader(NUMBERS, read_common=None), RequestReader(NUMBERS, lift=None, read_common=None)
LIFTING_MIXED, PLAIN_MIXED = RequestReader(MIXED, read_common=None), RequestReader(MIXED, lift=None, read_common=None)

integers = st.integers(-(10**25), 10**25).map(str)
decimals = st.decimals(allow_nan=False, allow_infinity=False).map(str)
floats = st.floats(allow_nan=False, allow_infinity=False).map(repr)
digits = st.text("0123456789", min_size=1, max_size=30)
sign, exponents = st.sampled_from(["", "-"]), st.integers(-340, 280)
scientific = st.builds("{}{}.{}e{}".format, sign, st.integers(0, 10**20), digits, exponents)
halves = st.builds(lambda m, e: f"{(2 * m + 1) * 2**e}", st.integers(2**52, 2**53 - 1), st.integers(0, 60))
finite = (integers | decimals | floats | scientific | halves).filter(
    lambda text: abs(float(text)) <= sys.float_info.max
)


@pytest.mark.slow
@pytest.mark.kernels
@given(st.lists(finite | st.just("null"), min_size=8, max_size=40).filter(lambda found: set(found) != {"null"}))
@example(["-0", "0", "-0.0", "0e5", "-0E-5", "null", "5e-324", "2.4703282292062327e-324"])
@example(["9007199254740993", "9007199254740993.0", "1e22", "1e23", "8.5e22", "1.7976931348623157e308", "1E+2", "0.0"])
@example(["0.00012345678901234567", f"0.{'0' * 40}1", f"{'9' * 25}.5", f"1{'0' * 600}e-600", "7", "7", "7", "7"])
def test_numbers_are_read_bit_for_bit_like_python(texts: Sequence[str]) -> None:
    expected = np.array([np.nan if text == "null" else float(json.loads(text)) for text in texts])
    found = lift(f'{{"data": [{" , ".join(texts)} ] }}'.encode())
    if any(len(text) > 512 for text in texts):
        assert found is None
        return
    rest, values, ends = found
    assert (rest, ends) == (b'{"data": 0 }', [len(texts)])
    assert values == expected.tobytes()


def outcome(reader: RequestReader, body: bytes) -> tuple[object, ...]:
    """Return what is read from a body, or how it is rejected."""
    try:
        decoded = reader.read(body)
    except DataError as error:
        return str(error), error.where, error.hint
    assert decoded.rows.dtype == np.float64 and decoded.rows.flags.c_contiguous
    return decoded.rows.shape, decoded.rows.tobytes(), decoded.id, decoded.key, decoded.binary, decoded.timeout_us


def column(name: str, data: str, *, n: int = 8, datatype: str = "FP64") -> str:
    return f'{{"name":"{name}","shape":[{n}],"datatype":"{datatype}","data":{data}}}'


EIGHT = "[1,2.5,-3,4e0,null,6,7,8]"
A, B, C = (column(name, EIGHT) for name in "abc")
MATRIX = '{"inputs":[{"name":"rows","shape":[3,3],"datatype":"FP64","data":[1,2,3,4,5,6,7,8,9]}]}'


def request(*inputs: str) -> str:
    return f'{{"inputs":[{",".join(inputs)}],"id":"x"}}'


CASES = [
    MATRIX,
    MATRIX.replace("[1,2,3,4,5,6,7,8,9]", "[[1,2,3],[4,5,null],[7,8,9]]"),
    MATRIX.replace("[1,2,3,4,5,6,7,8,9]", "[ [1, 2,3] ,\t[],[4,5,6,7] , [ 8,9 ] ]"),
    MATRIX.replace("[1,2,3,4,5,6,7,8,9]", "[[1,2,3],4,5,6,7,8,9]"),
    MATRIX.replace("[1,2,3,4,5,6,7,8,9]", "[1,2,3,4,5,6,7,[8,9]]"),
    MATRIX.replace("[3,3]", "[2,3]"),
    MATRIX.replace("FP64", "FP32"),
    MATRIX.replace("FP64", "INT8").replace("7", "1e3"),
    MATRIX.replace("FP64", "BOOL").replace("[1,2,3", "[true,0,1"),
    MATRIX.replace("9]}", '9],"data":[9,8,7,6,5,4,3,2,1]}'),
    MATRIX.replace("9]}", '9],"data":[1]}'),
    MATRIX.replace("9]}", '9],"data":3}'),
    MATRIX.replace("9]}", r'9],"d\u0061ta":[9,8,7,6,5,4,3,2,1]}'),
    MATRIX.replace("9]}", r'9],"d\u0061ta":0}'),
    MATRIX.replace('"data":[1', '"data" : [1'),
    MATRIX.replace('"data":[', '"data"['),
    MATRIX.replace('"data":[', '"data":0,"data":['),
    MATRIX.replace("9]", "9]5"),
    MATRIX.replace("9]", "9 9]"),
    MATRIX.replace("9]", "9,]"),
    MATRIX.replace("9]", "09]"),
    MATRIX.replace("9]", "9.]"),
    MATRIX.replace("9]", "9e]"),
    MATRIX.replace("9]", "-]"),
    MATRIX.replace("9]", "+9]"),
    MATRIX.replace("9]", "NaN]"),
    MATRIX.replace("9]", "nul]"),
    MATRIX.replace("9]", "1e999]"),
    MATRIX.replace("9]", "-1e999]"),
    MATRIX.replace("9]", '"9"]'),
    MATRIX.replace("9]", "{}]"),
    MATRIX.replace("]}]}", "]}"),
    MATRIX.replace("]}]}", ""),
    MATRIX.replace("]}]}", "]"),
    MATRIX + "x",
    MATRIX.replace('"inputs"', r'"other":{"data":[1,2,3,4,5,6,7,8]},"id":"\"data\":[1,2,3,4,5,6,7,8,","inputs"'),
    MATRIX.replace('"inputs"', '"inputs":[{"data":[8,8,8,8,8,8,8,8]}],"inputs"'),
    MATRIX.replace('"inputs"', '"outputs":[{"name":"probability","data":[8,8,8,8,8,8,8,8]}],"inputs"'),
    MATRIX.replace('"inputs"', '"id":["data",[1,2,3,4,5,6,7,8]],"inputs"'),
    MATRIX.replace('"rows"', '"r\\'),
    MATRIX.replace('"rows"', '"a"'),
    request(A, B, C),
    request(C, A, B),
    request(A, column("b", "[1,1,1,1,1,1,1,1]", datatype="INT8"), C),
    request(A, B, column("c", "[1,2]")),
    request(A, B, column("c", "[null,null,null,null,null,null,null,null]")),
    request(A, B, column("c", "[[1],[2],[3],[4],[5],[6],[7],[8]]")),
    request(A, B, column("c", '["1",2,3,4,5,6,7,8]')),
    request(A, B, column("c", EIGHT, datatype="BYTES")),
    request(column("a", "[]"), B, C),
    request(A, B),
    request(A, B, C, C),
]


@pytest.mark.parametrize("body", CASES)
def test_a_body_is_read_or_rejected_as_without_the_extension(body: str) -> None:
    assert outcome(LIFTING, body.encode()) == outcome(PLAIN, body.encode())


replacements = st.sampled_from(list(b'"[]{},:\\ 0-.eE1n\xff'))


@given(st.sampled_from(CASES), st.data())
def test_a_mutated_body_is_read_or_rejected_as_without_the_extension(body: str, data: st.DataObject) -> None:
    changed = bytearray(body.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 2))] = data.draw(st.lists(replacements, max_size=2).map(bytes))
    assert outcome(LIFTING, bytes(changed)) == outcome(PLAIN, bytes(changed))


@pytest.mark.parametrize("texts", ['["AA","UA",null,"AA","AA","AA","AA","AA"]', f"[{','.join(['null'] * 8)}]", EIGHT])
def test_strings_stay_in_the_body_next_to_lifted_numbers(texts: str) -> None:
    body = request(column("size", EIGHT), column("carrier", texts, datatype="BYTES")).encode()
    assert outcome(LIFTING_MIXED, body) == outcome(PLAIN_MIXED, body)


@pytest.mark.kernels
def test_a_few_numbers_are_not_lifted() -> None:
    assert lift(b'{"data":[1,2,3,4,5,6,7]}') is None
    assert lift(b'{"other":[1,2,3,4,5,6,7,8]}') is None
