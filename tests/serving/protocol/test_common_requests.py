"""Requests read in C: bit for bit the rows that Python reads, and nothing that Python would reject."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import MIXED, NUMBERS

from headway.core.errors import DataError
from headway.core.variant import Field, Signature
from headway.serving.protocol.open_inference import RequestReader, read_common

OTHER = Signature(
    inputs=(
        Field(name="größe"),
        Field(name="carrier", datatype="BYTES", categories=("AA", "Zürich", "a b"), unseen="other"),
        Field(name="known", datatype="BYTES", categories=("x",), unseen="refused"),
    )
)
ONE = Signature(inputs=(Field(name="rows"),))
SIGNATURES = {"numbers": NUMBERS, "mixed": MIXED, "other": OTHER, "one": ONE}
READERS = {
    name: (RequestReader(signature), RequestReader(signature, lift=None, read_common=None))
    for name, signature in SIGNATURES.items()
}


def outcome(reader: RequestReader, body: bytes) -> tuple[object, ...]:
    """Return what is read from a body, or how it is rejected."""
    try:
        decoded = reader.read(body)
    except DataError as error:
        return str(error), error.where, error.hint
    assert decoded.rows.dtype == np.float64 and decoded.rows.flags.c_contiguous and decoded.rows.flags.writeable
    return (
        decoded.rows.shape,
        decoded.rows.tobytes(),
        decoded.id,
        decoded.key,
        decoded.binary,
        decoded.timeout_us,
        decoded.top_k,
    )


def assert_read_alike(name: str, body: bytes) -> None:
    """Compare what is read with and without the extension."""
    with_extension, without = READERS[name]
    assert outcome(with_extension, body) == outcome(without, body)


def in_c(name: str, body: bytes) -> bool:
    """Return whether a body is read in C."""
    reader = READERS[name][0]
    return read_common(body, False, *reader._columns_in_c) is not None


def column(name: str, data: str, *, shape: str = "[2]", datatype: str = "FP64") -> str:
    return f'{{"name":"{name}","shape":{shape},"datatype":"{datatype}","data":{data}}}'


def request(*inputs: str, more: str = "") -> str:
    return f'{{"inputs":[{",".join(inputs)}]{more}}}'


def other(carrier: str, known: str) -> str:
    """Return a request to the signature `other`."""
    names = (("carrier", carrier), ("known", known))
    strings = [column(name, f'["{value}"]', shape="[1,1]", datatype="BYTES") for name, value in names]
    return request(column("größe", "[1]", shape="[1]"), *strings)


A, B, C = (column(name, data) for name, data in zip("abc", ("[1,2.5]", "[null,-3e2]", "[-0,0.1]"), strict=True))
SIZE, CARRIER = column("size", "[1,2]"), column("carrier", '["UA",null]', datatype="BYTES")
MATRIX = column("x", "[1,2,3,4,5,null]", shape="[2,3]")
COMMON = [
    ("numbers", request(A, B, C)),
    ("numbers", request(C, A, B, more=',"id":"a-1","parameters":{"key":"k-\u00fc"}')),
    ("numbers", " " + request(A, B, C).replace(":", " : ").replace(",", " ,\n\t").replace("]", "\r ]") + "\n"),
    ("numbers", request(*(part.replace("[2]", "[2,1]").replace("1,2.5", "[1],[2.5]") for part in (A, B, C)))),
    ("numbers", request(A, B, '{"data":[1,2],"datatype":"INT8","name":"c","shape":[2]}')),
    ("numbers", request(A, B, column("c", "[1e-3,16777217]", datatype="FP32"))),
    ("numbers", request(A, B, C, more=',"outputs":[{"name":"probability"}]')),
    ("numbers", request(A, B, C, more=',"outputs":[ {"parameters": {"classification": 5}, "name":"probability"} ]')),
    ("numbers", request(MATRIX)),
    ("numbers", request(MATRIX.replace("[1,2,3,4,5,null]", "[ [1,2,3] , [4,5,null] ]"))),
    ("numbers", request(MATRIX.replace("FP64", "UINT16"))),
    ("mixed", request(SIZE, CARRIER)),
    ("mixed", request(CARRIER, SIZE)),
    ("mixed", request(SIZE, column("carrier", "[null,null]", datatype="BYTES"))),
    ("other", other("Zürich", "x")),
    ("one", request(column("rows", "[1,2]"))),
    ("one", request(column("rows", "[1,2]", shape="[2,1]"))),
    ("one", request(column("all", "[1,2]", shape="[2,1]"))),
]
UNCOMMON = [
    ("numbers", ""),
    ("numbers", "[]"),
    ("numbers", "{}"),
    ("numbers", '{"inputs":[]}'),
    ("numbers", '{"inputs":{}}'),
    ("numbers", '{"inputs":[1]}'),
    ("numbers", '{"inputs":[{}]}'),
    ("numbers", '{"inputs" [{}]}'),
    ("numbers", '{"inputs":[{"name" "a"}]}'),
    ("numbers", request(A, B)),
    ("numbers", request(A, B, C, C)),
    ("numbers", request(A, B, B)),
    ("numbers", request(A, B, MATRIX)),
    ("numbers", request(MATRIX, MATRIX)),
    ("numbers", request(MATRIX, A)),
    ("numbers", request(A, B, C) + "x"),
    ("numbers", request(A, B, C)[:-1]),
    ("numbers", request(A, B, C)[:-2]),
    ("numbers", request(A, B, C, more=',"id":1')),
    ("numbers", request(A, B, C, more=',"id":"a\\u0020"')),
    ("numbers", request(A, B, C, more=',"id":"a\tb"')),
    ("numbers", request(A, B, C, more=',"id":"a","id":"b"')),
    ("numbers", request(A, B, C, more=',"id":"a')),
    ("numbers", request(A, B, C, more=',"inputs":[]')),
    ("numbers", request(A, B, C, more=',"other":1')),
    ("numbers", request(A, B, C, more=',"parameters":{}')),
    ("numbers", request(A, B, C, more=',"parameters":null')),
    ("numbers", request(A, B, C, more=',"parameters":{"key":1}')),
    ("numbers", request(A, B, C, more=',"parameters":{"key":"a","key":"b"}')),
    ("numbers", request(A, B, C, more=',"parameters":{"key":"a","timeout":5}')),
    ("numbers", request(A, B, C, more=',"parameters":{"timeout":5}')),
    ("numbers", request(A, B, C, more=',"parameters":{"key":"a"},"parameters":{"key":"b"}')),
    *[
        ("numbers", request(A, B, C, more=f',"outputs":{outputs}'))
        for outputs in (
            "[]",
            "{}",
            "[{}]",
            '[{"name":"other"}]',
            '[{"name":"probabilit\\u0079"}]',
            '[{"name":"probability","shape":[1]}]',
            '[{"name":"probability"},{"name":"probability"}]',
            '[{"name":"probability","name":"probability"}]',
            '[{"name":"probability"}],"outputs":[{"name":"probability"}]',
            '[{"name":"probability"',
            '[{"name":"probability","parameters":5}]',
            *[
                f'[{{"name":"probability","parameters":{{{parameters}}}}}]'
                for parameters in (
                    "",
                    '"binary_data":true',
                    '"classification":0',
                    '"classification":01',
                    '"classification":-1',
                    '"classification":1.0',
                    '"classification":"1"',
                    '"classification":1234567890',
                    '"classification":1,"classification":2',
                    '"classification":1},"parameters":{"classification":2',
                )
            ],
        )
    ],
    ("numbers", request(A, B, column("c", "[1,2]", datatype="BOOL"))),
    ("numbers", request(A, B, column("c", "[1,2.5]", datatype="INT64"))),
    ("numbers", request(A, B, column("c", "[1,300]", datatype="UINT8"))),
    ("numbers", request(A, B, column("c", "[1,1e39]", datatype="FP32"))),
    ("numbers", request(A, B, column("c", "[1,65519]", datatype="FP16"))),
    ("numbers", request(A, B, column("c", '["1",2]'))),
    ("numbers", request(A, B, column("c", '["1","2"]'))),
    ("numbers", request(A, B, column("c", "[1,2]", shape="[0]"))),
    ("numbers", request(A, B, column("c", "[1,2]", shape="[02]"))),
    ("numbers", request(A, B, column("c", "[1,2]", shape="[2.0]"))),
    ("numbers", request(A, B, column("c", "[1,2]", shape="[]"))),
    ("numbers", request(A, B, column("c", "[1,2]", shape="[2"))),
    ("numbers", request(A, B, column("c", "[1,2]", shape="[2,1,1]"))),
    ("numbers", request(A, B, column("c", "[1,2]", shape="[2,2]"))),
    ("numbers", request(A, B, column("c", "[1,2]", shape="[1000000000]"))),
    ("numbers", request(A, B, column("c", "[1,2]", shape="[3]"))),
    ("numbers", request(A, B, column("c", "[1,2,3]"))),
    ("numbers", request(A, B, column("c", "[[1,2]]"))),
    ("numbers", request(A, B, column("c", "[[1],[]]"))),
    ("numbers", request(A, B, column("c", "[[1],2]"))),
    ("numbers", request(A, B, column("c", "[[1] [2]]"))),
    ("numbers", request(A, B, column("c", "[1 2]"))),
    ("numbers", request(A, B, column("c", "1"))),
    ("numbers", request(A, B, column("c", "[true,1]"))),
    ("numbers", request(A, B, C.replace('"name":"c",', ""))),
    ("numbers", request(A, B, C.replace('"shape":[2],', ""))),
    ("numbers", request(A, B, C.replace('"datatype":"FP64",', ""))),
    ("numbers", request(A, B, C.replace(',"data":[-0,0.1]', ""))),
    ("numbers", request(A, B, C.replace('"name":"c"', '"name":"c","name":"b"'))),
    ("numbers", request(A, B, C.replace('"shape":[2]', '"shape":[2],"shape":[2]'))),
    ("numbers", request(A, B, C.replace('"data":', '"data":[1],"data":'))),
    ("numbers", request(A, B, C.replace('"data":', '"parameters":{},"data":'))),
    ("numbers", request(MATRIX.replace('"x"', '"ü"'))),
    ("numbers", request(MATRIX.replace("[2,3]", "[3,2]"))),
    ("numbers", request(MATRIX.replace("[2,3]", "[6]"))),
    ("numbers", request(MATRIX.replace("[1,2,3,4,5,null]", "[[1,2],[3,4],[5,null]]"))),
    ("numbers", request(MATRIX.replace("null", '"6"'))),
    ("mixed", request(SIZE, column("carrier", '["UA","??"]', datatype="BYTES"))),
    ("mixed", request(SIZE, column("carrier", '["UA","A\\u0041"]', datatype="BYTES"))),
    ("mixed", request(SIZE, column("carrier", '["UA"]', datatype="BYTES"))),
    ("mixed", request(SIZE, column("carrier", '["UA",1]', datatype="BYTES"))),
    ("mixed", request(SIZE, column("carrier", '["UA" "UA"]', datatype="BYTES"))),
    ("mixed", request(SIZE, column("carrier", "[0,1]", datatype="BYTES"))),
    ("mixed", request(SIZE, column("carrier", '["UA","UA"]'))),
    ("mixed", request(SIZE, column("carrier", '[["UA"],["UA"]]', datatype="BYTES"))),
    ("mixed", request(SIZE, column("carrier", "[[null],[null]]", datatype="BYTES"))),
    ("mixed", request(column("x", "[1,2]", shape="[1,2]"))),
    ("other", other("?", "x")),
    ("other", other("AA", "?")),
]


@pytest.mark.kernels
@pytest.mark.parametrize(("name", "body"), COMMON)
def test_a_common_request_is_read_in_c_as_python_reads_it(name: str, body: str) -> None:
    assert in_c(name, body.encode())
    assert_read_alike(name, body.encode())


@pytest.mark.kernels
@pytest.mark.parametrize(("name", "body"), UNCOMMON)
def test_any_other_request_is_left_to_python(name: str, body: str) -> None:
    assert not in_c(name, body.encode())
    assert_read_alike(name, body.encode())


@pytest.mark.kernels
@pytest.mark.parametrize(
    "body",
    [
        request(A, B, C, more=',"id":"\xff"').encode("latin-1"),
        request(A, B, C, more=',"parameters":{"key":"\xc3"}').encode("latin-1"),
        request(A, B, column("\xff", "[1,2]")).encode("latin-1"),
        request(MATRIX.replace('"x"', '"\xff"')).encode("latin-1"),
    ],
)
def test_a_text_that_is_not_utf_8_is_left_to_python(body: bytes) -> None:
    assert not in_c("numbers", body)
    assert_read_alike("numbers", body)


@pytest.mark.kernels
def test_a_category_that_is_not_utf_8_is_left_to_python() -> None:
    body = request(SIZE, column("carrier", '["UA","\xff"]', datatype="BYTES")).encode("latin-1")
    assert not in_c("mixed", body)
    assert_read_alike("mixed", body)


@pytest.mark.kernels
def test_a_column_that_is_looked_up_is_left_to_python() -> None:
    reader = RequestReader(NUMBERS, ignored=("x",))
    body = request(A, B, C, column("x", "[1,2]")).encode()
    assert read_common(body, False, *reader._columns_in_c) is None
    assert reader.read(body).rows.shape == (2, 3)


@pytest.mark.kernels
def test_a_long_body_is_left_to_python() -> None:
    rows = 1 << 16
    body = request(column("x", json.dumps([1.5] * 3 * rows), shape=f"[{rows},3]")).encode()
    assert not in_c("numbers", body)
    assert_read_alike("numbers", body)


@pytest.mark.kernels
@pytest.mark.parametrize(
    "arguments",
    [
        (b"",),
        (b"", False, [], {}, (), b"", 256, 9),
        (b"", False, (), (), (), b"", 256, 9),
        (b"", False, (), {}, [], b"", 256, 9),
        (b"", False, (), {}, (), "", 256, 9),
        (b"", False, (), {}, (), b"", "256", 9),
        (1, False, (), {}, (), b"", 256, 9),
    ],
)
def test_other_arguments_are_rejected(arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        read_common(*arguments)


@pytest.mark.kernels
@pytest.mark.parametrize(
    ("limits", "body"),
    [
        ((16, 9), request(A, B, C, more=f',"id":"{"x" * 17}"')),
        ((16, 9), request(A, B, C, more=f',"parameters":{{"key":"{"x" * 17}"}}')),
        ((16, 9), request(MATRIX.replace('"x"', f'"{"x" * 17}"'))),
        ((16, 1), request(A, B, C)),
        ((16, 1), request(MATRIX)),
        ((15, 9), request(A, B, C)),
    ],
)
def test_a_request_beyond_a_limit_is_left_to_python(limits: tuple[int, int], body: str) -> None:
    columns = READERS["numbers"][0]._columns_in_c[:4]
    assert read_common(body.encode(), False, *columns, 256, 9) is not None
    assert read_common(body.encode(), False, *columns, *limits) is None


numbers = st.one_of(
    st.integers(-300, 70_000).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["null", "-0", "0.0", "1e2", "-1E-3", "9007199254740993", "1e999", "01", "true", "NaN", '"AA"']),
)
strings = st.sampled_from(['"AA"', '"UA"', '"Zürich"', '"x"', '"?"', "null", "1", '"A\\u0041"'])
datatypes = st.sampled_from(["FP64"] * 6 + ["FP32", "FP16", "BOOL", "INT8", "INT64", "UINT16", "UINT64", "BYTES", "?"])
spaces = st.sampled_from(["", "", "", " ", "\n\t"])
extras = st.sampled_from(
    [""] * 4
    + ['"id":"x"', '"id":""', '"outputs":[]']
    + ['"parameters":{"key":"k"}', '"parameters":{"key":"k","timeout":1}']
)


def _input(draw: st.DrawFn, name: str, kind: str, n: int, *, width: int) -> str:
    """Draw one input, nearly always a valid one."""
    size = n * width if draw(st.integers(0, 9)) else draw(st.integers(0, 3))
    values = draw(st.lists(strings if kind == "BYTES" else numbers, min_size=size, max_size=size))
    space = draw(spaces)
    flat = f",{space}".join(values)
    nested = "],[".join(",".join(values[start : start + width]) for start in range(0, len(values), width))
    shape = f"[{n},{width}]" if width > 1 or draw(st.booleans()) else f"[{n}]"
    members = [
        f'"name":{space}"{name}"',
        f'"shape"{space}:{shape}',
        f'"datatype":"{"BYTES" if kind == "BYTES" else draw(datatypes)}"',
        f'"data":{space}[{flat}]' if draw(st.integers(0, 3)) else f'"data":[[{nested}]]',
    ]
    if not draw(st.integers(0, 3)):
        members = draw(st.permutations(members))
    return "{" + f"{space},".join(members) + "}"


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, str]:
    """Draw the name of a signature, and a body that is nearly always a valid request to it."""
    name = draw(st.sampled_from(sorted(SIGNATURES)))
    signature = SIGNATURES[name]
    n = draw(st.integers(1, 3))
    if draw(st.booleans()):
        chosen: Sequence[Field] = signature.inputs
        if not draw(st.integers(0, 3)):
            chosen = draw(st.lists(st.sampled_from(signature.inputs), max_size=4))
        made = [_input(draw, field.name, field.datatype, n, width=1) for field in chosen]
    else:
        made = [_input(draw, draw(st.sampled_from(["x", "rows", "a"])), "FP64", n, width=len(signature.inputs))]
    if not draw(st.integers(0, 9)):
        made = draw(st.permutations(made))
    extra = draw(extras)
    members = [f'"inputs":[{",".join(made)}]', *([extra] if extra else [])]
    return name, "{" + ",".join(draw(st.permutations(members))) + "}"


@pytest.mark.slow
@given(bodies())
@settings(max_examples=300, deadline=None)
def test_a_request_of_any_form_is_read_or_rejected_as_without_the_extension(drawn: tuple[str, str]) -> None:
    name, body = drawn
    assert_read_alike(name, body.encode())


replacements = st.sampled_from(list(b'"[]{},:\\ 0-.eE1n\xff'))


@pytest.mark.slow
@given(st.sampled_from(COMMON), st.data())
@settings(max_examples=300, deadline=None)
def test_a_mutated_request_is_read_or_rejected_as_without_the_extension(
    common: tuple[str, str], data: st.DataObject
) -> None:
    name, body = common
    changed = bytearray(body.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 2))] = data.draw(st.lists(replacements, max_size=2).map(bytes))
    assert_read_alike(name, bytes(changed))
