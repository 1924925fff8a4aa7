"""Texts of a request, such as entities of feature views, as numbers in its rows: in C and in Python alike."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import DataError
from headway.core.texts import MAX_ENTITY, TextCodes, TextForgotten, entity_codes
from headway.core.variant import Field, Signature
from headway.serving.protocol.errors import request_error
from headway.serving.protocol.open_inference import RequestReader, read_common

SIGNATURE = Signature(inputs=(Field(name="a"), Field(name="who", datatype="BYTES")))
IN_PYTHON = RequestReader(SIGNATURE, texts=("who",), lift=None, read_common=None)
TEXTS = st.lists(st.none() | st.text(max_size=8), min_size=1, max_size=4)
INTEGERS = st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4)


def body(values, datatype="BYTES"):
    """Return a request with these values."""
    shape = [len(values)]
    a = {"name": "a", "shape": shape, "datatype": "FP64", "data": [1.0] * len(values)}
    return json.dumps({"inputs": [a, {"name": "who", "shape": shape, "datatype": datatype, "data": values}]}).encode()


def read(reader, values, datatype="BYTES"):
    """Return the texts that a reader reads."""
    return entity_codes.texts(reader.read(body(values, datatype)).rows[:, 1])


@given(TEXTS)
def test_strings_come_out_as_they_are_on_both_paths(values):
    reader = RequestReader(SIGNATURE, texts=("who",))
    assert read(IN_PYTHON, values) == read(reader, values) == read(reader, values) == values


@given(INTEGERS)
def test_integers_come_out_with_all_of_their_digits_on_both_paths(values):
    reader, wanted = RequestReader(SIGNATURE, texts=("who",)), [None if n is None else str(n) for n in values]
    assert read(IN_PYTHON, values, "INT64") == read(reader, values, "INT64") == read(reader, values, "INT64") == wanted


@pytest.mark.kernels
@pytest.mark.parametrize(("values", "datatype"), [(["ann", None], "BYTES"), ([17, -3], "INT64")])
def test_a_text_that_was_read_before_is_read_in_c(values, datatype):
    reader = RequestReader(SIGNATURE, texts=("who",), read_common=read_common)
    assert read(IN_PYTHON, values, datatype)
    found = reader._common(body(values, datatype))
    assert entity_codes.texts(found.rows[:, 1]) == [None if value is None else str(value) for value in values]


@pytest.mark.parametrize(
    ("values", "datatype", "message"),
    [
        ([1.0], "FP64", "expected a string: BYTES, or an integer: INT64"),
        ([1.5], "INT64", "expected strings, integers or null"),
        (["x" * (MAX_ENTITY + 1)], "BYTES", "at most 1,024 are allowed"),
    ],
)
def test_what_is_neither_a_string_nor_an_integer_is_refused_on_both_paths(values, datatype, message):
    for reader in (IN_PYTHON, RequestReader(SIGNATURE, texts=("who",))):
        with pytest.raises(DataError, match=message):
            reader.read(body(values, datatype))


def test_old_texts_are_forgotten_long_after_they_were_read():
    codes = TextCodes(max_texts=2)
    first = codes["a"]
    others = [codes[text] for text in "bc"]
    assert codes.texts(np.array([first, *others, np.nan])) == ["a", "b", "c", None]
    assert codes["a"] == first  # it was used again, so it stays
    for text in "defgh":
        assert codes[text] not in (first, *others)
    with pytest.raises(TextForgotten, match="too many different texts") as forgotten:
        codes.texts(np.array([first]))
    found = request_error(forgotten.value)
    assert (found.status, found.retry_s) == (429, 1)


def test_the_numbers_of_another_process_are_refused():
    there, here = TextCodes(), TextCodes()
    assert here["a"] != there["b"]
    with pytest.raises(TextForgotten):
        here.texts(np.array([there["b"]]))


def test_a_model_reads_no_integer_as_a_text():
    with pytest.raises(TypeError):
        TextCodes()[17]


def test_the_texts_of_a_dataset_are_kept():
    codes = TextCodes(max_texts=2)
    stored = codes.keep(["a", None, "b", "a"])
    for text in "cdefgh":
        assert codes[text] not in stored
    assert codes.texts(np.array(stored)) == ["a", None, "b", "a"]
    assert [codes[text] for text in "ab"] == codes.keep("ab") == [stored[0], stored[2]]
