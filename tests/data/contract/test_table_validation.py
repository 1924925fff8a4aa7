"""Validation counts, shows and quarantines the same rows in memory, lazily and as a stream."""

from __future__ import annotations

import math
import re
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import DataError
from headway.data.contract import validation as validation
from headway.data.contract.table_contract import ColumnContract, TableContract
from headway.data.contract.validation import (
    REASON,
    ROW,
    KeyConstraint,
    failing_rows,
    passing_rows,
    rows_violating_key,
    validate_table,
    violates_key,
)

CONTRACT = TableContract(
    columns={
        "id": ColumnContract(type="integer", missing=1),
        "size": ColumnContract(type="number", minimum=0, maximum=10.5),
        "kind": ColumnContract(type="string", missing=1, values=("a", "b", "long"), max_length=3, pattern="[a-z]*"),
        "first": ColumnContract(type="integer", missing=1),
        "last": ColumnContract(type="integer", missing=1),
        "town": ColumnContract(type="string", missing=0.5),
        "code": ColumnContract(type="string", missing=1),
    },
    unique=(("id",), ("town", "code")),
    relations=("first <= last", "town -> code", "first + last == id"),
)
WHOLE = st.one_of(st.none(), st.integers(-2, 6))
TEXT = st.one_of(st.none(), st.sampled_from(["a", "b", "long", "A", ""]))
SIZE = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 10.5, 10.6, -1.0, math.nan, math.inf, -math.inf]))
ROWS = st.lists(st.tuples(WHOLE, SIZE, TEXT, WHOLE, WHOLE, TEXT, TEXT), max_size=12)
SCHEMA = dict(
    zip(CONTRACT.columns, (pl.Int64, pl.Float64, pl.String, pl.Int8, pl.Int64, pl.String, pl.String), strict=True)
)


def expected_reasons(row: dict[str, object], rows: list[dict[str, object]]) -> set[str]:
    """Return the violations of a row by a reference in plain Python."""
    size, kind, first, last = row["size"], row["kind"], row["first"], row["last"]
    found = set()
    if size is None or math.isnan(size):
        found.add("'size' is missing")
    elif size < 0 or size > 10.5:
        found.add("'size' is below 0" if size < 0 else "'size' is above 10.5")
    if kind is not None:
        found |= {"'kind' is not one of a, b, long"} if kind not in ("a", "b", "long") else set()
        found |= {"'kind' is longer than 3"} if len(kind) > 3 else set()
        found |= set() if re.fullmatch("[a-z]*", kind) else {"'kind' does not match [a-z]*"}
    if None not in (first, last):
        found |= {"not first <= last"} if first > last else set()
        found |= {"not first + last == id"} if row["id"] is not None and first + last != row["id"] else set()
    for key in (("id",), ("town", "code")):
        values = tuple(row[name] for name in key)
        same = [other for other in rows if tuple(other[name] for name in key) == values]
        if None not in values and len(same) > 1:
            found.add(f"key {', '.join(map(repr, key))} occurs more than once")
    codes = {other["code"] for other in rows if other["town"] == row["town"] and other["code"] is not None}
    if None not in (row["town"], row["code"]) and len(codes) > 1:
        found.add("not town -> code")
    return found


def violations_of(result) -> list[tuple[object, ...]]:
    return [
        (violation.rule.code, violation.rule.reason, violation.count, violation.rows, str(violation.values))
        for violation in result.violations
    ]


@pytest.mark.slow
@given(ROWS)
def test_the_plan_matches_a_row_by_row_reference_in_memory_and_as_a_stream(rows):
    table = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    expected = [expected_reasons(row, table.to_dicts()) for row in table.to_dicts()]
    results = [validate_table(CONTRACT, table), validate_table(CONTRACT, table.lazy())]
    for result in results:
        failed = failing_rows(result).collect(engine="streaming")
        reasons = dict(zip(failed[ROW].to_list(), failed[REASON].to_list(), strict=True))
        assert [
            set(reasons[row + 1].split("; ")) if row + 1 in reasons else set() for row in range(len(rows))
        ] == expected
        assert result.n_failing == len(failed) == sum(map(bool, expected))
        assert len(passing_rows(result).collect()) + len(failed) == result.n_rows == len(rows)
    assert violations_of(results[0]) == violations_of(results[1])


def one(
    terms: ColumnContract, values: list[object], dtype: pl.DataType | None = None
) -> list[tuple[str, int, tuple[int, ...]]]:
    """Return the violations of a contract of one column, in memory and as a stream."""
    table = pl.DataFrame({"x": pl.Series(values, dtype=dtype, strict=False)})
    contract = TableContract(columns={"x": terms})
    result = validate_table(contract, table)
    assert violations_of(result) == violations_of(validate_table(contract, table.lazy()))
    return [(violation.rule.reason, violation.count, violation.rows) for violation in result.violations]


@pytest.mark.parametrize(
    ("terms", "values", "reason", "rows"),
    [
        (ColumnContract(type="integer"), [1.0, 2.5, -3.0, math.inf], "'x' is not an integer", (2, 4)),
        (ColumnContract(type="integer"), ["1", "2.5", "two", "3e2"], "'x' is not an integer", (2, 3)),
        (ColumnContract(type="number"), ["1", "x", "nan", "1e5"], "'x' is not a number", (2, 3)),
        (ColumnContract(type="number", maximum=3), ["1", "9"], "'x' is above 3", (2,)),
        (ColumnContract(type="number"), [date(2013, 1, 1)], "'x' is not a number", (1,)),
        (ColumnContract(type="integer"), [date(2013, 1, 1)], "'x' is not an integer", (1,)),
        (ColumnContract(type="number", values=(1, 2.5)), [1.0, 2.5, 2.0], "'x' is not one of 1, 2.5", (3,)),
        (ColumnContract(type="integer", values=(1, 2, 3, 4)), [1, 7], "'x' is not one of 4 values", (2,)),
        (ColumnContract(type="integer", minimum=1_000), [1, 2_000], "'x' is below 1,000", (1,)),
        (ColumnContract(type="string"), [1, 2], "'x' is not a string", (1, 2)),
        (ColumnContract(type="string", min_length=2), ["a", "ab", "äö"], "'x' is shorter than 2", (1,)),
        (ColumnContract(type="boolean"), ["True", "false", "yes"], "'x' is not a boolean", (3,)),
        (ColumnContract(type="boolean"), [0, 1, 2], "'x' is not a boolean", (3,)),
        (ColumnContract(type="boolean", values=(True,)), [True, False], "'x' is not one of True", (2,)),
        (ColumnContract(type="date"), ["2013-02-28", "2013-02-30", "03/04/2013"], "'x' is not a date", (2, 3)),
        (
            ColumnContract(type="date", maximum="2013-03-01"),
            [date(2013, 3, 1), date(2013, 3, 2)],
            "'x' is above 2013-03-01",
            (2,),
        ),
        (
            ColumnContract(type="datetime"),
            ["2013-02-28 17:05", "2013-02-28T17:05:01.5", "2013-02-28T17:05Z", "at 5"],
            "'x' is not a datetime",
            (4,),
        ),
        (
            ColumnContract(type="datetime", minimum="2013-03-01T00:00:00"),
            [date(2013, 3, 1), date(2013, 2, 1)],
            "'x' is below 2013-03-01 00:00:00",
            (2,),
        ),
    ],
)
def test_values_are_parsed_as_the_type_of_the_contract(terms, values, reason, rows):
    assert one(terms, values) == [(reason, len(rows), rows)]


def test_a_boolean_is_an_integer_and_null_has_every_type():
    assert one(ColumnContract(type="integer", minimum=0, maximum=1), [True, False]) == []
    assert one(ColumnContract(type="date", missing=1), [None, None], pl.Null()) == []
    assert one(ColumnContract(type="string", values=("a",)), ["a"], pl.Categorical()) == []


def test_too_many_missing_values_fail_the_table_and_no_row():
    contract = TableContract(columns={"x": ColumnContract(type="integer", missing=0.5)})
    result = validate_table(contract, pl.DataFrame({"x": [1, None, None]}))
    assert (result.violations[0].count, result.n_failing, len(failing_rows(result).collect())) == (2, 0, 0)
    assert validate_table(contract, pl.DataFrame({"x": [1, None]})).violations == ()


def test_absent_columns_that_are_not_optional_and_unnamed_columns_are_reported():
    columns = {"gone": ColumnContract(type="string"), "may": ColumnContract(type="string", optional=True)}
    result = validate_table(TableContract(columns=columns, unique=(("gone",),)), pl.DataFrame({"new": [1]}))
    assert [(violation.rule.code, violation.rule.reason) for violation in result.violations] == [
        ("D010", "'gone' is absent")
    ]
    assert (result.uncovered, result.n_failing) == (("new",), 0)


def test_only_the_requested_codes_are_checked():
    table = pl.DataFrame({"first": [2, 2], "last": [1, 1]})
    contract = TableContract(
        columns={"first": ColumnContract(type="integer", maximum=1), "last": ColumnContract(type="integer")},
        relations=("first <= last",),
    )
    assert [violation.rule.code for violation in validate_table(contract, table, codes=["D016"]).violations] == ["D016"]


def test_an_unreadable_table_is_an_error():
    with pytest.raises(DataError, match="cannot be read"):
        validate_table(CONTRACT, pl.scan_parquet("absent.parquet"))
    with pytest.raises(DataError, match=r"named 'headway\.row'"):
        validate_table(CONTRACT, pl.DataFrame({ROW: [1]}))


@pytest.mark.parametrize("rows_a_file", [1, 7, 1_000_000])
@pytest.mark.parametrize("determines", [None, "determines"])
def test_keys_checked_in_files_match_keys_checked_in_memory(rows_a_file, determines, monkeypatch):
    monkeypatch.setattr(validation, "ROWS_PER_FILE", rows_a_file)
    draw = np.random.default_rng(rows_a_file)
    table = pl.DataFrame(
        {
            "a": draw.choice([1, 2, 3, 4, None], 60).tolist(),
            "b": draw.choice(["x", "y", "a longer text", None], 60).tolist(),
            "determines": draw.choice([1.5, 2.5, None], 60, p=[0.8, 0.1, 0.1]).tolist(),
        }
    )
    rule = KeyConstraint(key=(pl.col("a"), pl.col("b")), determines=pl.col(determines) if determines else None)
    expected = table.select(violates_key(rule)).to_series()
    assert 0 < expected.sum() < 60
    assert rows_violating_key(table.lazy(), rule, n_rows=60).tolist() == expected.to_list()


def test_a_table_without_rows_violates_no_key():
    assert rows_violating_key(pl.LazyFrame({"a": []}), KeyConstraint(key=(pl.col("a"),)), n_rows=0).tolist() == []
