"""A few rows of pandas are read cell by cell, to the same numbers as a table of them, or left to who reads tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.api.tables import MAX_ROWS, SmallTableReader, to_polars
from headway.core.variant import Field, Signature
from headway.data.matrix import matrix

TEXTS = ("ab", "b", "ca")
SIGNATURE = Signature(
    inputs=(
        Field(name="number"),
        Field(name="text", datatype="BYTES", categories=TEXTS),
        Field(name="other", datatype="BYTES", categories=TEXTS, unseen="other"),
        Field(name="count"),
    )
)
CELLS = st.sampled_from([*TEXTS, "never seen", "", None])
ROW = st.tuples(st.floats(width=64), CELLS, CELLS, st.integers(-(2**53), 2**53))


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=5))
def test_the_values_are_those_of_the_table(rows):
    frame = pd.DataFrame(rows, columns=["number", "text", "other", "count"])
    found = SmallTableReader(SIGNATURE).read(frame)
    assert np.array_equal(found, matrix(to_polars(frame), SIGNATURE), equal_nan=True)


def test_columns_are_found_by_name_in_any_order_and_others_ignored():
    frame = pd.DataFrame({"count": [3], "more": ["x"], "other": ["b"], "text": ["ca"], "number": [1.5]})
    assert SmallTableReader(SIGNATURE).read(frame).tolist() == [[1.5, 2.0, 1.0, 3.0]]


def test_another_header_is_searched_again():
    reader, frame = (
        SmallTableReader(SIGNATURE),
        pd.DataFrame({"number": [1.0], "text": ["b"], "other": ["b"], "count": [2]}),
    )
    first = reader.read(frame)
    assert np.array_equal(reader.read(frame[["count", "other", "text", "number"]]), first)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"number": ["1.5"], "text": ["b"], "other": ["b"], "count": [1]}),
        pd.DataFrame({"number": [pd.Timestamp(0)], "text": ["b"], "other": ["b"], "count": [1]}),
        pd.DataFrame({"number": [1.5], "text": [3], "other": ["b"], "count": [1]}),
        pd.DataFrame({"number": [1.5], "text": ["b"], "count": [1]}),
        pd.DataFrame(index=[0]),
        pd.DataFrame([[1.5, "b", "b", 1, 1]], columns=["number", "text", "other", "count", "count"]),
        pd.DataFrame({"number": [1.5], "text": ["b"], "other": ["b"], "count": [1]}).loc[[0] * (MAX_ROWS + 1)],
    ],
    ids=[
        "a number as text",
        "a time",
        "a number for a text",
        "no column",
        "no columns at all",
        "two of a name",
        "many rows",
    ],
)
def test_other_tables_are_left_to_the_general_conversion(frame):
    assert SmallTableReader(SIGNATURE).read(frame) is None


def test_an_unknown_category_is_left_to_the_general_conversion():
    refusing = Signature(inputs=(Field(name="text", datatype="BYTES", categories=TEXTS, unseen="refused"),))
    assert SmallTableReader(refusing).read(pd.DataFrame({"text": ["zz"]})) is None
