"""Expressions mean what SQL says: DuckDB is the oracle, but for the rules that we chose ourselves."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.expression_trees import COLUMNS, TYPES, arrays, call, expressions, frames

from headway.core.feature_view import ColumnValue, ConstantValue, Expression
from headway.features import _duckdb
from headway.features.expressions import evaluate, parse_expression, to_sql

pytestmark = pytest.mark.slow


def in_duckdb(sql: str, frame: pl.DataFrame) -> pl.Series:
    query = f"SELECT {sql} AS found FROM source"
    return _duckdb.execute_query(query, frame, table="source", timeout_s=60.0, memory_mb=200, threads=1)["found"]


def rounded(value: Expression, digits: int) -> Expression:
    """Round a scaled value: from version 2 on, DuckDB rounds the decimal digits of a number instead."""
    scale, zero = ConstantValue(value=10.0 ** abs(digits)), ConstantValue(value=0)
    before, after = ("multiply", "divide") if digits >= 0 else ("divide", "multiply")
    return call(after, call("round", call(before, value, scale), zero), scale)


def lifted(node: Expression, constants: dict[str, object]) -> Expression:
    """Replace constants by columns, for 0.1 is a decimal in DuckDB, and let x / 0 and x % 0 be null."""
    if isinstance(node, ConstantValue):
        name = f"k{len(constants)}"
        constants[name] = float(node.value) if type(node.value) is int else node.value
        return ColumnValue(name=name)
    if isinstance(node, ColumnValue):
        return node
    if node.function == "round":
        value, (_, digits) = lifted(node.arguments[0], constants), node.arguments
        return rounded(value, int(digits.value))
    parts = [lifted(part, constants) for part in node.arguments]
    made = call(node.function, *parts)
    if node.function in ("divide", "modulo"):
        return call("if", call("equal", parts[1], ConstantValue(value=0)), ConstantValue(value=None), made)
    return made


@pytest.mark.parametrize("dtype", COLUMNS)
@settings(max_examples=60)
@given(data=st.data())
def test_duckdb_computes_the_same_tree(dtype: str, data: st.DataObject) -> None:
    expression = data.draw(expressions(dtype, 2, simple=True))
    frame = data.draw(frames(min_size=1, simple=True))
    constants: dict[str, object] = {}
    tree = lifted(expression, constants)
    literals = [pl.lit(value).alias(name) for name, value in constants.items()]
    wide = frame.with_columns(pl.col("i").cast(pl.Float64), *literals)

    found = in_duckdb(to_sql(tree), wide)

    expected = evaluate(expression, arrays(frame), types=TYPES)
    if dtype == "string":
        assert found.to_list() == expected.tolist()
    elif dtype == "datetime":
        np.testing.assert_array_equal(found.cast(pl.Datetime("us")).to_numpy(), expected)
    else:
        np.testing.assert_array_equal(found.cast(pl.Float64).to_numpy(), expected)


@pytest.mark.parametrize(
    "text", ["exp(x)", "ln(x)", "sqrt(x)", "sin(x)", "cos(x)", "pow(x, 2.5)", "pow(x, y)", "x % y", "x / y"]
)
def test_duckdb_computes_the_same_function_up_to_the_last_digit(text: str) -> None:
    generator = np.random.default_rng(3)
    frame = pl.DataFrame({"x": generator.uniform(0.01, 20.0, 5_000), "y": generator.uniform(0.1, 4.0, 5_000)})

    expected = evaluate(parse_expression(text), {name: frame[name].to_numpy() for name in "xy"})

    np.testing.assert_allclose(in_duckdb(text, frame).to_numpy(), expected, rtol=1e-13)
