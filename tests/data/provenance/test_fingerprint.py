from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.provenance.drawn import CELLS, by_csv, by_parquet, shuffled, tables

from headway.core.errors import DataError
from headway.data.provenance.fingerprint import canonical_columns, canonical_order, fingerprint_table, table_digest

pytestmark = pytest.mark.slow

SEEDS = st.integers(0, 2**32)


def summary(table: pl.DataFrame) -> tuple[dict[str, str], str, str]:
    """Return the column sums, the total and the digest of a table."""
    found = fingerprint_table(table)
    return found.columns, found.total, table_digest(table)


@settings(deadline=None)
@given(tables(), SEEDS)
def test_the_order_of_rows_and_columns_does_not_matter(table: pl.DataFrame, seed: int):
    assert summary(table) == summary(shuffled(table, seed))


@settings(deadline=None)
@given(tables(), SEEDS)
def test_parquet_has_the_same_fingerprint(table: pl.DataFrame, seed: int):
    assert summary(table) == summary(by_parquet(shuffled(table, seed)))


@settings(deadline=None)
@given(tables().map(lambda table: table.with_columns(word="~" + pl.col("word"))))
def test_csv_has_the_same_fingerprint_if_strings_stay_strings(table: pl.DataFrame):
    assert summary(table) == summary(by_csv(table))


@settings(deadline=None)
@given(tables(), st.data())
def test_a_changed_cell_changes_its_column_and_the_total(table: pl.DataFrame, data: st.DataObject):
    name = data.draw(st.sampled_from(table.columns))
    row = data.draw(st.integers(0, len(table) - 1))
    cells, dtype = CELLS[name]
    new = data.draw((st.none() | cells).filter(lambda value: value != table[name][row]))
    values = table[name].to_list()
    changed = table.with_columns(pl.Series(name, [*values[:row], new, *values[row + 1 :]], dtype=dtype))

    before, after = summary(table), summary(changed)

    assert [name_ for name_ in before[0] if before[0][name_] != after[0][name_]] == [name]
    assert before[1] != after[1] and before[2] != after[2]


@settings(deadline=None)
@given(tables())
def test_a_repeated_row_changes_the_fingerprint(table: pl.DataFrame):
    twice = pl.concat([table, table.head(1)])
    assert summary(table)[1:] != summary(twice)[1:] and table_digest(table) != table_digest(twice)


def test_cells_swapped_within_a_column_change_the_rows():
    table = pl.DataFrame({"a": [1, 2], "b": [1, 2]})
    crossed = table.with_columns(b=pl.col("b").reverse())

    assert fingerprint_table(table).columns == fingerprint_table(crossed).columns
    assert fingerprint_table(table).total != fingerprint_table(crossed).total and table_digest(table) != table_digest(
        crossed
    )


def test_swapped_column_names_change_the_digest():
    table = pl.DataFrame({"a": [1, 2], "b": [3, 4]})
    assert table_digest(table) != table_digest(table.rename({"a": "b", "b": "a"}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pl.Series([1, 0, None]), pl.Series([True, False, None])),
        (pl.Series([1.5, None, -0.0]), pl.Series([1.5, float("nan"), 0.0])),
        (pl.Series([0.1, None], dtype=pl.Float32), pl.Series([0.1, None])),
        (pl.Series(["x", None]), pl.Series(["x", None], dtype=pl.Categorical)),
        (pl.Series(["x", "y" * 20]), pl.Series(["x", "y" * 20], dtype=pl.Enum(["x", "y" * 20]))),
        (pl.Series([1.25]), pl.Series([1.25]).cast(pl.Decimal(9, 2))),
        (pl.Series([None, None], dtype=pl.Float64), pl.Series([None, None], dtype=pl.String)),
        (pl.Series([float("nan")]), pl.Series([None], dtype=pl.Null)),
        (pl.Series([2**63], dtype=pl.UInt64), pl.Series([2.0**63])),
        (pl.Series([10**12]).cast(pl.Datetime("us")), pl.Series([10**15]).cast(pl.Datetime("ns"))),
        (pl.Series([1]).cast(pl.Date), pl.Series([86_400_000]).cast(pl.Datetime("ms"))),
    ],
    ids=str,
)
def test_equal_values_of_different_types_are_equal(one: pl.Series, other: pl.Series):
    assert summary(one.to_frame("a")) == summary(other.to_frame("a"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pl.Series([2**53]), pl.Series([2**53 + 1])),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), pl.Series([2**64 - 2], dtype=pl.UInt64)),
        (pl.Series([-1]), pl.Series([2**64 - 1], dtype=pl.UInt64)),
        (pl.Series(["", "x"]), pl.Series([None, "x"])),
        (pl.Series(["a long text of many letters"]), pl.Series(["a long text of many letterS"])),
        (pl.Series([b"a"]), pl.Series([b"b"])),
        (pl.Series([1, None]).cast(pl.Duration("us")), pl.Series([2, None]).cast(pl.Duration("us"))),
        (pl.Series([[1, 2]]), pl.Series([[1, 3]])),
        (pl.Series([{"a": 1}, None]), pl.Series([{"a": None}, None])),
        (pl.Series([1]).cast(pl.Datetime("ns")), pl.Series([2]).cast(pl.Datetime("ns"))),
        (pl.Series([1]).cast(pl.Datetime("us")), pl.Series([1]).cast(pl.Datetime("us", "UTC"))),
    ],
    ids=str,
)
def test_similar_values_differ(one: pl.Series, other: pl.Series):
    assert [a != b for a, b in zip(summary(one.to_frame("a")), summary(other.to_frame("a")), strict=True)] == [True] * 3


@settings(deadline=None)
@given(tables(), SEEDS)
def test_rows_with_equal_fingerprints_are_ordered_by_content(table: pl.DataFrame, seed: int):
    def ordered(table: pl.DataFrame) -> pl.DataFrame:
        order = canonical_order(canonical_columns(table), np.zeros(len(table), np.uint64))
        return table[order]

    assert ordered(table).equals(ordered(table.sample(fraction=1, shuffle=True, seed=seed)))


def test_a_fingerprint_is_stable_between_releases():
    table = pl.DataFrame({"n": [1, None, 3], "t": ["a", "a longer text than a view", None]})
    found = fingerprint_table(table)

    assert (found.columns, found.total) == ({"n": "90e3a6d28c969135", "t": "605bf6d96bb39e72"}, "3bade23530ae755c")
    assert table_digest(table) == "sha256:00501efed355e9b2cdc18dd68cb9bb348569229a0ec405ba38b18ab03341cc44"


def test_python_objects_have_no_fingerprint():
    with pytest.raises(DataError, match="column 'a' holds Python objects"):
        fingerprint_table(pl.DataFrame({"a": [object()]}))
