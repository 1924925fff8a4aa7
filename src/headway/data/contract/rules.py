"""Compile a contract for a table: each rule is a polars expression that is true where a row violates it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import polars as pl

from headway.data.contract.table_contract import ColumnContract, Relation, TableContract, parse_bound, parse_relation

STRING_DTYPES = (pl.String, pl.Categorical, pl.Enum)


def has_value(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return an expression that is true where a column is neither null nor NaN."""
    there = pl.col(name).is_not_null()
    return there & pl.col(name).is_not_nan() if dtype.is_float() else there


def as_type(name: str, dtype: pl.DataType, terms: ColumnContract) -> pl.Expr | None:
    """Convert a column to the type of its contract, null where a value does not convert.

    Returns
    -------
    polars.Expr or None
        None if no value of this dtype can have the type.
    """
    column = pl.col(name)
    if dtype == pl.Null:
        return column
    if terms.type in ("number", "whole"):
        return _as_numbers(column, dtype)
    if terms.type == "text":
        return column if dtype == pl.String else column.cast(pl.String) if dtype in STRING_DTYPES else None
    if terms.type == "boolean":
        return _as_booleans(column, dtype)
    return _as_times(column, dtype, terms.type)


def compares_as_float(dtype: pl.DataType, terms: ColumnContract) -> bool:
    """Return True if the values of a column are compared as floats."""
    return dtype.is_float() or (terms.type in ("number", "whole") and dtype in STRING_DTYPES)


def _as_numbers(column: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    if dtype.is_numeric():
        return column
    if dtype == pl.Boolean:
        return column.cast(pl.Int8)
    return column.cast(pl.String).cast(pl.Float64, strict=False).fill_nan(None) if dtype in STRING_DTYPES else None


def _as_booleans(column: pl.Expr, dtype: pl.DataType) -> pl.Expr | None:
    if dtype == pl.Boolean:
        return column
    if dtype.is_numeric():
        return pl.when(column == 1).then(True).when(column == 0).then(False)
    words = column.cast(pl.String).str.to_lowercase()
    return pl.when(words == "true").then(True).when(words == "false").then(False) if dtype in STRING_DTYPES else None


def _as_times(column: pl.Expr, dtype: pl.DataType, kind: str) -> pl.Expr | None:
    """Convert to dates, or to datetimes in microseconds without a time zone."""
    if dtype in STRING_DTYPES:
        texts = column.cast(pl.String)
        if kind == "date":
            return texts.str.to_date("%Y-%m-%d", strict=False)
        padded = texts.str.replace(" ", "T", literal=True).str.replace(r"^(.{16})($|Z|[+-])", "${1}:00${2}")
        local = padded.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
        zoned = padded.str.to_datetime("%+", time_unit="us", strict=False).dt.convert_time_zone("UTC")
        return pl.coalesce(local, zoned.dt.replace_time_zone(None))
    if kind == "date":
        return column if dtype == pl.Date else None
    return column.cast(pl.Datetime("us")).dt.replace_time_zone(None) if dtype in (pl.Date, pl.Datetime) else None


MAX_LISTED = 3
SUM_TOLERANCE = 1e-9
"""By how much a sum of floats may be off, as a share of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyConstraint:
    """A rule across rows: no two rows share `key`, or rows that share it are equal in `determines`."""

    key: tuple[pl.Expr, ...]
    determines: pl.Expr | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A compiled rule: its code, its columns and the reason shown for a failing row.

    `violated` is true where a row violates the rule; `key_constraint` is set instead for rules across rows.
    `limit` is the largest allowed share of violating rows. A rule with neither is violated by the whole table.
    """

    code: str
    columns: tuple[str, ...]
    reason: str
    violated: pl.Expr | None = None
    key_constraint: KeyConstraint | None = None
    shown: pl.Expr | None = None
    limit: float = 0.0

    @property
    def fails_rows(self) -> bool:
        """Return True if single rows fail, and not the table as a whole."""
        return self.limit == 0 and (self.violated is not None or self.key_constraint is not None)


def compile_rules(contract: TableContract, schema: pl.Schema) -> list[Rule]:
    """Compile a contract for a table schema, in the order of the contract's columns."""
    rules = [rule for name, terms in contract.columns.items() for rule in _column_rules(name, terms, schema)]
    found = {name: as_type(name, schema[name], terms) for name, terms in contract.columns.items() if name in schema}
    values = {name: value for name, value in found.items() if value is not None}
    keys = {name: _comparable(value, schema[name], contract.columns[name]) for name, value in values.items()}
    for key in contract.unique:
        if keys.keys() >= set(key):
            key_constraint = KeyConstraint(key=tuple(keys[name] for name in key))
            named = ", ".join(f"'{name}'" for name in key)
            rules.append(
                Rule(
                    code="D015",
                    columns=key,
                    reason=f"key {named} occurs more than once",
                    key_constraint=key_constraint,
                )
            )
    for relation in map(parse_relation, contract.relations):
        if keys.keys() >= set(relation.columns):
            rules.append(_relation_rule(relation, keys))
    return rules


def uncovered(contract: TableContract, schema: pl.Schema) -> list[str]:
    """Return the columns of a table that its contract does not name."""
    return [name for name in schema if name not in contract.columns]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column with its values converted to the type of the contract."""

    name: str
    terms: ColumnContract
    dtype: pl.DataType
    value: pl.Expr
    there: pl.Expr

    def rule(self, code: str, message: str, violated: pl.Expr) -> Rule:
        shown = pl.col(self.name)
        return Rule(code=code, columns=(self.name,), reason=f"'{self.name}' {message}", violated=violated, shown=shown)


def _column_rules(name: str, terms: ColumnContract, schema: pl.Schema) -> Iterator[Rule]:
    if name not in schema:
        if not terms.optional:
            yield Rule(code="D010", columns=(name,), reason=f"'{name}' is absent")
        return
    there, value = has_value(name, schema[name]), as_type(name, schema[name], terms)
    if terms.missing < 1:
        reason = f"'{name}' is missing"
        yield Rule(code="D011", columns=(name,), reason=reason, violated=~there, limit=terms.missing)
    integer = terms.type == "whole"
    if value is None:
        reason = f"'{name}' is not {'an integer' if integer else f'a {terms.type}'}"
        yield Rule(code="D010", columns=(name,), reason=reason, violated=there, shown=pl.col(name))
        return
    column = _Column(name=name, terms=terms, dtype=schema[name], value=value, there=there)
    for rules in (_type_rules, _range_rules, _value_rules, _format_rules):
        yield from rules(column)


def _type_rules(column: _Column) -> Iterator[Rule]:
    """Yield a rule for values that do not have the type of the contract."""
    value, dtype, terms = column.value, column.dtype, column.terms
    if terms.type == "whole" and (dtype.is_float() or dtype.is_decimal() or dtype in STRING_DTYPES):
        wrong = value.is_null() | (value != value.floor())
        wrong = wrong if dtype.is_decimal() else wrong | value.is_infinite()
        yield column.rule("D010", "is not an integer", wrong & column.there)
    elif (dtype in STRING_DTYPES and terms.type != "text") or (dtype.is_numeric() and terms.type == "boolean"):
        yield column.rule("D010", f"is not a {terms.type}", value.is_null() & column.there)


def _range_rules(column: _Column) -> Iterator[Rule]:
    value, terms = column.value, column.terms
    counts = column.there if column.dtype.is_float() else None  # NaN is above all, and outside of no range
    for bound, message in ((terms.lowest, "below"), (terms.highest, "above")):
        if bound is not None:
            end = parse_bound(terms, bound, where=column.name)
            violated = value < end if message == "below" else value > end
            shown = f"{end:,}" if isinstance(end, int) else str(end)
            yield column.rule("D012", f"is {message} {shown}", violated if counts is None else violated & counts)


def _value_rules(column: _Column) -> Iterator[Rule]:
    if not column.terms.values:
        return
    allowed = [parse_bound(column.terms, value_, where=column.name) for value_ in column.terms.values]
    numbers = column.terms.type in ("number", "whole")
    known = pl.Series(allowed, dtype=pl.Float64) if numbers else pl.Series(allowed)
    value = column.value.cast(pl.Float64) if numbers else column.value
    determines = (
        f"is not one of {', '.join(map(str, allowed))}"
        if len(allowed) <= MAX_LISTED
        else f"is not one of {len(allowed):,} values"
    )
    yield column.rule("D013", determines, ~value.is_in(known.implode()) & column.there)


def _format_rules(column: _Column) -> Iterator[Rule]:
    value, terms = column.value, column.terms
    if terms.pattern:
        fits = value.str.contains(f"^(?:{terms.pattern})$")
        yield column.rule("D014", f"does not match {terms.pattern}", ~fits)
    if terms.shortest is not None:
        yield column.rule("D014", f"is shorter than {terms.shortest}", value.str.len_chars() < terms.shortest)
    if terms.longest is not None:
        yield column.rule("D014", f"is longer than {terms.longest}", value.str.len_chars() > terms.longest)


def _comparable(value: pl.Expr, dtype: pl.DataType, terms: ColumnContract) -> pl.Expr:
    """Map NaN to null and -0.0 to 0.0, so that equal values have equal bits."""
    return (value + 0.0).fill_nan(None) if compares_as_float(dtype, terms) else value


def _relation_rule(relation: Relation, values: Mapping[str, pl.Expr]) -> Rule:
    left, right = [values[name] for name in relation.left], values[relation.right]
    rule = partial(Rule, code="D016", columns=relation.columns, reason=f"not {relation}")
    if relation.kind == "->":
        return rule(key_constraint=KeyConstraint(key=tuple(left), determines=right))
    if relation.kind == "+":
        return rule(violated=~_is_close(left[0].cast(pl.Float64) + left[1].cast(pl.Float64), right.cast(pl.Float64)))
    violated = {"<=": left[0] > right, "<": left[0] >= right, "==": left[0] != right}[relation.kind]
    return rule(violated=violated)


def _is_close(total: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Return an expression that is true where two floats are equal up to rounding."""
    return (total == right) | ((total - right).abs() <= SUM_TOLERANCE * pl.max_horizontal(right.abs(), 1.0))
