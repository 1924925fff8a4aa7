"""Tables in every form that users have: the same rows come out of each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from headway.api.tables import to_polars, to_series
from headway.core.errors import DataError

NUMBERS = [1.0, None, 3.0]
TEXTS = ["AA", None, "UA"]
TABLE = pl.DataFrame({"number": NUMBERS, "text": TEXTS})


class SpeaksArrow:
    """A table of an unknown library that hands out an Arrow stream."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return TABLE.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "rows",
    [
        TABLE,
        TABLE.lazy(),
        pd.DataFrame({"number": NUMBERS, "text": TEXTS}),
        pd.DataFrame({"number": pd.array([1, None, 3], dtype="Int64"), "text": pd.Categorical(TEXTS)}),
        pd.DataFrame({"number": NUMBERS, "text": pd.array(TEXTS, dtype="string")}),
        SpeaksArrow(),
        {"number": NUMBERS, "text": TEXTS},
    ],
    ids=["polars", "lazy", "pandas", "pandas-nullable", "pandas-string", "arrow", "dict"],
)
def test_every_kind_of_table_gives_the_same_rows(rows):
    found = to_polars(rows).with_columns(pl.col("number").cast(pl.Float64).fill_nan(None))
    assert found.rows() == TABLE.rows()


def test_times_of_pandas_stay_times():
    days = pd.date_range("2013-01-01", periods=3)
    assert to_polars(pd.DataFrame({"day": days}))["day"].dtype.is_temporal()


def test_a_matrix_gets_the_column_names_of_the_model():
    assert to_polars(np.eye(2), ["a", "b"]).columns == ["a", "b"]


def test_a_matrix_of_another_width_has_names_of_its_own():
    assert to_polars(np.eye(3), ["a", "b"]).columns == ["x0", "x1", "x2"]


@pytest.mark.parametrize("absent", [0.0, np.nan])
def test_absent_cells_of_a_sparse_matrix_differ_from_stored_zeros(absent):
    stored_zero = sparse.csr_matrix((np.array([0.0, 5.0]), (np.array([0, 1]), np.array([0, 1]))), shape=(2, 2))
    assert np.array_equal(to_polars(stored_zero, absent=absent).to_numpy(), [[0, absent], [absent, 5]], equal_nan=True)


def test_values_stored_for_the_same_cell_are_summed_and_the_matrix_is_unchanged():
    twice = sparse.csr_matrix((np.array([1.0, 5.0, 2.0]), np.array([1, 0, 1]), np.array([0, 3])), shape=(1, 2))
    assert to_polars(twice).rows() == [(5.0, 3.0)]
    assert twice.data.tolist() == [1.0, 5.0, 2.0]


def test_a_sparse_matrix_too_large_for_a_table_is_rejected_with_its_size():
    with pytest.raises(DataError, match=r"1,000,000 x 1,000,000 would take 7450\.6 GiB"):
        to_polars(sparse.csr_matrix((1_000_000, 1_000_000)))


@pytest.mark.parametrize(
    ("rows", "message"), [("a text", "is not a table"), (np.zeros(3), r"shape \(3,\), expected \[n, d\]")]
)
def test_an_object_that_is_not_a_table_is_rejected_by_its_type(rows, message):
    with pytest.raises(DataError, match=message):
        to_polars(rows)


@pytest.mark.parametrize(
    "values",
    [
        [1, 2],
        np.array([1, 2]),
        np.array([[1], [2]]),
        pd.Series([1, 2]),
        pl.Series([1, 2]),
        pd.DataFrame({"a": [1, 2]})["a"],
    ],
)
def test_a_column_is_a_series_an_array_or_a_list(values):
    assert to_series(values, "y").to_list() == [1, 2]


def test_a_column_with_two_values_a_row_is_rejected_by_its_shape():
    with pytest.raises(DataError, match=r"'y' has shape \(2, 2\)"):
        to_series(np.eye(2), "y")
