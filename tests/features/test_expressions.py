"""SQL expressions: what is parsed, what is refused by name, and what the values are."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from headway.core.errors import DataError
from headway.core.feature_view import MAX_DEPTH, MAX_NODES, ColumnValue, ConstantValue, FunctionCall
from headway.features.expressions import (
    check_expression,
    columns_of,
    compile_expression,
    dtype_of,
    evaluate,
    parse_expression,
    type_of,
)

NAN = np.nan
X = np.array([5.0, -7.0, 0.0, NAN, 2.5, -2.5])
Y = np.array([2.0, 3.0, 0.0, 1.0, NAN, 0.5])
P = np.array([1.0, 0.0, NAN, 1.0, 0.0, NAN])
Q = np.array([NAN, NAN, NAN, 1.0, 1.0, 0.0])
S = np.array(["Ab", "ß", None, "é€", "", "z"], dtype=object)
T = np.array(
    ["2024-02-29T23:59:58.5", "1969-12-31T23:59:59", "1970-01-01", "NaT", "2026-11-28T12:30", "1900-03-01"],
    dtype="datetime64[us]",
)
COLUMNS = {"x": X, "y": Y, "p": P, "q": Q, "s": S, "t": T}
TYPES = {"x": "number", "y": "number", "p": "boolean", "q": "boolean", "s": "string", "t": "datetime"}


def value(text: str) -> list[object]:
    return evaluate(parse_expression(text), COLUMNS, types=TYPES).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "(x - 32) / 1.8",
            [-15.0, -21.666666666666668, -17.77777777777778, NAN, -16.38888888888889, -19.166666666666668],
        ),
        ("x / y", [2.5, -7 / 3, NAN, NAN, NAN, -5.0]),
        ("x % y", [1.0, -1.0, NAN, NAN, NAN, -0.0]),
        ("mod(x, 3)", [2.0, -1.0, 0.0, NAN, 2.5, -2.5]),
        ("x ** 2", [25.0, 49.0, 0.0, NAN, 6.25, 6.25]),
        ("pow(0, x)", [0.0, NAN, 1.0, NAN, 0.0, NAN]),
        ("round(x)", [5.0, -7.0, 0.0, NAN, 3.0, -3.0]),
        ("round(x, -1)", [10.0, -10.0, 0.0, NAN, 0.0, 0.0]),
        ("round(0.49999999999999994)", [0.0] * 6),
        ("ln(x)", [np.log(5.0), NAN, NAN, NAN, np.log(2.5), NAN]),
        ("sqrt(x)", [np.sqrt(5.0), NAN, 0.0, NAN, np.sqrt(2.5), NAN]),
        ("log1p(x)", [np.log1p(5.0), NAN, 0.0, NAN, np.log1p(2.5), NAN]),
        ("x > y", [1.0, 0.0, 0.0, NAN, NAN, 0.0]),
        ("x = null", [NAN] * 6),
        ("x is null", [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
        ("x is not null and y is not null", [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]),
        ("p and q", [NAN, 0.0, NAN, 1.0, 0.0, 0.0]),
        ("p or q", [1.0, NAN, NAN, 1.0, 1.0, NAN]),
        ("not p", [0.0, 1.0, NAN, 0.0, 1.0, NAN]),
        ("p is not true", [0.0, 1.0, 1.0, 0.0, 1.0, 1.0]),
        ("x in (5, null)", [1.0, NAN, NAN, NAN, NAN, NAN]),
        ("x not in (5, 0)", [0.0, 1.0, 0.0, NAN, 1.0, 1.0]),
        ("x between 0 and 3", [0.0, 0.0, 1.0, NAN, 1.0, 0.0]),
        ("coalesce(x, y, 9)", [5.0, -7.0, 0.0, 1.0, 2.5, -2.5]),
        ("least(x, y)", [2.0, -7.0, 0.0, 1.0, 2.5, -2.5]),
        ("greatest(x, y, 1)", [5.0, 3.0, 1.0, 1.0, 2.5, 1.0]),
        ("nullif(x, 0)", [5.0, -7.0, NAN, NAN, 2.5, -2.5]),
        ("case when x > 0 then 1 when x < 0 then -1 end", [1.0, -1.0, NAN, NAN, 1.0, -1.0]),
        ("case s when 'z' then x else y end", [2.0, 3.0, 0.0, 1.0, NAN, -2.5]),
        ("if(p, x, y)", [5.0, 3.0, 0.0, NAN, NAN, 0.5]),
        ("upper(s)", ["AB", "SS", None, "É€", "", "Z"]),
        ("length(s)", [2.0, 1.0, NAN, 2.0, 0.0, 1.0]),
        ("s < 'a'", [1.0, 0.0, NAN, 0.0, 1.0, 0.0]),
        ("s = 'ß'", [0.0, 1.0, NAN, 0.0, 0.0, 0.0]),
        ("year(t)", [2024.0, 1969.0, 1970.0, NAN, 2026.0, 1900.0]),
        ("month(t) * 100 + day(t)", [229.0, 1231.0, 101.0, NAN, 1128.0, 301.0]),
        ("isodow(t)", [4.0, 3.0, 4.0, NAN, 6.0, 4.0]),
        ("extract(hour from t)", [23.0, 23.0, 0.0, NAN, 12.0, 0.0]),
        ("second(t)", [58.0, 59.0, 0.0, NAN, 0.0, 0.0]),
        ("epoch(t)", [1709251198.5, -1.0, 0.0, NAN, 1795869000.0, -2203891200.0]),
        ("1e308 * 10 * x", [np.inf, -np.inf, NAN, NAN, np.inf, -np.inf]),
        ("-2", [-2.0] * 6),
    ],
)
def test_a_value_is_what_sql_says(text: str, expected: list[object]) -> None:
    found = value(text)

    assert [None if item != item else item for item in found] == [None if item != item else item for item in expected]


def test_a_chain_of_and_has_as_many_operands_as_one_writes() -> None:
    expression = parse_expression(" and ".join(f"c{number} > 0" for number in range(40)))

    assert len(columns_of(expression)) == 40
    columns = {f"c{number}": np.array([1.0, 1.0 if number != 39 else -1.0]) for number in range(40)}
    assert evaluate(expression, columns).tolist() == [1.0, 0.0]


def test_a_quoted_name_is_a_column_with_spaces() -> None:
    assert columns_of(parse_expression('"air temp" * 2 + y')) == {"air temp", "y"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("getenv('HOME')", "getenv"),
        ("sum(x)", "SUM(x)"),
        ("sum(x) over ()", "OVER"),
        ("row_number() over (order by x)", "ROW_NUMBER"),
        ("(select 1)", "SELECT"),
        ("x in (select 1)", "SELECT"),
        ("exists(select 1)", "EXISTS"),
        ("select 1", "SELECT"),
        ("x::int", "CAST"),
        ("cast(x as double)", "CAST"),
        ("date '2024-01-01'", "CAST"),
        ("x as y", "AS y"),
        ("x y", "AS y"),
        ("t.x", "t.x"),
        ("*", "*"),
        ("count(*)", "COUNT"),
        ("log(x)", "LOG"),
        ("log10(x)", "LOG"),
        ("weekday(t)", "weekday"),
        ("dayofweek(t)", "DAYOFWEEK"),
        ("extract(week from t)", "week"),
        ("x // y", "//"),
        ("s || s", "||"),
        ("s like 'a%'", "LIKE"),
        ("x is distinct from y", "DISTINCT"),
        ("random()", "RANDOM"),
        ("current_date", "CURRENT_DATE"),
        ("?", "?"),
        ("$1", "$1"),
        ("[1, 2]", "[1, 2]"),
        ("interval 1 day", "INTERVAL"),
        ("read_csv('/etc/passwd')", "READ_CSV"),
        ("drop table x", "DROP"),
    ],
)
def test_what_is_not_in_the_list_is_refused_by_name_with_a_hint(text: str, name: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_expression(text)

    assert name.lower() in caught.value.what.lower()
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "0 expressions"),
        ("-- nothing", "0 expressions"),
        ("x; y", "2 expressions"),
        ("x +", "not SQL"),
        ("year(x, y)", "not SQL"),
        ("(" * 9_000, "not SQL"),
        ("x + " * 6_000 + "x", "characters"),
        ("+".join(["x"] * 40), "nested deeper"),
        ("coalesce(" + ", ".join(["x"] * 17) + ")", "'coalesce' has 17 arguments"),
        ("nullif(" * 20 + "x" + ", 1)" * 20, "more than 1000 parts"),
        ("9007199254740993", "beyond 2^53"),
        ("1e400", "not finite"),
        ("round(x, y)", "digits of 'round'"),
        ("round(x, 99)", "digits of 'round'"),
    ],
)
def test_a_malformed_or_too_large_text_is_refused(text: str, what: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_expression(text)

    assert what in caught.value.what


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("x + s", "'add' needs a number, and got a string"),
        ("p + 1", "'add' needs a number, and got a boolean"),
        ("x and p", "'and' needs a boolean, and got a number"),
        ("x = s", "'equal' mixes number and string"),
        ("p < q", "'less' needs a number or string or datetime, and got a boolean"),
        ("hour(x)", "'hour' needs a datetime, and got a number"),
        ("lower(x)", "'lower' needs a string, and got a number"),
        ("coalesce(x, 'a')", "'coalesce' mixes number and string"),
        ("case when x then 1 end", "'if' needs a boolean, and got a number"),
        ("least(s, s)", "'minimum' needs a number or datetime, and got a string"),
        ("z + 1", "no column 'z'"),
    ],
)
def test_a_wrong_type_and_an_unknown_column_are_named(text: str, what: str) -> None:
    with pytest.raises(DataError) as caught:
        type_of(parse_expression(text), TYPES)

    assert caught.value.what == what


def test_an_expression_of_a_release_is_checked_as_one_that_was_parsed() -> None:
    deep = ColumnValue(name="x")
    for _ in range(MAX_DEPTH):
        deep = FunctionCall(function="negate", arguments=(deep,))
    wide = ColumnValue(name="x")
    for _ in range(4):
        wide = FunctionCall(function="coalesce", arguments=(wide,) * 8)
    assert MAX_NODES < 8**4
    for wrong in (
        deep,
        wide,
        FunctionCall(function="system", arguments=()),
        FunctionCall(function="add", arguments=(ColumnValue(name="x"),)),
        ColumnValue(name=""),
        ConstantValue(value=float("nan")),
        ConstantValue(value="x" * 20_001),
    ):
        with pytest.raises(DataError):
            check_expression(wrong)


def test_columns_that_do_not_fit_are_refused() -> None:
    total = parse_expression("x + y")
    with pytest.raises(DataError, match="columns of 2 and 3 rows"):
        evaluate(total, {"x": np.zeros(2), "y": np.zeros(3)})
    with pytest.raises(DataError, match="columns of no rows"):
        evaluate(parse_expression("1"), {})
    with pytest.raises(DataError, match="dtype complex128"):
        dtype_of("x", np.zeros(1, dtype=complex))
    with pytest.raises(DataError, match="2 dimensions, not number"):
        compile_expression(total, {"x": "number", "y": "number"})({"x": np.zeros((2, 1)), "y": np.zeros(2)})
    with pytest.raises(DataError, match="holds b'a'"):
        evaluate(parse_expression("lower(s)"), {"s": np.array(["a", None, b"a"], dtype=object)})


def test_types_are_read_from_the_arrays() -> None:
    columns = {
        "x": np.array([1, 2], dtype=np.int8),
        "p": np.array([True, False]),
        "s": np.array(["a", "b"]),
        "t": np.array(["2024-01-01", "NaT"], dtype="datetime64[s]"),
    }
    text = "case when p then x + hour(t) + length(s) end"
    assert str(evaluate(parse_expression(text), columns).tolist()) == "[2.0, nan]"


def test_an_integer_beyond_2_53_is_the_nearest_float() -> None:
    column = {"x": np.array([2**53 + 1, 2**53], dtype=np.int64)}
    assert evaluate(parse_expression("x = 9007199254740992"), column).tolist() == [1.0, 1.0]


def test_a_missing_constant_has_the_type_of_its_neighbours() -> None:
    assert value("case when p then null else s end") == [None, "ß", None, None, "", "z"]
    assert evaluate(parse_expression("coalesce(null, t)"), COLUMNS, types=TYPES).dtype == np.dtype("datetime64[us]")
    assert np.isnan(value("null")).all()
    assert np.isnan(value("hour(null)")).all()
    assert np.isnan(value("length(lower(null))")).all()
    assert value("null is null") == [1.0] * 6


@pytest.mark.slow
def test_a_server_computes_expressions_without_a_dataframe_library() -> None:
    script = "import sys, headway.features.expressions; print({'polars', 'sqlglot', 'duckdb'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "set()"
