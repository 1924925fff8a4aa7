"""polars and numpy compute the same values, and polars expressions are converted node by node."""

from __future__ import annotations

import datetime as dt

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.features.expression_trees import COLUMNS, TYPES, arrays, call, expressions, frames

from headway.core.errors import DataError
from headway.core.feature_view import OPERATIONS, ColumnValue, Expression
from headway.features.expressions import check_expression, evaluate, parse_expression, to_sql
from headway.features.polars_expressions import expression_to_polars, from_polars, types_of_schema

pytestmark = pytest.mark.slow
a, b = pl.col("a"), pl.col("b")


def as_array(series: pl.Series) -> np.ndarray:
    """The values of polars in the form of numpy: a missing number or boolean is NaN."""
    if series.dtype == pl.String:
        return np.array(series.to_list(), dtype=object)
    return series.to_numpy() if series.dtype.is_temporal() else series.cast(pl.Float64).to_numpy()


def expect_equal(expression: Expression, frame: pl.DataFrame) -> None:
    expected = evaluate(expression, arrays(frame), types=TYPES)
    found = frame.with_columns(found=expression_to_polars(expression, frame.schema))["found"]
    assert not (found.dtype == pl.Float64 and found.is_nan().any()), "a missing number is null"
    assert len(found) == len(expected)
    np.testing.assert_array_equal(as_array(found), expected, strict=True)


@pytest.mark.parametrize("dtype", COLUMNS)
@settings(max_examples=150)
@given(data=st.data())
def test_polars_and_numpy_compute_the_same_tree_to_the_last_digit(dtype: str, data: st.DataObject) -> None:
    expect_equal(data.draw(expressions(dtype)), data.draw(frames(min_size=1)))


@given(data=st.data())
def test_a_tree_survives_json(data: st.DataObject) -> None:
    expression = data.draw(expressions("number"))

    check_expression(expression)
    read = msgspec.json.decode(msgspec.json.encode(expression), type=type(expression))

    assert read == expression


@settings(max_examples=25)
@given(frames(min_size=1))
def test_polars_and_numpy_agree_on_each_function(frame: pl.DataFrame) -> None:
    number, time, string, flag = (ColumnValue(name=name) for name in "xtsp")
    of_time = ("year", "month", "day", "weekday", "hour", "minute", "second", "epoch_s")
    for function, (least, _) in OPERATIONS.items():
        first = time if function in of_time else string if function in ("lower", "upper", "length") else number
        first = flag if function in ("and", "or", "not", "if") else first
        others = [ColumnValue(name={"x": "y", "s": "u", "p": "q"}.get(first.name, "t"))] * (least - 1)
        if function == "round":
            continue  # its second argument is a constant: the trees have it
        expect_equal(call(function, first, *others), frame)


def test_large_columns_and_the_streaming_engine_give_the_same() -> None:
    generator = np.random.default_rng(7)
    frame = pl.DataFrame({"x": generator.normal(size=200_001) * 1e3, "y": generator.normal(size=200_001)})
    expression = parse_expression("exp(x / 1e3) * sin(y) + pow(abs(x), 0.3) % 7 - round(ln(abs(y)), 3) + log1p(2)")
    expected = evaluate(expression, {name: frame[name].to_numpy() for name in "xy"})
    found = frame.lazy().select(found=expression_to_polars(expression, frame.schema))
    for engine in ("in-memory", "streaming"):
        np.testing.assert_array_equal(found.collect(engine=engine)["found"].to_numpy(), expected)
    for rows in (1, 2, 7):  # a server's batches are small
        small = {name: frame[name][:rows].to_numpy() for name in "xy"}
        np.testing.assert_array_equal(evaluate(expression, small), expected[:rows])


def test_columns_of_other_types_are_converted() -> None:
    frame = pl.DataFrame(
        {
            "n": pl.Series([None, None], dtype=pl.Null),
            "f": pl.Series([1.5, float("nan")], dtype=pl.Float32),
            "d": pl.Series([dt.date(2024, 2, 29), None]),
            "z": pl.Series([dt.datetime(2024, 3, 1, 0, 30)] * 2).dt.replace_time_zone("Europe/Berlin"),
            "c": pl.Series(["a", "b"], dtype=pl.Categorical),
            "m": pl.Series([1.25, 2.5], dtype=pl.Decimal(10, 2)),
            "l": pl.Series([[1], [2]]),
        }
    )
    assert types_of_schema(frame.schema).keys() == set("nfdzcm")

    def found(text: str) -> list[object]:
        return frame.select(found=expression_to_polars(parse_expression(text), frame.schema))["found"].to_list()

    assert found("n + 1") == [None, None]
    assert found("f * 2") == [3.0, None]
    assert found("day(d)") == [29.0, None]
    assert found("day(z) * 100 + hour(z)") == [2923.0, 2923.0], "in UTC"
    assert found("upper(c)") == ["A", "B"]
    assert found("m + 1") == [2.25, 3.5]
    assert found("null") == [None]
    with pytest.raises(DataError, match="no column 'l'"):
        found("l + 1")


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        ((a - 32) / 1.8, "(a - 32) / 1.8"),
        (-a * 2 + b**2, "-a * 2 + b ** 2"),
        (a // b, "floor(a / b)"),
        ((a > 1) & (b <= 2) | ~(a == b), "(a > 1 and b <= 2) or not a = b"),
        (a.is_null() | b.is_not_null(), "a is null or b is not null"),
        (a.fill_null(0), "coalesce(a, 0)"),
        (pl.coalesce(a, b, 1), "coalesce(a, b, 1)"),
        (pl.min_horizontal(a, b), "least(a, b)"),
        (pl.max_horizontal(a, b).alias("c"), "greatest(a, b)"),
        (pl.when(a > 1).then(b).when(a < 0).then(2.5), "case when a > 1 then b when a < 0 then 2.5 end"),
        (a.log() + a.log1p() + a.exp() + a.sqrt(), "ln(a) + log1p(a) + exp(a) + sqrt(a)"),
        (a.abs() - a.sign() * a.floor() / a.ceil(), "abs(a) - sign(a) * floor(a) / ceil(a)"),
        (a.sin() + a.cos(), "sin(a) + cos(a)"),
        (a.round(1, mode="half_away_from_zero"), "round(a, 1)"),
        (a.is_between(1, 2), "a between 1 and 2"),
        (a.is_between(1, 2, closed="left"), "a >= 1 and a < 2"),
        (a.str.to_lowercase() == "x", "lower(a) = 'x'"),
        (a.str.to_uppercase().str.len_chars(), "length(upper(a))"),
        (a.dt.hour() + a.dt.weekday(), "hour(a) + isodow(a)"),
        (a.dt.year() + a.dt.month() + a.dt.day(), "year(a) + month(a) + day(a)"),
        (pl.lit(True) & pl.lit(None), "true and null"),
    ],
)
def test_a_polars_expression_is_the_tree_of_the_same_sql(expr: pl.Expr, text: str) -> None:
    assert from_polars(expr) == parse_expression(text)


@pytest.mark.parametrize(
    ("expr", "name"),
    [
        (a.map_elements(lambda value: value, return_dtype=pl.Int64), "AnonymousFunction"),
        (pl.map_batches([a], lambda values: values[0], return_dtype=pl.Float64), "AnonymousFunction"),
        (a.sum(), "Agg"),
        (a.sum().over("b"), "Over"),
        (a.rolling_mean(3), "RollingExpr"),
        (a.shift(1), "Shift"),
        (a.cast(pl.Float64), "Cast"),
        (a % b, "Modulus"),
        (a ^ b, "Xor"),
        (a.eq_missing(b), "EqValidity"),
        (a.round(2), "HalfToEven"),
        (a.log(10), "Log"),
        (a.is_in([1, 2]), "List"),
        (a.clip(0, 1), "Clip"),
        (a.str.contains("x"), "Contains"),
        (pl.lit(dt.datetime(2024, 1, 1)), "Datetime"),
        (pl.lit(float("nan")), "Float"),
        (pl.col("a", "b").sum(), "Agg"),
        (pl.all(), "Selector"),
        (pl.nth(0), "Selector"),
        (pl.len(), "Len"),
    ],
)
def test_a_polars_expression_outside_the_list_is_refused_by_name(expr: pl.Expr, name: str) -> None:
    with pytest.raises(DataError) as caught:
        from_polars(expr)

    assert name in caught.value.what
    assert "allowed" in caught.value.hint


def test_a_deep_polars_expression_is_refused() -> None:
    deep = a
    for _ in range(200):
        deep = -deep
    with pytest.raises(DataError):
        from_polars(deep)


@given(data=st.data())
def test_the_sql_of_a_tree_gives_its_values_again(data: st.DataObject) -> None:
    expression = data.draw(st.sampled_from(sorted(COLUMNS)).flatmap(expressions))
    columns = arrays(data.draw(frames(min_size=1)))

    found = evaluate(parse_expression(to_sql(expression)), columns, types=TYPES)

    np.testing.assert_array_equal(found, evaluate(expression, columns, types=TYPES))
