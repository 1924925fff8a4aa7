"""UBJSON is read as it was written, and never further than the bytes reach."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.xgboosters import ubj

from headway.engines.formats.ubjson import MAX_DEPTH, decode_ubjson, encode_ubjson

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read_again(value: object) -> None:
    assert decode_ubjson(encode_ubjson(value)) == value


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "i4", "i8", "f4", "f8"])
def test_an_array_keeps_its_numbers_and_its_type(kind: str) -> None:
    found = decode_ubjson(encode_ubjson({"a": np.array([0, 1, 100], kind)}))["a"]
    assert found.dtype == np.dtype(kind) and found.tolist() == [0, 1, 100]


def test_an_array_that_the_library_wrote_is_written_alike() -> None:
    tree = decode_ubjson(ubj())["learner"]["gradient_booster"]["model"]["trees"][0]
    arrays = {name: each for name, each in tree.items() if isinstance(each, np.ndarray) and each.size}
    assert len(arrays) > 10 and all(encode_ubjson({name: each})[1:-1] in ubj() for name, each in arrays.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short"),
        (b"q", "no type of value"),
        (b"ZZ", "follows the end"),
        (b"Si\xff", "are said to follow"),
        (b"Sd\0\0\0\0", "a count of type 'd'"),
        (b"Si\2\xff\xff", "no text"),
        (b"[$l#L\0\0\0\0\x7f\xff\xff\xff", "are said to follow"),
        (b"[$l#i\x02\0\0\0\1", "cut short"),
        (b"[$S#i\1", "an array of type 'S'"),
        (b"[$li\1", "an array of type 'l'"),
        (b"{i\1aZi\1aZ}", "stands twice"),
        (b"[" * 100, "nested deeper"),
        (b"[i\1", "cut short"),
    ],
)
def test_bytes_that_are_no_value_are_refused_with_the_place(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        decode_ubjson(content)
    assert "byte" in str(refusal.value)


def test_lists_without_a_count_are_read_to_their_end() -> None:
    assert decode_ubjson(b"[i\1[TF]Si\1a]") == [1, [True, False], "a"]
    assert decode_ubjson(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_refused(content: bytes) -> None:
    try:
        decode_ubjson(content)
    except ValueError as refusal:
        assert "byte" in str(refusal)
