from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.provenance import ColumnChange
from headway.data.provenance.versions import SAMPLE, DataVersion, compare_versions, make_version

DRAW = np.random.default_rng(0)
TABLE = pl.DataFrame(
    {
        "n": DRAW.normal(size=3000),
        "t": DRAW.choice(["AA", "B6", "UA"], 3000),
        "d": [date(2020, 1, 1) + timedelta(days=row // 10) for row in range(3000)],
        "gap": [None if row % 3 else float(row) for row in range(3000)],
    }
)


def stored(table: pl.DataFrame) -> DataVersion:
    """Return a version without its table."""
    found = make_version(table, name="stored")
    return DataVersion(name=found.name, digest=found.digest, columns=found.columns, rows=found.rows)


def changes(before: pl.DataFrame, after: pl.DataFrame) -> dict[str, ColumnChange]:
    return {column.name: column for column in compare_versions(make_version(before, name="a"), stored(after)).columns}


def test_the_same_rows_in_another_order_are_equal():
    found = compare_versions(stored(TABLE), make_version(TABLE.sample(fraction=1, shuffle=True, seed=1), name="b"))
    assert (found.same, found.columns, found.rows_added, found.rows_removed) == (True, (), 0, 0)


def test_a_changed_cell_is_one_row_removed_and_one_added():
    values = TABLE["n"].to_list()
    changed = TABLE.with_columns(n=pl.Series([values[0] + 1, *values[1:]]))

    found = compare_versions(make_version(TABLE, name="a"), make_version(changed, name="b"))

    [column] = found.columns
    assert (found.same, found.rows_added, found.rows_removed) == (False, 1, 1)
    assert (column.name, column.change) == ("n", "changed") and column.distance < column.chance_level


def test_added_and_removed_rows_are_counted_with_repeats():
    found = compare_versions(stored(TABLE), stored(pl.concat([TABLE.tail(-10), TABLE.tail(5)])))
    assert (found.rows, found.rows_added, found.rows_removed) == ((3000, 2995), 5, 10)


@pytest.mark.slow
@given(st.lists(st.integers(0, 9), max_size=20), st.lists(st.integers(0, 9), max_size=20), st.integers(1, 5))
def test_rows_are_counted_range_by_range(before: list[int], after: list[int], range_rows: int):
    one, other = (pl.DataFrame({"n": pl.Series(values, dtype=pl.Int64)}) for values in (before, after))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headway.data.provenance.versions.RANGE_ROWS", range_rows)
        found = compare_versions(make_version(one, name="a"), make_version(other, name="b"))
    had, has = Counter(before), Counter(after)
    assert (found.rows_removed, found.rows_added) == ((had - has).total(), (has - had).total())


def test_shifted_values_are_reported_with_the_distance_due_to_chance():
    moved = TABLE.with_columns(
        n=pl.col("n") + 1,
        t=pl.when(pl.int_range(3000) < 1500).then(pl.lit("WN")).otherwise("t"),
        d=pl.col("d").dt.offset_by("1y"),
    )
    found = changes(TABLE, moved)

    assert 0.35 < found["n"].distance < 0.42  # two normals one apart: 0.383
    assert 0.4 < found["t"].distance < 0.6
    assert found["d"].distance == 1.0
    assert all(column.distance > column.chance_level for column in found.values())


def test_new_rows_of_the_same_distribution_are_within_chance():
    draw = np.random.default_rng(1)
    again = TABLE.with_columns(n=pl.Series(draw.normal(size=3000)), t=pl.Series(draw.choice(["AA", "B6", "UA"], 3000)))
    assert all(column.distance < column.chance_level for column in changes(TABLE, again).values())


def test_missing_cells_are_counted_before_and_after():
    assert changes(TABLE, TABLE.with_columns(pl.col("gap").fill_null(0.0)))["gap"].missing == (2000, 0)


def test_rows_are_matched_by_their_common_columns():
    less, more = TABLE.drop("gap"), TABLE.with_columns(new=pl.lit(1))
    found = compare_versions(make_version(less, name="a"), make_version(more, name="b"))

    assert [(column.name, column.change) for column in found.columns] == [("gap", "added"), ("new", "added")]
    assert (found.rows_added, found.rows_removed) == (0, 0)


def test_rows_stored_with_other_columns_cannot_be_matched():
    found = compare_versions(stored(TABLE), make_version(TABLE.drop("gap"), name="b"))
    assert (found.rows_added, found.rows_removed) == (None, None)
    assert [(column.name, column.change) for column in found.columns] == [("gap", "removed")]


def test_a_column_of_another_kind_has_no_distance():
    found = changes(TABLE, TABLE.with_columns(n=pl.lit("x"), t=pl.lit(None)))
    assert [found[name].distance for name in ("n", "t")] == [None, None]


def test_long_tables_are_compared_by_a_sample_independent_of_row_order():
    table = pl.DataFrame({"n": np.random.default_rng(2).normal(size=3 * SAMPLE)})
    found = make_version(table, name="a").columns["n"]

    assert found == make_version(table.reverse(), name="b").columns["n"]
    assert found.sampled == SAMPLE and abs(found.knots[50]) < 0.03


def test_infinite_values_are_stored_as_the_largest_numbers():
    knots = make_version(pl.DataFrame({"n": [1.0, float("inf")]}), name="a").columns["n"].knots
    assert np.isfinite(knots).all()
