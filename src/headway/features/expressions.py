"""Expressions of features: their text, rules and types, and their values by numpy, without a dataframe library.

A value is a number, a boolean, a string or a datetime, or it is missing. The rules are SQL's, made exact:

- Every number is a float64. An integer beyond 2^53 is rounded to the nearest one, and is refused as a constant.
- NaN is a missing value. So are x / 0, x % 0, 0 to a negative power, the logarithm of a number <= 0, and whatever else
  is not a number, such as a root of -1. Infinity is a number.
- A function of a missing value is missing. The exceptions: `is_null`, `coalesce`, `if` (a missing condition takes the
  third argument), `minimum` and `maximum` (they leave missing values out), and `and` and `or`, which are three-valued.
- A comparison with a missing value is missing. Strings are compared by code points.
- `modulo` has the sign of its first argument: -7 % 3 = -1. `round` rounds halves away from zero; its second argument is
  a constant, -15 to 15. `length` counts characters. `lower` and `upper` follow Unicode; letters that were given a case
  after Unicode 15 may differ between versions of Python and polars.
- Times are in UTC; `weekday` is 1 on Monday and 7 on Sunday; `second` is an integer; `epoch_s` has fractions.

`headway.features.polars_expressions` computes the same with polars.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, Literal

import numpy as np

from headway.core.errors import DataError
from headway.core.feature_view import (
    MAX_DEPTH,
    MAX_NODES,
    OPERATIONS,
    ColumnValue,
    ConstantValue,
    Expression,
    FeatureType,
    FunctionCall,
)
from headway.core.plugins import load_sibling

Array = np.ndarray[Any, np.dtype[Any]]
ExpressionType = Literal["number", "boolean", "string", "datetime", "missing"]
"""The type of a value: `integer` is computed as `number`, and `missing` is that of the constant null alone."""
MAX_CHARACTERS = 20_000
"""Longest text of an expression, and longest string constant."""
MAX_INTEGER = 2**53
MAX_DIGITS = 15
_PLAIN = re.compile(r"[a-z][a-z0-9_]*")
_WORDS = re.compile(
    "all|and|any|as|asc|between|by|case|cast|desc|distinct|else|end|exists|false|from|group|having|in|interval|is|join|"
    "like|limit|not|null|on|or|order|select|some|table|then|true|union|using|when|where|window|with"
)
"""Words of SQL that a column cannot be called without quotes."""
_INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "modulo": "%", "power": "**"}
_INFIX |= {"equal": "=", "not_equal": "<>", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">="}
_INFIX |= {"and": "and", "or": "or"}
_SQL_NAMES = {"log": "ln", "minimum": "least", "maximum": "greatest", "weekday": "isodow", "epoch_s": "epoch"}
_ARITHMETIC = ("add", "subtract", "multiply", "divide", "modulo", "power")
_ORDERINGS = ("less", "less_equal", "greater", "greater_equal")
_OF_NUMBER = ("negate", "abs", "sign", "sqrt", "exp", "log", "log1p", "floor", "ceil", "sin", "cos")
_OF_TEXT = ("lower", "upper", "length")
_COMPARISONS = ("equal", "not_equal", "in", *_ORDERINGS)
_OF_TIME = ("year", "month", "day", "weekday", "hour", "minute", "second", "epoch_s")


def parse_expression(text: str) -> Expression:
    """Parse a SQL expression, such as `(temp - 32) / 1.8` or `CASE WHEN wind > 20 THEN 1 ELSE 0 END`.

    Raises
    ------
    DataError
        If the text cannot be parsed, or has what the closed list of functions does not; the message names it.
    PluginError
        If the SQL parser is not installed (`headway[features]`).
    """
    expression: Expression = load_sibling(__name__, "sqlglot", reads="SQL of a feature view").sql_to_tree(text)
    check_expression(expression, where=text)
    return expression


def to_sql(expression: Expression) -> str:
    """Return the SQL text of an expression, for people; parsing it gives an expression of the same values."""
    if isinstance(expression, ColumnValue):
        name = expression.name
        return name if _PLAIN.fullmatch(name) and not _WORDS.fullmatch(name) else _quoted(name, '"')
    if isinstance(expression, ConstantValue):
        value = expression.value
        return _quoted(value, "'") if isinstance(value, str) else "null" if value is None else str(value).lower()
    function, parts = expression.function, [to_sql(argument) for argument in expression.arguments]
    if function in _INFIX:
        return f"({f' {_INFIX[function]} '.join(parts)})"
    if function in ("not", "negate"):
        return f"({'not ' if function == 'not' else '- '}{parts[0]})"
    if function == "is_null":
        return f"({parts[0]} is null)"
    if function == "in":
        return f"({parts[0]} in ({', '.join(parts[1:])}))"
    if function == "if":
        return f"case when {parts[0]} then {parts[1]} else {parts[2]} end"
    return f"{_SQL_NAMES.get(function, function)}({', '.join(parts)})"


def _quoted(text: str, quote: str) -> str:
    return f"{quote}{text.replace(quote, quote * 2)}{quote}"


def column_kinds(expression: Expression | None, kind: str = "") -> dict[str, str]:
    """Return how an expression reads each column: as a `text`, a `time`, or a number (empty)."""
    if isinstance(expression, ColumnValue):
        return {expression.name: kind}
    if not isinstance(expression, FunctionCall):
        return {}
    name, arguments = expression.function, expression.arguments
    is_text = any(isinstance(part, ConstantValue) and isinstance(part.value, str) for part in arguments)
    inner = "text" if name in _OF_TEXT or (is_text and name in _COMPARISONS) else "time" if name in _OF_TIME else ""
    if name in ("coalesce", "if", "minimum", "maximum"):
        inner = "text" if is_text else kind
    found = dict[str, str]()
    for part in arguments:
        for column, of_column in column_kinds(part, inner).items():
            found[column] = found.get(column) or of_column
    return found


def columns_of(expression: Expression) -> frozenset[str]:
    """Return the names of the columns that an expression reads."""
    return frozenset(node.name for node, _ in _nodes(expression) if isinstance(node, ColumnValue))


def check_expression(expression: Expression, *, where: str = "") -> None:
    """Check size, names, arguments and constants; an expression of a release comes from elsewhere.

    Raises
    ------
    DataError
        For the first mistake.
    """
    for count, (node, depth) in enumerate(_nodes(expression), start=1):
        if count > MAX_NODES or depth > MAX_DEPTH:
            what = f"the expression has more than {MAX_NODES} parts, or is nested deeper than {MAX_DEPTH}"
            raise DataError(what, where=where, hint="split it into several features of the view")
        if problem := _problem(node):
            raise DataError(problem[0], where=where, hint=problem[1])


def _nodes(expression: Expression) -> Iterator[tuple[Expression, int]]:
    """Yield each part of an expression with its depth, from 1."""
    due = [(expression, 1)]
    while due:
        node, depth = due.pop()
        yield node, depth
        if isinstance(node, FunctionCall):
            due += [(argument, depth + 1) for argument in node.arguments]


def _problem(node: Expression) -> tuple[str, str] | None:
    """Return what is wrong with one part, and a hint."""
    if isinstance(node, ColumnValue):
        return None if node.name else ("a column has no name", "write its name")
    if isinstance(node, ConstantValue):
        return _constant_problem(node.value)
    if node.function not in OPERATIONS:
        return f"unknown function '{node.function}'", f"one of: {', '.join(OPERATIONS)}"
    minimum, maximum = OPERATIONS[node.function]
    if not minimum <= len(node.arguments) <= maximum:
        expected = f"{minimum}" if minimum == maximum else f"{minimum} to {maximum}"
        return f"'{node.function}' has {len(node.arguments)} arguments", f"it takes {expected}"
    if node.function == "round":
        digits = node.arguments[1]
        value = digits.value if isinstance(digits, ConstantValue) else None
        if type(value) is not int or abs(value) > MAX_DIGITS:
            return "the digits of 'round' are not a constant integer", f"round(x, 2); {-MAX_DIGITS} to {MAX_DIGITS}"
    return None


def _constant_problem(value: bool | int | float | str | None) -> tuple[str, str] | None:
    if type(value) is int and abs(value) > MAX_INTEGER:
        return f"the integer {value} is beyond 2^53", "numbers are float64: compare strings instead"
    if isinstance(value, float) and not math.isfinite(value):
        return f"the constant {value} is not finite", "use null for a missing value"
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        return f"a constant has {len(value):,} characters", f"at most {MAX_CHARACTERS:,}"
    return None


def type_of(expression: Expression, types: Mapping[str, FeatureType], *, where: str = "") -> ExpressionType:
    """Return the type of an expression's values.

    Parameters
    ----------
    expression : Expression
        A checked expression.
    types : mapping of str to str
        The type of each column; others are unknown columns.
    where : str
        Where the expression stands, for messages.

    Raises
    ------
    DataError
        If a column is unknown, or a function is applied to the wrong type.
    """
    if isinstance(expression, ColumnValue):
        if expression.name not in types:
            raise DataError(
                f"no column '{expression.name}'", where=where, hint=f"columns: {', '.join(types) or 'none'}"
            )
        return _computed(types[expression.name])
    if isinstance(expression, ConstantValue):
        return _type_of_constant(expression.value)
    found = [type_of(argument, types, where=where) for argument in expression.arguments]
    return _result_type(expression.function, found, where)


def _computed(dtype: FeatureType) -> ExpressionType:
    return "number" if dtype == "integer" else dtype


def _type_of_constant(value: bool | int | float | str | None) -> ExpressionType:
    if value is None:
        return "missing"
    return "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"


def _result_type(function: str, found: Sequence[ExpressionType], where: str) -> ExpressionType:
    """Return the type of a call by the types of its arguments; `missing` fits everywhere."""
    if function in _ARITHMETIC or function in _OF_NUMBER or function == "round":
        _expect(function, found, ("number",), where)
        return "number"
    if function in ("and", "or", "not"):
        _expect(function, found, ("boolean",), where)
        return "boolean"
    if function in _OF_TIME:
        _expect(function, found, ("datetime",), where)
        return "number"
    if function in ("lower", "upper", "length"):
        _expect(function, found, ("string",), where)
        return "number" if function == "length" else "string"
    if function == "is_null":
        return "boolean"
    if function == "if":
        _expect(function, found[:1], ("boolean",), where)
        return _common(function, found[1:], where)
    if function in ("equal", "not_equal", "in", *_ORDERINGS):
        same = _common(function, found, where)
        if function in _ORDERINGS:
            _expect(function, [same], ("number", "string", "datetime"), where)
        return "boolean"
    same = _common(function, found, where)  # minimum, maximum, coalesce
    if function != "coalesce":
        _expect(function, [same], ("number", "datetime"), where)
    return same


def _expect(function: str, found: Sequence[ExpressionType], allowed: tuple[ExpressionType, ...], where: str) -> None:
    for dtype in found:
        if dtype not in (*allowed, "missing"):
            needs = " or ".join(allowed)
            hint = (
                "a boolean as a number: CASE WHEN x THEN 1 ELSE 0 END" if dtype == "boolean" else "correct the column"
            )
            raise DataError(f"'{function}' needs a {needs}, and got a {dtype}", where=where, hint=hint)


def _common(function: str, found: Sequence[ExpressionType], where: str) -> ExpressionType:
    """Return the one type of several values."""
    kinds = list(dict.fromkeys(dtype for dtype in found if dtype != "missing"))
    if len(kinds) > 1:
        what = f"'{function}' mixes {' and '.join(kinds)}"
        raise DataError(what, where=where, hint="its arguments must have one type")
    return kinds[0] if kinds else "missing"


def evaluate(
    expression: Expression, columns: Mapping[str, Array], *, types: Mapping[str, FeatureType] | None = None
) -> Array:
    """Compute an expression with numpy.

    Parameters
    ----------
    expression : Expression
        A checked expression.
    columns : mapping of str to ndarray of shape (n,)
        Numbers and booleans of any dtype (NaN is missing), strings (dtype object, None is missing, or a numpy string),
        datetime64 (NaT is missing).
    types : mapping of str to str, optional
        The types of columns, where the dtype is ambiguous: a boolean that comes as 0.0, 1.0 or NaN.

    Returns
    -------
    ndarray of shape (n,)
        float64 for a number and a boolean (0, 1 or NaN), object for strings, datetime64[us] for times.

    Raises
    ------
    DataError
        If a column is unknown or of the wrong type, or the columns differ in length.
    """
    known = {name: (types or {}).get(name) or dtype_of(name, array) for name, array in columns.items()}
    return compile_expression(expression, known)(columns)


def dtype_of(name: str, array: Array) -> FeatureType:
    """Return the type of a column by its dtype; raises DataError for one that is none of ours."""
    kind = array.dtype.kind
    if kind not in "fiubOUM":
        hint = "numbers, booleans, strings or datetime64"
        raise DataError(f"column '{name}' has dtype {array.dtype}", where=name, hint=hint)
    if kind in "fiu":
        return "number"
    return "boolean" if kind == "b" else "datetime" if kind == "M" else "string"


def compile_expression(
    expression: Expression, types: Mapping[str, FeatureType], *, where: str = ""
) -> Callable[[Mapping[str, Array]], Array]:
    """Check an expression and its types once, and return the function that computes it; see `evaluate`.

    A server compiles the features of a request when it loads a release.
    """
    check_expression(expression, where=where)
    result = type_of(expression, types, where=where)
    wanted: ExpressionType = "number" if result == "missing" else result
    needed = {name: types[name] for name in sorted(columns_of(expression))}
    node = _compiled(expression, types, wanted)

    def compute(columns: Mapping[str, Array]) -> Array:
        values = {name: _as_values(name, columns[name], dtype) for name, dtype in needed.items()}
        lengths = {len(array) for array in (values or columns).values()}
        if len(lengths) != 1:
            what = f"columns of {' and '.join(map(str, sorted(lengths))) or 'no'} rows"
            raise DataError(what, where=where or ", ".join(needed), hint="one value per row in each column")
        with np.errstate(all="ignore"):
            found = node(values)
        return found if found.ndim else np.broadcast_to(found, (lengths.pop(),)).copy()

    return compute


def _as_values(name: str, array: Array, dtype: FeatureType) -> Array:
    """Return a column in the form in which it is computed."""
    kinds = {"string": "OU", "datetime": "M"}.get(dtype, "fiub")
    if array.dtype.kind not in kinds or array.ndim != 1:
        what = f"column '{name}' has dtype {array.dtype} and {array.ndim} dimensions, not {dtype} values"
        raise DataError(what, where=name, hint="one value per row, of the declared type")
    if dtype == "datetime":
        return array.astype("datetime64[us]", copy=False)
    if dtype != "string":
        return array.astype(np.float64, copy=False)
    strings = array.astype(object, copy=False)
    if all(value is None or isinstance(value, str) for value in strings):
        return strings
    unsupported = next(value for value in strings if value is not None and not isinstance(value, str))
    raise DataError(f"column '{name}' holds {unsupported!r}", where=name, hint="strings, and None for a missing value")


Node = Callable[[Mapping[str, Array]], Array]


def _compiled(node: Expression, types: Mapping[str, FeatureType], wanted: ExpressionType) -> Node:
    """Return the function of a part; `wanted` is the type of a missing constant."""
    if isinstance(node, ColumnValue):
        name = node.name
        return lambda values: values[name]
    if isinstance(node, ConstantValue):
        constant = _constant(node.value, wanted)
        return lambda values: constant
    function = node.function
    types_of_arguments = argument_types(function, [type_of(part, types) for part in node.arguments], wanted)
    parts = [_compiled(part, types, dtype) for part, dtype in zip(node.arguments, types_of_arguments, strict=True)]
    compute = _FUNCTIONS[function]
    return lambda values: compute(*(part(values) for part in parts))


def argument_types(function: str, found: Sequence[ExpressionType], wanted: ExpressionType) -> list[ExpressionType]:
    """Return the type in which each argument is computed: where the constant null stands, that of its neighbours."""
    if function == "if":
        return ["boolean", wanted, wanted]
    known = [dtype for dtype in found if dtype != "missing"]
    if function in ("minimum", "maximum", "coalesce"):
        neighbour = wanted
    elif function in ("and", "or", "not"):
        neighbour = "boolean"
    elif function in _OF_TIME:
        neighbour = "datetime"
    elif function in ("lower", "upper", "length"):
        neighbour = "string"
    else:
        neighbour = known[0] if known else "number"
    return [neighbour if dtype == "missing" else dtype for dtype in found]


def _constant(value: bool | int | float | str | None, wanted: ExpressionType) -> Array:
    if value is None and wanted == "datetime":
        return np.array("NaT", dtype="datetime64[us]")
    if wanted == "string":
        return np.array(value, dtype=object)
    return np.array(np.nan if value is None else float(value))


def _is_missing(values: Array) -> Array:
    if values.dtype.kind == "O":
        return np.asarray(values == None)  # noqa: E711 - element by element
    return np.isnat(values) if values.dtype.kind == "M" else np.isnan(values)


def _compare(test: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """Return a comparison that is NaN where one of its values is missing."""

    def compare(first: Array, second: Array) -> Array:
        missing = _is_missing(first) | _is_missing(second)
        if first.dtype.kind != "O":
            return np.where(missing, np.nan, test(first, second))
        first, second = np.broadcast_arrays(first, second)
        found = np.full(first.shape, np.nan)
        found[~missing] = test(first[~missing], second[~missing])
        return found

    return compare


def _and(first: Array, second: Array) -> Array:
    return np.where((first == 0) | (second == 0), 0.0, np.where(np.isnan(first) | np.isnan(second), np.nan, 1.0))


def _or(first: Array, second: Array) -> Array:
    return np.where((first == 1) | (second == 1), 1.0, np.where(np.isnan(first) | np.isnan(second), np.nan, 0.0))


def _folded(function: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    """Return a function of two values as one of several."""
    return lambda *values: reduce(function, values)


def _in(value: Array, *others: Array) -> Array:
    return reduce(_or, (_equal(value, other) for other in others))


def _if(condition: Array, then: Array, otherwise: Array) -> Array:
    return np.where(condition == 1, then, otherwise)


def _divide(first: Array, second: Array) -> Array:
    return np.where(second == 0, np.nan, first / second)


def _power(first: Array, second: Array) -> Array:
    missing = np.isnan(first) | np.isnan(second) | ((first == 0) & (second < 0))  # NaN ** 0 is 1
    return np.where(missing, np.nan, np.power(first, second))


def _round(values: Array, digits: Array) -> Array:
    """Round halves away from zero; the scaled value decides, as in polars: 0.85 becomes 0.9, in DuckDB 2 0.8."""
    count = int(digits)
    scale = 10.0 ** abs(count)
    scaled = values * scale if count >= 0 else values / scale
    integral = np.trunc(scaled)
    rounded = np.where(np.abs(scaled - integral) >= 0.5, integral + np.copysign(1.0, scaled), integral)
    found = rounded / scale if count >= 0 else rounded * scale
    return np.where(np.isfinite(found), found, values)


def _log(values: Array) -> Array:
    return np.where(values > 0, np.log(values), np.nan)


def _log1p(values: Array) -> Array:
    return np.where(values > -1, np.log1p(values), np.nan)


def _of_string(function: Callable[[str], str | int]) -> Callable[[Array], Array]:
    vectorized = np.frompyfunc(lambda value: None if value is None else function(value), 1, 1)
    return lambda values: np.asarray(vectorized(values), dtype=object)


def _of_time(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return a function of times as one that is NaN for a missing time."""
    return lambda values: np.where(np.isnat(values), np.nan, function(values))


def _since(unit: str) -> Callable[[Array], Array]:
    """Return the function that counts whole units since 1970."""
    return lambda values: values.astype(f"datetime64[{unit}]").astype(np.int64)


def _day(values: Array) -> Array:
    return _since("D")(values) - values.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + 1


_equal = _compare(np.equal)
_length = _of_string(len)
_lower_case, _upper_case = _of_string(str.lower), _of_string(str.upper)
NUMPY_ONLY: dict[str, Callable[..., Array]] = {
    "divide": _divide,  # polars multiplies by the reciprocal of a constant
    "modulo": np.fmod,
    "power": _power,
    "round": _round,
    "exp": np.exp,
    "log": _log,
    "log1p": _log1p,
    "sin": np.sin,
    "cos": np.cos,
}
"""The functions of numbers whose last digit, or definition, depends on the library: numpy's is used everywhere."""
_FUNCTIONS: dict[str, Callable[..., Array]] = {
    **NUMPY_ONLY,
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "equal": _equal,
    "not_equal": _compare(np.not_equal),
    "less": _compare(np.less),
    "less_equal": _compare(np.less_equal),
    "greater": _compare(np.greater),
    "greater_equal": _compare(np.greater_equal),
    "and": _folded(_and),
    "or": _folded(_or),
    "not": lambda values: 1.0 - values,
    "negate": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "floor": np.floor,
    "ceil": np.ceil,
    "is_null": lambda values: _is_missing(values).astype(np.float64),
    "lower": _lower_case,
    "upper": _upper_case,
    "length": lambda values: np.asarray(_length(values)).astype(np.float64),
    "year": _of_time(lambda values: _since("Y")(values) + 1970),
    "month": _of_time(lambda values: _since("M")(values) % 12 + 1),
    "day": _of_time(_day),
    "weekday": _of_time(lambda values: (_since("D")(values) + 3) % 7 + 1),  # 1970 began on a Thursday
    "hour": _of_time(lambda values: _since("h")(values) % 24),
    "minute": _of_time(lambda values: _since("m")(values) % 60),
    "second": _of_time(lambda values: _since("s")(values) % 60),
    "epoch_s": _of_time(lambda values: _since("us")(values) / 1e6),
    "minimum": _folded(np.fmin),
    "maximum": _folded(np.fmax),
    "coalesce": _folded(lambda first, second: _if(_is_missing(first), second, first)),
    "in": _in,
    "if": _if,
}
