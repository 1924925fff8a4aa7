"""UBJSON is encoded and decoded without loss, and never read beyond the bytes; fields are checked by type."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.xgboosters import ubj

from headway.engines.formats.ubjson import MAX_DEPTH, DocumentSection, decode_ubjson, encode_ubjson

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.slow
@given(VALUES)
def test_an_encoded_value_decodes_to_itself(value: object) -> None:
    assert decode_ubjson(encode_ubjson(value)) == value


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "i4", "i8", "f4", "f8"])
def test_an_array_keeps_its_numbers_and_its_type(kind: str) -> None:
    found = decode_ubjson(encode_ubjson({"a": np.array([0, 1, 100], kind)}))["a"]
    assert found.dtype == np.dtype(kind) and found.tolist() == [0, 1, 100]


def test_arrays_are_encoded_as_the_library_does() -> None:
    tree = decode_ubjson(ubj())["learner"]["gradient_booster"]["model"]["trees"][0]
    arrays = {name: array for name, array in tree.items() if isinstance(array, np.ndarray) and array.size}
    assert len(arrays) > 10 and all(encode_ubjson({name: array})[1:-1] in ubj() for name, array in arrays.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated"),
        (b"q", "unknown type"),
        (b"ZZ", "trailing bytes"),
        (b"Si\xff", "items expected"),
        (b"Sd\0\0\0\0", "a count of type 'd'"),
        (b"Si\2\xff\xff", "not UTF-8"),
        (b"[$l#L\0\0\0\0\x7f\xff\xff\xff", "items expected"),
        (b"[$l#i\x02\0\0\0\1", "truncated"),
        (b"[$S#i\1", "an array of type 'S'"),
        (b"[$li\1", "an array of type 'l'"),
        (b"{i\1aZi\1aZ}", "duplicate key"),
        (b"[" * 100, "nested deeper"),
        (b"[i\1", "truncated"),
    ],
)
def test_invalid_bytes_are_rejected_with_their_position(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        decode_ubjson(content)
    assert "byte" in str(refusal.value)


def test_lists_without_a_count_are_read_to_their_end() -> None:
    assert decode_ubjson(b"[i\1[TF]Si\1a]") == [1, [True, False], "a"]
    assert decode_ubjson(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_rejected(content: bytes) -> None:
    try:
        decode_ubjson(content)
    except ValueError as refusal:
        assert "byte" in str(refusal)


SECTION = DocumentSection(
    {
        "text": "a",
        "count": "12",
        "number": 3,
        "far": "9" * 30,
        "truths": [True, False],
        "numbers": [1, 2.5],
        "huge": [10**30],
        "none": [],
        "array": np.array([1, 2], np.int16),
        "inner": {"deep": {"x": None}},
        "mixed": [1, "a"],
    },
    "file",
)


def test_a_field_is_returned_in_the_requested_type() -> None:
    assert (SECTION.string("text"), SECTION.integer("count", 0, 20), SECTION.integer("number", 0, 20)) == ("a", 12, 3)
    assert SECTION.ints("truths").tolist() == [1, 0] and SECTION.floats("numbers", 2).tolist() == [1.0, 2.5]
    assert SECTION.ints("none").dtype == np.int64 and SECTION.ints("array", 2).dtype == np.int64
    assert SECTION.list("array") == [1, 2] and list(SECTION.sections()) == ["inner"] and not SECTION.has("nowhere")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: SECTION.string("nowhere"), r"file\.nowhere is missing"),
        (lambda: SECTION.string("count").join(SECTION.string("number")), r"file\.number: not a string"),
        (lambda: SECTION.section("text"), r"file\.text: not a mapping"),
        (lambda: SECTION.section("inner").section("deep").string("x"), r"file\.inner\.deep\.x: not a string"),
        (lambda: SECTION.list("text"), r"file\.text: not a list"),
        (lambda: SECTION.integer("count", 0, 11), r"file\.count is '12', not an integer from 0 to 11"),
        (lambda: SECTION.integer("text", 0, 11), r"file\.text is 'a'"),
        (lambda: SECTION.integer("far", 0, 11), r"file\.far is"),
        (lambda: SECTION.ints("numbers"), r"file\.numbers: not a list of integers"),
        (lambda: SECTION.ints("mixed"), r"file\.mixed: not a list of numbers"),
        (lambda: SECTION.floats("huge"), r"file\.huge: not a list of numbers"),
        (lambda: SECTION.floats("text"), r"file\.text: not a list of numbers"),
        (lambda: SECTION.ints("array", 3), r"file\.array: 2 numbers, expected 3"),
        (lambda: SECTION.section("inner").strings(), r"file\.inner\.deep: not a string"),
        (lambda: DocumentSection([]), "the document: not a mapping"),
    ],
)
def test_a_field_of_another_type_is_rejected_with_its_path(ask: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask()
