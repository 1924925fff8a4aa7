"""Parse SQL with sqlglot: expressions of features to the closed list of functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from headway.core.errors import DataError
from headway.core.feature_view import ColumnValue, ConstantValue, Expression, FunctionCall

MAX_CHARACTERS = 20_000
_DIALECT = "duckdb"
_BINARY: dict[type[exp.Expr], str] = {
    exp.Add: "add",
    exp.Sub: "subtract",
    exp.Mul: "multiply",
    exp.Div: "divide",
    exp.Mod: "modulo",
    exp.Pow: "power",
    exp.EQ: "equal",
    exp.NEQ: "not_equal",
    exp.LT: "less",
    exp.LTE: "less_equal",
    exp.GT: "greater",
    exp.GTE: "greater_equal",
}
_UNARY: dict[type[exp.Expr], str] = {
    exp.Not: "not",
    exp.Neg: "negate",
    exp.Abs: "abs",
    exp.Sign: "sign",
    exp.Sqrt: "sqrt",
    exp.Exp: "exp",
    exp.Ln: "log",
    exp.Floor: "floor",
    exp.Ceil: "ceil",
    exp.Sin: "sin",
    exp.Cos: "cos",
    exp.Lower: "lower",
    exp.Upper: "upper",
    exp.Length: "length",
    exp.Year: "year",
    exp.Month: "month",
    exp.Day: "day",
    exp.DayOfMonth: "day",
    exp.DayOfWeekIso: "weekday",
    exp.Hour: "hour",
    exp.Minute: "minute",
    exp.Second: "second",
    exp.TimeToUnix: "epoch_s",
}
_SEVERAL: dict[type[exp.Expr], str] = {
    exp.Least: "minimum",
    exp.Greatest: "maximum",
    exp.Coalesce: "coalesce",
}
_EXTRACT = {
    "YEAR": "year",
    "MONTH": "month",
    "DAY": "day",
    "ISODOW": "weekday",
    "HOUR": "hour",
    "MINUTE": "minute",
    "EPOCH": "epoch_s",
}
_FLAGS = {"ignore_nulls": (True, None, False), "safe": (None, False), "typed": (None, False, True)}
"""Arguments of sqlglot's nodes that say how another database would do it."""
_HINTS: dict[type[exp.Expr], str] = {
    exp.Log: "ln(x) is the natural logarithm; ln(x) / ln(10) the decimal one",
    exp.DayOfWeek: "isodow(x): 1 on Monday, 7 on Sunday",
    exp.IntDiv: "floor(x / y)",
    exp.Cast: "columns have the types of their source; a boolean as a number: CASE WHEN x THEN 1 ELSE 0 END",
    exp.Window: "declare a window of the view, such as sum(x) over 1d, in [views.NAME.windows]",
    exp.AggFunc: "declare a window of the view, such as sum(x) over 1d, in [views.NAME.windows]",
    exp.Query: 'an expression reads one row; give the view a query: sql = "SELECT ... FROM source"',
    exp.Alias: "the name of the feature is its key; is an operator missing between two words?",
    exp.Star: "name the columns",
    exp.NullSafeNEQ: "x IS NULL",
    exp.NullSafeEQ: "x IS NULL",
}
_ALLOWED = (
    "allowed: + - * / % ^ = <> < <= > >= AND OR NOT IN BETWEEN CASE IS NULL; abs ceil coalesce cos day epoch exp "
    "floor greatest hour if isodow least length ln log1p lower minute mod month nullif pow round second sign sin sqrt "
    "upper year"
)


def sql_to_tree(text: str) -> Expression:
    """Parse one SQL expression; see `headway.features.expressions`."""
    found = statements(text, what="the expression")
    if len(found) != 1:
        raise DataError(f"{len(found)} expressions in one text", where=text, hint="one expression, without ;")
    try:
        return _converted(found[0], text)
    except RecursionError:
        raise DataError("the expression is nested too deep", where=text[:200], hint="split it into features") from None


def statements(text: str, *, what: str) -> list[exp.Expr]:
    """Parse SQL of a bounded size; raises DataError if it cannot be parsed."""
    if len(text) > MAX_CHARACTERS:
        raise DataError(f"{what} has {len(text):,} characters", where=text[:200], hint=f"at most {MAX_CHARACTERS:,}")
    try:
        found = sqlglot.parse(text, dialect=_DIALECT)
    except (SqlglotError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split("\n")[0].split()) or "nested too deep"
        raise DataError(
            f"{what} is not SQL: {reason}", where=text[:200], hint="SQL as DuckDB understands it"
        ) from error
    return [statement for statement in found if statement is not None]


def _converted(node: exp.Expr, text: str) -> Expression:
    kind = type(node)
    if kind is exp.Paren:
        return _converted(_only(node, text, "this")[0], text)
    if kind is exp.Column or kind is exp.Identifier:
        return _column(node, text)
    if kind in (exp.Literal, exp.Boolean, exp.Null):
        return _constant(node, text)
    if kind in _BINARY:
        return _call(_BINARY[kind], _only(node, text, "this", "expression"), text)
    if kind in _UNARY:
        return _minus(_call(_UNARY[kind], _only(node, text, "this"), text))
    if kind in (exp.And, exp.Or):
        return _joined("and" if kind is exp.And else "or", _flattened(node, kind), text)
    if kind in _SEVERAL:
        first, *others = _only(node, text, "this", "expressions")
        return _call(_SEVERAL[kind], [first, *others], text) if others else _converted(first, text)
    special = _SPECIAL.get(kind)
    if special is None:
        raise _refused(node, text)
    return special(node, text)


def _refused(node: exp.Expr, text: str, *, name: str = "") -> DataError:
    """Return the error for a part that is not in the closed list, by its name."""
    hint = next((hint for kind, hint in _HINTS.items() if isinstance(node, kind)), _ALLOWED)
    if not name:
        name = node.name if isinstance(node, exp.Anonymous) else node.sql(dialect=_DIALECT)[:80]
    if name.lower() in ("weekday", "dayofweek"):
        hint = _HINTS[exp.DayOfWeek]
    return DataError(f"'{name}' is not allowed in an expression", where=text, hint=hint)


def _only(node: exp.Expr, text: str, *names: str) -> list[exp.Expr]:
    """Return the arguments of a node, if it has no others: nothing of a text is left out."""
    for name, value in node.args.items():
        known = name in names or (name in _FLAGS and value in _FLAGS[name])
        if not known and value not in (None, [], False):
            raise _refused(node, text)
    found: list[exp.Expr] = []
    for name in names:
        value = node.args.get(name)
        found += value if isinstance(value, list) else [] if value is None else [value]
    return found


def _call(function: str, arguments: Sequence[exp.Expr], text: str) -> FunctionCall:
    return FunctionCall(function=function, arguments=tuple(_converted(argument, text) for argument in arguments))


def _minus(call: FunctionCall) -> Expression:
    """Return the constant -2 for the negation of 2."""
    only = call.arguments[0]
    if call.function == "negate" and isinstance(only, ConstantValue) and type(only.value) in (int, float):
        return ConstantValue(value=-only.value)  # type: ignore[operator]
    return call


def _flattened(node: exp.Expr, kind: type[exp.Expr]) -> list[exp.Expr]:
    """Return the operands of a chain of AND or of OR, in order."""
    due, found = [node], list[exp.Expr]()
    while due:
        part = due.pop()
        if type(part) is kind:
            due += [part.args["expression"], part.args["this"]]
        else:
            found.append(part)
    return found


def _joined(function: str, operands: Sequence[exp.Expr], text: str) -> Expression:
    """Return a chain as calls of up to 16 operands."""
    parts: list[Expression] = [_converted(operand, text) for operand in operands]
    while len(parts) > 1:
        groups = [parts[start : start + 16] for start in range(0, len(parts), 16)]
        parts = [
            FunctionCall(function=function, arguments=tuple(group)) if len(group) > 1 else group[0] for group in groups
        ]
    return parts[0]


def _column(node: exp.Expr, text: str) -> ColumnValue:
    if isinstance(node, exp.Identifier):
        return ColumnValue(name=node.name)
    (name,) = _only(node, text, "this")
    if not isinstance(name, exp.Identifier):
        raise _refused(node, text)
    return ColumnValue(name=name.name)


def _constant(node: exp.Expr, text: str) -> ConstantValue:
    if isinstance(node, exp.Null):
        return ConstantValue(value=None)
    if isinstance(node, exp.Boolean) or node.is_string:
        return ConstantValue(value=node.this)
    digits = str(node.this)
    try:
        return ConstantValue(value=int(digits) if digits.isdecimal() else float(digits))
    except ValueError:
        raise _refused(node, text) from None


def _case(node: exp.Expr, text: str) -> Expression:
    _only(node, text, "this", "ifs", "default")
    subject, default = node.args.get("this"), node.args.get("default")
    result: Expression = _converted(default, text) if default is not None else ConstantValue(value=None)
    for branch in reversed(node.args["ifs"]):
        test = _converted(branch.args["this"], text)
        if subject is not None:
            test = FunctionCall(function="equal", arguments=(_converted(subject, text), test))
        result = FunctionCall(function="if", arguments=(test, _converted(branch.args["true"], text), result))
    return result


def _if(node: exp.Expr, text: str) -> Expression:
    test, then, *other = _only(node, text, "this", "true", "false")
    otherwise = _converted(other[0], text) if other else ConstantValue(value=None)
    return FunctionCall(function="if", arguments=(_converted(test, text), _converted(then, text), otherwise))


def _between(node: exp.Expr, text: str) -> Expression:
    value, low, high = (_converted(part, text) for part in _only(node, text, "this", "low", "high"))
    above = FunctionCall(function="greater_equal", arguments=(value, low))
    return FunctionCall(function="and", arguments=(above, FunctionCall(function="less_equal", arguments=(value, high))))


def _in(node: exp.Expr, text: str) -> Expression:
    if node.args.get("query") is not None:
        raise _refused(node.args["query"], text)
    return _call("in", _only(node, text, "this", "expressions"), text)


def _is(node: exp.Expr, text: str) -> Expression:
    value, other = _only(node, text, "this", "expression")
    if isinstance(other, exp.Null):
        return _call("is_null", [value], text)
    if not isinstance(other, exp.Boolean):
        raise _refused(node, text)
    same = FunctionCall(function="equal", arguments=(_converted(value, text), ConstantValue(value=bool(other.this))))
    return FunctionCall(function="coalesce", arguments=(same, ConstantValue(value=False)))


def _nullif(node: exp.Expr, text: str) -> Expression:
    value, other = (_converted(part, text) for part in _only(node, text, "this", "expression"))
    same = FunctionCall(function="equal", arguments=(value, other))
    return FunctionCall(function="if", arguments=(same, ConstantValue(value=None), value))


def _rounded(node: exp.Expr, text: str) -> Expression:
    value, *digits = (_converted(part, text) for part in _only(node, text, "this", "decimals"))
    return FunctionCall(function="round", arguments=(value, digits[0] if digits else ConstantValue(value=0)))


def _extract(node: exp.Expr, text: str) -> Expression:
    part, value = _only(node, text, "this", "expression")
    if part.name.upper() not in _EXTRACT:
        raise _refused(node, text, name=f"extract({part.name})")
    return _call(_EXTRACT[part.name.upper()], [value], text)


def _by_name(node: exp.Expr, text: str) -> Expression:
    """Convert a function that sqlglot has no node for."""
    arguments = _only(node, text, "this", "expressions")
    if node.name.lower() == "log1p" and isinstance(node.this, str):
        return _call("log1p", arguments[1:], text)
    raise _refused(node, text)


_SPECIAL: dict[type[exp.Expr], Callable[[exp.Expr, str], Expression]] = {
    exp.Case: _case,
    exp.If: _if,
    exp.Between: _between,
    exp.In: _in,
    exp.Is: _is,
    exp.Nullif: _nullif,
    exp.Round: _rounded,
    exp.Extract: _extract,
    exp.Anonymous: _by_name,
}


def rewrite_query(sql: str, *, table: str) -> str:
    """Check a query of a view, and return it as written from its tree; see `headway.features.sql.check_query`."""
    found = statements(sql, what="the query")
    if len(found) != 1 or not isinstance(found[0], exp.Select | exp.SetOperation):
        kind = found[0].key.upper() if len(found) == 1 else f"{len(found)} statements"
        raise DataError(f"the query is not one SELECT but {kind}", where=sql[:200], hint=f"SELECT ... FROM {table}")
    try:
        tree = found[0]
        names = {table, *_names_of_ctes(tree, table, sql)}
        for count, node in enumerate(tree.walk(), start=1):
            if count > MAX_QUERY_NODES:
                raise DataError(f"the query has more than {MAX_QUERY_NODES} parts", where=sql[:200], hint="simplify it")
            _expect_allowed(node, names, sql)
        return tree.sql(dialect=_DIALECT, comments=False)
    except RecursionError:
        raise DataError("the query is nested too deep", where=sql[:200], hint="WITH name AS (...)") from None


MAX_QUERY_NODES = 5_000
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CLAUSES: tuple[type[exp.Expr], ...] = (
    exp.Select,
    exp.SetOperation,
    exp.From,
    exp.Join,
    exp.Where,
    exp.Group,
    exp.Having,
    exp.Qualify,
    exp.Order,
    exp.Ordered,
    exp.Limit,
    exp.Offset,
    exp.Distinct,
    exp.With,
    exp.CTE,
    exp.Subquery,
    exp.Alias,
    exp.TableAlias,
    exp.Table,
    exp.Column,
    exp.Identifier,
    exp.Star,
    exp.Literal,
    exp.Boolean,
    exp.Null,
    exp.Paren,
    exp.Tuple,
    exp.Window,
    exp.WindowSpec,
    exp.Filter,
    exp.IgnoreNulls,
    exp.RespectNulls,
    exp.WithinGroup,
    exp.Interval,
    exp.Var,
    exp.Case,
    exp.If,
    exp.In,
    exp.Between,
    exp.Is,
    exp.Exists,
    exp.Like,
    exp.ILike,
    exp.DPipe,
    exp.IntDiv,
    exp.And,
    exp.Or,
    exp.NullSafeEQ,
    exp.NullSafeNEQ,
)
_FUNCTIONS: tuple[type[exp.Expr], ...] = (
    *(exp.Trunc, exp.Log, exp.Tan, exp.Atan, exp.Atan2, exp.Nullif, exp.Round, exp.Extract, exp.IsNan),
    *(exp.Trim, exp.Substring, exp.Replace, exp.Concat, exp.StartsWith, exp.StrPosition, exp.Left, exp.Right),
    *(exp.DateTrunc, exp.TimestampTrunc, exp.DateDiff, exp.DateAdd, exp.DateSub, exp.Date, exp.Week, exp.Quarter),
    *(exp.Sum, exp.Avg, exp.Count, exp.CountIf, exp.Min, exp.Max, exp.Median, exp.Quantile, exp.PercentileCont),
    *(exp.Stddev, exp.StddevSamp, exp.StddevPop, exp.Variance, exp.VariancePop, exp.Corr, exp.ArgMax, exp.ArgMin),
    *(exp.First, exp.Last, exp.AnyValue, exp.LogicalAnd, exp.LogicalOr),
    *(exp.RowNumber, exp.Rank, exp.DenseRank, exp.PercentRank, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue),
)
_TYPES = [
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "BIGINT",
    "UTINYINT",
    "USMALLINT",
    "UINT",
    "UBIGINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
    "TEXT",
    "VARCHAR",
    "DATE",
    "TIMESTAMP",
    "TIMESTAMPNTZ",
]
_ALLOWED_NODES = (*_CLAUSES, *_FUNCTIONS, *_BINARY, *_UNARY, *_SEVERAL)
_QUERY_HINT = (
    "allowed: SELECT, FROM source, JOIN, WHERE, GROUP BY, HAVING, QUALIFY, ORDER BY, LIMIT, WITH, UNION, window "
    "functions, casts to plain types, the functions of expressions, and avg count min max sum median stddev variance "
    "quantile corr first last lag lead rank row_number date_trunc date_diff substring replace trim"
)


def _names_of_ctes(tree: exp.Expr, table: str, sql: str) -> Iterator[str]:
    for found in tree.find_all(exp.With):
        if found.args.get("recursive"):
            raise _not_in_query("WITH RECURSIVE", sql)
    for named in tree.find_all(exp.CTE):
        if not _PLAIN_NAME.fullmatch(named.alias) or named.alias.lower() == table:
            raise DataError(f"{named.alias!r} is not a name for WITH", where=sql[:200], hint="a plain word")
        yield named.alias.lower()


def _expect_allowed(node: exp.Expr, names: set[str], sql: str) -> None:
    kind = type(node)
    if kind is exp.Table:
        plain = isinstance(node.this, exp.Identifier) and not node.args.get("db") and not node.args.get("catalog")
        if not plain or node.name.lower() not in names:
            name = node.sql(dialect=_DIALECT)[:80]
            raise DataError(f"the query reads {name}, not 'source'", where=sql[:200], hint="the only table is source")
        extra = [key for key, value in node.args.items() if value and key not in ("this", "alias", "joins")]
        if extra:
            raise _not_in_query(node.sql(dialect=_DIALECT)[:80], sql)
        return
    if kind in (exp.Cast, exp.TryCast):
        wanted = node.args["to"]
        name = wanted.sql(dialect=_DIALECT)
        if not isinstance(wanted, exp.DataType) or wanted.this.value not in _TYPES or wanted.args.get("nested"):
            raise _not_in_query(f"a cast to {name[:60]}", sql)
        return
    if kind in (exp.DataType, exp.DataTypeParam):
        if isinstance(node.parent, exp.DataType | exp.Cast | exp.TryCast):
            return
        raise _not_in_query(node.sql(dialect=_DIALECT)[:80], sql)
    if isinstance(node, exp.SetOperation) or kind in _ALLOWED_NODES:
        return
    if kind is exp.Anonymous and node.name.lower() in ("log1p", "bool_and", "bool_or"):
        return
    name = node.name if kind is exp.Anonymous else node.sql(dialect=_DIALECT)[:80] or node.key.upper()
    raise _not_in_query(name, sql)


def _not_in_query(name: str, sql: str) -> DataError:
    return DataError(f"'{name}' is not allowed in a query of a view", where=sql[:200], hint=_QUERY_HINT)
