from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.tables import small, with_column

from headway.core.errors import DataError
from headway.core.variant import Field, Signature
from headway.data.matrix import (
    dataset_signature,
    encode_columns,
    group_codes,
    matrix,
    month_column,
    sensitive_columns,
    slice_columns,
    target_values,
    training_frame,
)
from headway.data.roles import check_roles
from headway.data.split import labeled_rows


def test_the_signature_has_the_features_with_their_categories():
    signature = dataset_signature(small())

    assert signature.inputs == (
        Field(name="hour"),
        Field(name="carrier", datatype="BYTES", categories=("AA", "UA")),
    )


def test_an_outcome_column_is_not_an_input():
    assert "hour" not in dataset_signature(small(known={"hour": "outcome"})).names


def test_a_string_becomes_its_rank_and_a_null_or_unseen_string_becomes_missing():
    signature = Signature(inputs=(Field(name="carrier", datatype="BYTES", categories=("AA", "UA")),))
    rows = matrix(pl.DataFrame({"carrier": ["UA", "AA", None, "ZZ"]}), signature)

    np.testing.assert_array_equal(rows[:, 0], [1.0, 0.0, np.nan, np.nan])
    assert rows.flags.c_contiguous


def test_numbers_booleans_and_strings_are_columns_in_the_order_of_the_signature():
    table = pl.DataFrame({"more": [1, 2], "is_new": [True, None], "size": ["L", None], "x": [0.5, None]})
    fields = (Field(name="x"), Field(name="size", datatype="BYTES", categories=("L", "S")), Field(name="is_new"))
    rows = matrix(pl.concat([table, table]), Signature(inputs=fields))

    np.testing.assert_array_equal(rows, [[0.5, 0.0, 1.0], [np.nan] * 3] * 2)
    assert rows.flags.c_contiguous and rows.flags.writeable and rows.dtype == np.float64


def test_a_model_of_strings_alone_leaves_the_other_columns_out():
    table = pl.DataFrame({"target": [0, 1], "size": ["S", "L"]})
    rows = matrix(table, Signature(inputs=(Field(name="size", datatype="BYTES", categories=("L", "S")),)))

    assert rows.tolist() == [[1.0], [0.0]]


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-9, 9),
            st.none() | st.booleans(),
            st.none() | st.floats(width=32),
            st.none() | st.sampled_from(["AA", "UA", "XX"]),
        ),
        max_size=30,
    ),
    st.integers(0, 30),
)
def test_encoded_columns_are_those_of_the_matrix(cells, cut):
    schema = {"count": pl.Int16, "flag": pl.Boolean, "size": pl.Float32, "carrier": pl.String}
    table = pl.DataFrame(cells, schema=schema, orient="row")
    table = table.head(cut).vstack(table.slice(cut))
    carrier = Field(name="carrier", datatype="BYTES", categories=("AA", "UA"))
    signature = Signature(inputs=(Field(name="size"), carrier, Field(name="flag"), Field(name="count")))
    columns = encode_columns(table, signature)
    assert all(array.dtype == np.float64 and array.flags.c_contiguous for column in columns for array in column)
    whole = np.array([np.concatenate([np.empty(0), *column]) for column in columns]).T
    assert np.array_equal(whole, matrix(table, signature), equal_nan=True)


def test_one_column_of_numbers_is_copied():
    table = pl.DataFrame({"x": [0.5, 1.5]})
    rows = matrix(table, Signature(inputs=(Field(name="x"),)))
    rows[0] = 9.0

    assert table["x"].to_list() == [0.5, 1.5]


def test_a_column_that_is_absent_is_named():
    with pytest.raises(DataError, match="the table lacks carrier"):
        matrix(small().table.drop("carrier"), dataset_signature(small()))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1", "x"], "column 'a' holds 'x', expected a number"),
        ([[1], [2]], r"a \(List"),
    ],
)
def test_a_column_with_other_values_than_numbers_is_named(values, message):
    signature = Signature(inputs=(Field(name="a"), Field(name="b")))
    with pytest.raises(DataError, match=message):
        matrix(pl.DataFrame({"a": values, "b": [1.0, 2.0]}), signature)


def test_a_column_that_is_neither_number_nor_string_is_named():
    with pytest.raises(DataError, match="'when' is Date: neither number nor text"):
        dataset_signature(with_column(small(), when=small().table["day"]))


def test_a_table_with_no_feature_left_is_refused():
    with pytest.raises(DataError, match="no column is left"):
        dataset_signature(small(ignore=("hour", "carrier")))


def test_missing_labels_are_refused():
    with pytest.raises(DataError, match="20 rows have no 'late'"):
        target_values(small())


def test_a_target_of_other_values_than_0_and_1_is_refused():
    with pytest.raises(DataError, match="expected 0 and 1"):
        target_values(with_column(small(), late=[2] * 400))


def test_a_target_of_one_class_is_refused():
    with pytest.raises(DataError, match="one class only"):
        target_values(with_column(small(), late=[1] * 400))


def test_groups_are_numbered_in_order_of_their_value():
    np.testing.assert_array_equal(group_codes(small()), np.repeat(np.arange(40), 10))


def test_without_groups_each_row_is_its_own():
    assert len(np.unique(group_codes(small(groups="")))) == 400


def test_a_slice_names_its_values_and_the_missing():
    column = slice_columns(small(slices=("carrier",)))["carrier"]

    assert column.values == ("AA", "UA", "missing")
    assert np.bincount(column.codes).sum() == 400


def test_sensitive_groups_are_the_values_of_their_column():
    assert sensitive_columns(small(sensitive_features=("carrier",)))["carrier"].values == ("AA", "UA", "missing")


def test_months_are_in_time_order_and_need_a_time():
    dataset = with_column(small(time="at"), at=pl.Series([datetime(2013, 1 + row // 300, 5) for row in range(400)]))
    assert month_column(dataset).values == ("2013-01", "2013-02")
    assert np.bincount(month_column(dataset).codes).tolist() == [300, 100]
    assert month_column(small(time="")) is None


def test_labels_are_the_target_of_the_labeled_rows():
    assert target_values(labeled_rows(small())).shape == (380,)


def test_languages_of_texts_are_slices_and_uncertain_or_missing_ones_are_apart():
    texts = ["where is my parcel please", "wo ist mein Paket geblieben", "ok", None]
    dataset = with_column(small(text=("message",), slices=("message.language",)), message=texts * 100)
    check_roles(dataset.table, dataset.roles, name="small")
    column = slice_columns(dataset)["message.language"]

    assert column.values == ("de", "en", "missing", "uncertain")
    assert column.codes[:4].tolist() == [1, 0, 3, 2]
    assert "message.language" not in dataset.features


def test_a_declared_text_is_an_input_without_categories_and_is_trained_on_as_it_is():
    dataset = small(text=("carrier",))
    signature = dataset_signature(dataset)
    assert signature.inputs[1] == Field(name="carrier", datatype="BYTES", is_text=True)

    frame = training_frame(dataset.table, signature)
    assert frame.schema == {"hour": pl.Float64, "carrier": pl.String}
    assert frame["carrier"].equals(dataset.table["carrier"])
    alone = training_frame(dataset.table, Signature(inputs=signature.inputs[1:]))
    assert alone.equals(dataset.table.select("carrier"))
    assert training_frame(dataset.table, dataset_signature(small())).schema == {
        "hour": pl.Float64,
        "carrier": pl.Float64,
    }
