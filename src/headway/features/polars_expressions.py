"""Expressions of features by polars: computed offline, and converted from polars expressions node by node.

The values are those of `headway.features.expressions`, bit for bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from headway.core.errors import DataError
from headway.core.feature_view import ColumnValue, ConstantValue, Expression, FeatureType, FunctionCall
from headway.features.expressions import (
    NUMPY_ONLY,
    Array,
    ExpressionType,
    argument_types,
    check_expression,
    columns_of,
    evaluate,
    type_of,
)

_TIME = pl.Datetime("us")
_DTYPES: dict[ExpressionType, pl.DataType] = {
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
    "string": pl.String(),
    "datetime": _TIME,
}
_COMPARISONS: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "equal": lambda first, second: first == second,
    "not_equal": lambda first, second: first != second,
    "less": lambda first, second: first < second,
    "less_equal": lambda first, second: first <= second,
    "greater": lambda first, second: first > second,
    "greater_equal": lambda first, second: first >= second,
}
_MIRRORED = {
    "equal": "equal",
    "not_equal": "not_equal",
    "less": "greater",
    "less_equal": "greater_equal",
    "greater": "less",
    "greater_equal": "less_equal",
}
_NUMERIC: dict[str, Callable[..., pl.Expr]] = {
    "add": lambda first, second: first + second,
    "subtract": lambda first, second: first - second,
    "multiply": lambda first, second: first * second,
    "negate": lambda value: -value,
    "abs": lambda value: value.abs(),
    "sign": lambda value: value.sign(),
    "sqrt": lambda value: value.sqrt(),
    "floor": lambda value: value.floor(),
    "ceil": lambda value: value.ceil(),
}
_OTHERS: dict[str, Callable[..., pl.Expr]] = {
    **_COMPARISONS,
    "and": lambda *values: pl.all_horizontal(values),
    "or": lambda *values: pl.any_horizontal(values),
    "not": lambda value: ~value,
    "is_null": lambda value: value.is_null(),
    "lower": lambda value: value.str.to_lowercase(),
    "upper": lambda value: value.str.to_uppercase(),
    "length": lambda value: value.str.len_chars().cast(pl.Float64),
    "year": lambda value: value.dt.year().cast(pl.Float64),
    "month": lambda value: value.dt.month().cast(pl.Float64),
    "day": lambda value: value.dt.day().cast(pl.Float64),
    "weekday": lambda value: value.dt.weekday().cast(pl.Float64),
    "hour": lambda value: value.dt.hour().cast(pl.Float64),
    "minute": lambda value: value.dt.minute().cast(pl.Float64),
    "second": lambda value: value.dt.second().cast(pl.Float64),
    "epoch_s": lambda value: _by_numpy("divide", [None, np.array(1e6)], [value.dt.timestamp("us").cast(pl.Float64)]),
    "minimum": lambda *values: pl.min_horizontal(*values),
    "maximum": lambda *values: pl.max_horizontal(*values),
    "coalesce": lambda *values: pl.coalesce(*values),
    "if": lambda condition, then, otherwise: pl.when(condition).then(then).otherwise(otherwise),
}


def types_of_schema(schema: Mapping[str, pl.DataType]) -> dict[str, FeatureType]:
    """Return the type of each column that an expression can read; columns of lists, bytes and others are omitted."""
    found = {name: _type_of_dtype(dtype) for name, dtype in schema.items()}
    return {name: dtype for name, dtype in found.items() if dtype}


def _type_of_dtype(dtype: pl.DataType) -> FeatureType | None:
    if dtype.is_numeric() or dtype == pl.Null:
        return "integer" if dtype.is_integer() else "number"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "string"
    return "datetime" if dtype in (pl.Date, pl.Datetime) else None


def expression_to_polars(expression: Expression, schema: Mapping[str, pl.DataType], *, where: str = "") -> pl.Expr:
    """Return the polars expression that computes a feature.

    Parameters
    ----------
    expression : Expression
        The expression; it is checked first.
    schema : mapping of str to polars.DataType
        Columns of the frame. The types decide what a function means, and which columns are converted first.
    where : str
        Where the expression stands, for messages.

    Returns
    -------
    polars.Expr
        Of dtype Float64 (never NaN: a missing value is null), Boolean, String or Datetime("us").

    Raises
    ------
    DataError
        If a column is unknown, or a function is applied to the wrong type.
    """
    check_expression(expression, where=where)
    types = types_of_schema(schema)
    result = type_of(expression, types, where=where)
    return _converted(expression, types, schema, "number" if result == "missing" else result)


def _converted(
    node: Expression, types: Mapping[str, FeatureType], schema: Mapping[str, pl.DataType], wanted: ExpressionType
) -> pl.Expr:
    if isinstance(node, ColumnValue):
        return _column(node.name, schema[node.name])
    if isinstance(node, ConstantValue):
        value = float(node.value) if wanted == "number" and node.value is not None else node.value
        return pl.lit(value, dtype=_DTYPES[wanted])
    if node.function == "in":  # compared one by one, as SQL defines it
        first, *others = node.arguments
        tests = [FunctionCall(function="equal", arguments=(first, other)) for other in others]
        return pl.any_horizontal([_converted(test, types, schema, "boolean") for test in tests])
    own = type_of(node, types)
    if own == "number" and not columns_of(node):
        constant = float(_folded(node))
        return pl.lit(None if math.isnan(constant) else constant, dtype=pl.Float64)
    expected = argument_types(node.function, [type_of(part, types) for part in node.arguments], wanted)
    parts = [_converted(part, types, schema, dtype) for part, dtype in zip(node.arguments, expected, strict=True)]
    if node.function in NUMPY_ONLY:
        fixed = [None if columns_of(part) else _folded(part) for part in node.arguments]
        varied = [part for part, constant in zip(parts, fixed, strict=True) if constant is None]
        return _by_numpy(node.function, fixed, varied)
    if node.function in _MIRRORED and not columns_of(node.arguments[0]):
        # polars 2.1 loses the length of `constant == CASE ... END` of constants, not that of `CASE ... END == constant`
        return _COMPARISONS[_MIRRORED[node.function]](parts[1], parts[0])
    if node.function in _NUMERIC:
        return _NUMERIC[node.function](*parts).fill_nan(None)
    return _OTHERS[node.function](*parts)


def _column(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return a column in the form in which it is computed."""
    column = pl.col(name)
    if dtype == pl.Boolean or dtype == pl.String:
        return column
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if dtype in (pl.Date, pl.Datetime):
        return column.cast(_TIME)
    if dtype in (pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    return column.cast(pl.Float64).fill_nan(None)


def _folded(node: Expression) -> Array:
    """Compute a function of constants once; return an array without dimensions, as numpy computes constants."""
    (constant,) = evaluate(node, {"": np.zeros(1)})
    return np.array(constant)


def _by_numpy(function: str, fixed: Sequence[Array | None], varied: Sequence[pl.Expr]) -> pl.Expr:
    """Apply the function of a server, so that the last digit is the same; `fixed` are the arguments without columns."""
    apply = partial(_apply_numpy, function, fixed)
    return pl.map_batches(varied, apply, return_dtype=pl.Float64, is_elementwise=True)


def _apply_numpy(function: str, fixed: Sequence[Array | None], columns: Sequence[pl.Series]) -> pl.Series:
    varied = iter(columns)
    arrays = [next(varied).to_numpy() if constant is None else constant for constant in fixed]
    with np.errstate(all="ignore"):
        return pl.Series(NUMPY_ONLY[function](*arrays), nan_to_null=True)


def from_polars(expr: pl.Expr) -> Expression:
    """Convert a polars expression, node by node; it keeps the meaning that SQL gives it.

    Division by zero is a missing value, for example, where polars has infinity.

    Raises
    ------
    DataError
        If it has what the closed list of functions does not: Python functions, windows, aggregations, casts.
    """
    try:
        tree = json.loads(expr.meta.serialize(format="json"))
        expression = _from_json(tree)
    except (pl.exceptions.PolarsError, RecursionError, ValueError, TypeError) as error:
        raise DataError(f"this polars expression cannot be read: {error}", where=str(expr)[:200], hint=_HINT) from error
    check_expression(expression, where=str(expr)[:200])
    return expression


_HINT = (
    "allowed: + - * / ** == != < <= > >= & | ~, abs, ceil, coalesce, cos, dt.year and its like, exp, fill_null, floor, "
    "is_between, is_null, log, log1p, min_horizontal, max_horizontal, sign, sin, sqrt, str.to_lowercase, "
    'str.to_uppercase, str.len_chars, round(mode="half_away_from_zero"), when/then/otherwise'
)
_OPERATORS = {
    "Plus": "add",
    "Minus": "subtract",
    "Multiply": "multiply",
    "TrueDivide": "divide",
    "Eq": "equal",
    "NotEq": "not_equal",
    "Lt": "less",
    "LtEq": "less_equal",
    "Gt": "greater",
    "GtEq": "greater_equal",
    "And": "and",
    "Or": "or",
}
_NAMED = {
    "Abs": "abs",
    "Negate": "negate",
    "Sign": "sign",
    "Exp": "exp",
    "Log1p": "log1p",
    "Floor": "floor",
    "Ceil": "ceil",
    "FillNull": "coalesce",
    "Coalesce": "coalesce",
    "MinHorizontal": "minimum",
    "MaxHorizontal": "maximum",
    "Pow.Generic": "power",
    "Pow.Sqrt": "sqrt",
    "Trigonometry.Sin": "sin",
    "Trigonometry.Cos": "cos",
    "Boolean.Not": "not",
    "Boolean.IsNull": "is_null",
    "Boolean.AllHorizontal": "and",
    "Boolean.AnyHorizontal": "or",
    "StringExpr.Lowercase": "lower",
    "StringExpr.Uppercase": "upper",
    "StringExpr.LenChars": "length",
    "TemporalExpr.Year": "year",
    "TemporalExpr.Month": "month",
    "TemporalExpr.Day": "day",
    "TemporalExpr.WeekDay": "weekday",
    "TemporalExpr.Hour": "hour",
    "TemporalExpr.Minute": "minute",
    "TemporalExpr.Second": "second",
}
_INTEGERS = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Int")
_BETWEEN = {"Both": ("greater_equal", "less_equal"), "Left": ("greater_equal", "less")}
_BETWEEN |= {"Right": ("greater", "less_equal"), "None": ("greater", "less")}


def _from_json(node: Any) -> Expression:
    """Convert one node of polars' JSON, which is an object of one entry: the kind of node."""
    if not isinstance(node, dict) or len(node) != 1:
        raise _refused(node)
    ((kind, body),) = node.items()
    if kind == "Column" and isinstance(body, str):
        return ColumnValue(name=body)
    if kind == "Literal":
        return _literal(body)
    if kind == "Alias":
        return _from_json(body[0])
    if kind == "BinaryExpr" and body["op"] in _OPERATORS:
        return _call(_OPERATORS[body["op"]], _from_json(body["left"]), _from_json(body["right"]))
    if kind == "BinaryExpr" and body["op"] == "FloorDivide":
        return _call("floor", _call("divide", _from_json(body["left"]), _from_json(body["right"])))
    if kind == "Ternary":
        return _call("if", *(_from_json(body[part]) for part in ("predicate", "truthy", "falsy")))
    if kind == "Function":
        return _function(body["function"], [_from_json(part) for part in body["input"]])
    raise _refused(f"{kind} {body['op']}" if kind == "BinaryExpr" else kind)


def _function(function: Any, inputs: list[Expression]) -> Expression:
    """Convert a call: the name of a function, or its family and name, or its name and options."""
    name, options = function, None
    if isinstance(function, dict) and len(function) == 1:
        ((name, options),) = function.items()
        if isinstance(options, str):
            name, options = f"{name}.{options}", None
    if options is None and name in _NAMED:
        return _call(_NAMED[name], *inputs) if len(inputs) > 1 or _NAMED[name] not in _SEVERAL else inputs[0]
    if options is None and name == "Boolean.IsNotNull":
        return _call("not", _call("is_null", *inputs))
    if name == "Log" and inputs[1:] == [ConstantValue(value=math.e)]:
        return _call("log", inputs[0])
    if name == "Round" and options and options.keys() == {"decimals", "mode"} and options["mode"] == "HalfAwayFromZero":
        return _call("round", *inputs, ConstantValue(value=options["decimals"]))
    if name == "Boolean" and isinstance(options, dict) and "IsBetween" in options:
        value, low, high = inputs
        above, below = _BETWEEN[options["IsBetween"]["closed"]]
        return _call("and", _call(above, value, low), _call(below, value, high))
    raise _refused(function)


_SEVERAL = ("and", "or", "minimum", "maximum", "coalesce")


def _call(function: str, *arguments: Expression) -> FunctionCall:
    return FunctionCall(function=function, arguments=arguments)


def _literal(body: Any) -> ConstantValue:
    ((_, typed),) = body.items()  # Dyn or Scalar
    kind, value = next(iter(typed.items())) if isinstance(typed, dict) and len(typed) == 1 else ("", None)
    if kind == "Null":
        return ConstantValue(value=None)
    accepted = (
        (kind in _INTEGERS and type(value) is int)
        or (kind in ("Float", "Float32", "Float64") and isinstance(value, int | float))
        or (kind in ("String", "Str") and isinstance(value, str))
        or (kind == "Boolean" and isinstance(value, bool))
    )
    if not accepted:
        raise _refused(f"a literal of type {kind or typed}")
    return ConstantValue(value=value)


def _refused(what: object) -> DataError:
    return DataError(f"{str(what)[:80]} of polars is not allowed in a feature", hint=_HINT)
