"""Validate a table, in memory or larger, against its contract: one polars plan masks the rows that violate each rule.

For keys of a table larger than memory, two hashes of the key (128 bits) and one of the determined value are
spilled to files by the first bits of the key, so that equal keys meet in one file and only one file is in
memory at a time. A collision is expected once in 10^20 tables of ten million rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.arrays import Bools
from headway.core.errors import DataError
from headway.data.contract.table_contract import (
    ColumnContract,
    Relation,
    TableContract,
    parse_bound,
    parse_relation,
    with_article,
)
from headway.data.labels.corrections import row_digest
from headway.data.matrix import STRING_DTYPES

ROWS_PER_FILE = 1_000_000
MAX_LISTED = 3
MAX_EXAMPLES = 3
SUM_TOLERANCE = 1e-9
"""Largest allowed error of a sum of floats, as a share of it."""
ROW = "headway.row"
REASON = "headway.reason"
FAILS = "headway.fails"
Table = pl.DataFrame | pl.LazyFrame
_BATCH_ROWS = 100_000
_ROW = np.dtype([("key", "<u8"), ("key_too", "<u8"), ("determines", "<u8"), ("row", "<u8")])


def _has_value(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return an expression that is true where a column is neither null nor NaN."""
    present = pl.col(name).is_not_null()
    return present & pl.col(name).is_not_nan() if dtype.is_float() else present


def _as_type(name: str, dtype: pl.DataType, terms: ColumnContract) -> pl.Expr | None:
    """Convert a column to the type of its contract, null where a value does not convert.

    Returns
    -------
    polars.Expr or None
        None if no value of this dtype can have the type.
    """
    column = pl.col(name)
    if dtype == pl.Null:
        return column
    if terms.type in ("number", "integer"):
        return _as_numbers(column, dtype)
    if terms.type == "string":
        return column if dtype == pl.String else column.cast(pl.String) if dtype in STRING_DTYPES else None
    if terms.type == "boolean":
        return _as_booleans(column, dtype)
    return _as_times(column, dtype, terms.type)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyConstraint:
    """A rule across rows: no two rows share `key`, or rows that share it are equal in `determines`."""

    key: tuple[pl.Expr, ...]
    determines: pl.Expr | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractRule:
    """A compiled rule: its code, its columns and the reason shown for a failing row.

    `violated` is true where a row violates the rule; `key_constraint` is set instead for rules across rows.
    `limit` is the largest allowed share of violating rows. A rule with neither is violated by the whole table.
    `relation` is the relation that a rule was compiled from.
    """

    code: str
    columns: tuple[str, ...]
    reason: str
    violated: pl.Expr | None = None
    key_constraint: KeyConstraint | None = None
    shown: pl.Expr | None = None
    limit: float = 0.0
    relation: Relation | None = None

    @property
    def fails_rows(self) -> bool:
        """Return True if single rows fail, and not the table as a whole."""
        return self.limit == 0 and (self.violated is not None or self.key_constraint is not None)


def compile_rules(contract: TableContract, schema: pl.Schema) -> list[ContractRule]:
    """Compile a contract for a table schema, in the order of the contract's columns."""
    rules = [rule for name, terms in contract.columns.items() for rule in _column_rules(name, terms, schema)]
    found = {name: _as_type(name, schema[name], terms) for name, terms in contract.columns.items() if name in schema}
    values = {name: value for name, value in found.items() if value is not None}
    keys = {name: _comparable(value, schema[name], contract.columns[name]) for name, value in values.items()}
    for key in contract.unique:
        if keys.keys() >= set(key):
            key_constraint = KeyConstraint(key=tuple(keys[name] for name in key))
            named = ", ".join(f"'{name}'" for name in key)
            rules.append(
                ContractRule(
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _TypedColumn:
    """A column with its values converted to the type of the contract."""

    name: str
    terms: ColumnContract
    dtype: pl.DataType
    value: pl.Expr
    present: pl.Expr

    def rule(self, code: str, message: str, violated: pl.Expr) -> ContractRule:
        shown = pl.col(self.name)
        return ContractRule(
            code=code, columns=(self.name,), reason=f"'{self.name}' {message}", violated=violated, shown=shown
        )


def _column_rules(name: str, terms: ColumnContract, schema: pl.Schema) -> Iterator[ContractRule]:
    if name not in schema:
        if not terms.optional:
            yield ContractRule(code="D010", columns=(name,), reason=f"'{name}' is absent")
        return
    present, value = _has_value(name, schema[name]), _as_type(name, schema[name], terms)
    if terms.missing < 1:
        reason = f"'{name}' is missing"
        yield ContractRule(code="D011", columns=(name,), reason=reason, violated=~present, limit=terms.missing)
    if value is None:
        reason = f"'{name}' is not {with_article(terms.type)}"
        yield ContractRule(code="D010", columns=(name,), reason=reason, violated=present, shown=pl.col(name))
        return
    column = _TypedColumn(name=name, terms=terms, dtype=schema[name], value=value, present=present)
    for rules in (_type_rules, _range_rules, _value_rules, _format_rules):
        yield from rules(column)


def _type_rules(column: _TypedColumn) -> Iterator[ContractRule]:
    """Yield a rule for values that do not have the type of the contract."""
    value, dtype, terms = column.value, column.dtype, column.terms
    if terms.type == "integer" and (dtype.is_float() or dtype.is_decimal() or dtype in STRING_DTYPES):
        wrong = value.is_null() | (value != value.floor())
        wrong = wrong if dtype.is_decimal() else wrong | value.is_infinite()
        yield column.rule("D010", "is not an integer", wrong & column.present)
    elif (dtype in STRING_DTYPES and terms.type != "string") or (dtype.is_numeric() and terms.type == "boolean"):
        yield column.rule("D010", f"is not a {terms.type}", value.is_null() & column.present)


def _range_rules(column: _TypedColumn) -> Iterator[ContractRule]:
    value, terms = column.value, column.terms
    counts = column.present if column.dtype.is_float() else None  # polars orders NaN above all numbers
    for bound, is_outside, message in ((terms.minimum, pl.Expr.lt, "below"), (terms.maximum, pl.Expr.gt, "above")):
        if bound is not None:
            end = parse_bound(terms, bound, where=column.name)
            violated = is_outside(value, end)
            shown = f"{end:,}" if isinstance(end, int) else str(end)
            yield column.rule("D012", f"is {message} {shown}", violated if counts is None else violated & counts)


def _value_rules(column: _TypedColumn) -> Iterator[ContractRule]:
    if not column.terms.values:
        return
    allowed = [parse_bound(column.terms, value_, where=column.name) for value_ in column.terms.values]
    numbers = column.terms.type in ("number", "integer")
    known = pl.Series(allowed, dtype=pl.Float64) if numbers else pl.Series(allowed)
    value = column.value.cast(pl.Float64) if numbers else column.value
    message = (
        f"is not one of {', '.join(map(str, allowed))}"
        if len(allowed) <= MAX_LISTED
        else f"is not one of {len(allowed):,} values"
    )
    yield column.rule("D013", message, ~value.is_in(known.implode()) & column.present)


def _format_rules(column: _TypedColumn) -> Iterator[ContractRule]:
    value, terms = column.value, column.terms
    if terms.pattern:
        fits = value.str.contains(f"^(?:{terms.pattern})$")
        yield column.rule("D014", f"does not match {terms.pattern}", ~fits)
    if terms.min_length is not None:
        yield column.rule("D014", f"is shorter than {terms.min_length}", value.str.len_chars() < terms.min_length)
    if terms.max_length is not None:
        yield column.rule("D014", f"is longer than {terms.max_length}", value.str.len_chars() > terms.max_length)


def _comparable(value: pl.Expr, dtype: pl.DataType, terms: ColumnContract) -> pl.Expr:
    """Map NaN to null and -0.0 to 0.0, so that equal values have equal bits."""
    is_float = dtype.is_float() or (terms.type in ("number", "integer") and dtype in STRING_DTYPES)
    return (value + 0.0).fill_nan(None) if is_float else value


def _relation_rule(relation: Relation, values: Mapping[str, pl.Expr]) -> ContractRule:
    left, right = [values[name] for name in relation.left], values[relation.right]
    rule = partial(ContractRule, code="D016", columns=relation.columns, reason=f"not {relation}", relation=relation)
    if relation.kind == "->":
        return rule(key_constraint=KeyConstraint(key=tuple(left), determines=right))
    if relation.kind == "+":
        return rule(violated=~_is_close(left[0].cast(pl.Float64) + left[1].cast(pl.Float64), right.cast(pl.Float64)))
    violated = {"<=": left[0] > right, "<": left[0] >= right, "==": left[0] != right}[relation.kind]
    return rule(violated=violated)


def _is_close(total: pl.Expr, right: pl.Expr) -> pl.Expr:
    """Return an expression that is true where two floats are equal up to rounding."""
    return (total == right) | ((total - right).abs() <= SUM_TOLERANCE * pl.max_horizontal(right.abs(), 1.0))


def violates_key(constraint: KeyConstraint) -> pl.Expr:
    """Return an expression that is true where rows in memory violate a constraint; rows with missing parts do not."""
    complete = _is_complete(constraint)
    key = [part.alias(str(index)) for index, part in enumerate(constraint.key)]
    if constraint.determines is None:
        return complete & (pl.len().over(complete, *key) > 1)
    return complete & (constraint.determines.min() != constraint.determines.max()).over(complete, *key)


def rows_violating_key(frame: pl.LazyFrame, constraint: KeyConstraint, *, n_rows: int) -> Bools:
    """Return a mask, shape (n,), of the rows that violate a constraint, for a table of any size.

    Temporary files take 32 bytes per row.
    """
    count = max(1, -(-n_rows // ROWS_PER_FILE))
    found = np.zeros(n_rows, dtype=np.bool_)
    with tempfile.TemporaryDirectory(prefix="headway-keys-") as folder:
        files = [Path(folder) / str(number) for number in range(count)]
        _spill(_hashed(frame, constraint), files)
        for file in files:
            found[_violations_in_file(file, determines=constraint.determines is not None)] = True
    return found


def _is_complete(constraint: KeyConstraint) -> pl.Expr:
    parts = constraint.key if constraint.determines is None else (*constraint.key, constraint.determines)
    return pl.all_horizontal(part.is_not_null() for part in parts)


def _hashed(frame: pl.LazyFrame, constraint: KeyConstraint) -> pl.LazyFrame:
    key = pl.struct([part.alias(str(index)) for index, part in enumerate(constraint.key)])
    determines = pl.lit(0, dtype=pl.UInt64) if constraint.determines is None else constraint.determines.hash(seed=3)
    names = {"key": key.hash(seed=1), "key_too": key.hash(seed=2), "determines": determines}
    row = pl.int_range(pl.len(), dtype=pl.UInt64)
    return frame.select(**names, row=row, complete=_is_complete(constraint))


def _spill(frame: pl.LazyFrame, files: list[Path]) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(file.open("wb")) for file in files]
        for batch in frame.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True, engine="streaming"):
            rows = np.empty(len(batch), dtype=_ROW)
            for name in _ROW.names or ():
                rows[name] = batch[name].to_numpy()
            rows = rows[batch["complete"].to_numpy()]
            bucket = rows["key"] % len(files)
            for number, file in enumerate(opened):
                rows[bucket == number].tofile(file)


def _violations_in_file(file: Path, *, determines: bool) -> NDArray[np.uint64]:
    rows = np.fromfile(file, dtype=_ROW)
    rows = rows[np.lexsort((rows["key_too"], rows["key"]))]
    new = np.ones(len(rows), dtype=np.bool_)
    new[1:] = (rows["key"][1:] != rows["key"][:-1]) | (rows["key_too"][1:] != rows["key_too"][:-1])
    starts = np.flatnonzero(new)
    if not len(starts):
        return np.empty(0, dtype=np.uint64)
    if determines:
        lowest, highest = (reduce.reduceat(rows["determines"], starts) for reduce in (np.minimum, np.maximum))
        wrong = lowest != highest
    else:
        wrong = np.diff(starts, append=len(rows)) > 1
    found: NDArray[np.uint64] = rows["row"][np.repeat(wrong, np.diff(starts, append=len(rows)))]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleViolation:
    """A violated rule: the number of rows, and the row numbers (from 1) and values of the first ones."""

    rule: ContractRule
    count: int
    rows: tuple[int, ...] = ()
    values: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationResult:
    """Result of validating a table of `n_rows` rows, of which `n_failing` fail.

    `masks` maps the reason of each rule to the expression of its violating rows in `frame`.
    """

    n_rows: int
    n_failing: int
    n_rules: int
    violations: tuple[RuleViolation, ...]
    uncovered: tuple[str, ...]
    frame: pl.LazyFrame = field(repr=False)
    masks: Mapping[str, pl.Expr] = field(repr=False)


def validate_table(
    contract: TableContract,
    table: Table,
    *,
    codes: Sequence[str] = (),
    released: Collection[str] = (),
    discarded: Collection[str] = (),
) -> ValidationResult:
    """Validate a table against the rules of a contract.

    Parameters
    ----------
    contract : TableContract
        The rules.
    table : DataFrame or LazyFrame
        A lazy frame is streamed, once more for each key.
    codes : sequence of str
        Finding codes of the rules to apply; empty for all.
    released, discarded : collection of str
        Digests of rows (`row_digests`) that a person let pass, and of those that count as absent.

    Raises
    ------
    DataError
        If the table cannot be read.
    """
    try:
        return _validate(contract, table, codes, released, discarded)
    except (pl.exceptions.PolarsError, OSError) as error:
        message = str(error).partition("\n")[0]
        raise DataError(
            f"the table cannot be read: {message}", hint="is the file complete and of the type of its name?"
        ) from error


def failing_rows(result: ValidationResult) -> pl.LazyFrame:
    """Return the failing rows in table order, with their row number from 1 and the reasons."""
    reasons = [pl.when(mark).then(pl.lit(reason)) for reason, mark in result.masks.items()]
    joined = pl.concat_str(reasons, separator="; ", ignore_nulls=True) if reasons else pl.lit("")
    rows = result.frame.with_columns(joined.alias(REASON)).filter(pl.col(REASON) != "")
    return rows.select(pl.col(ROW).cast(pl.Int64) + 1, REASON, pl.exclude(ROW, REASON))


def passing_rows(result: ValidationResult) -> pl.LazyFrame:
    """Return the passing rows in table order."""
    return result.frame.filter(~_any(result.masks.values())).drop(ROW)


def _validate(
    contract: TableContract,
    table: Table,
    codes: Sequence[str],
    released: Collection[str],
    discarded: Collection[str],
) -> ValidationResult:
    schema = table.collect_schema()
    reserved = {ROW, REASON} & set(schema)
    if reserved:
        raise DataError(f"a column is named '{reserved.pop()}', which headway reserves", hint="rename it")
    rules = [rule for rule in compile_rules(contract, schema) if not codes or rule.code in codes]
    frame, marks = table.lazy().with_row_index(ROW), _violation_masks(rules, table)
    if released or discarded:
        digests = table.lazy().select(row_digest(schema)).collect(engine=_engine(table)).to_series()
        passes, absent = (_row_mask(digests.is_in(list(of)).to_numpy()) for of in (released, discarded))
        frame, marks = frame.filter(~absent), {index: mark & ~passes for index, mark in marks.items()}
    rows = {index: mark for index, mark in marks.items() if rules[index].fails_rows}
    named = {str(index): mark.fill_null(False) for index, mark in marks.items()}
    sums = (pl.col(name).sum() for name in named)
    fails = _any(pl.col(str(index)) for index in rows).sum().alias(REASON)
    plan = frame.select(ROW, **named).select(pl.len().alias(ROW), fails, *sums)
    counts = plan.collect(engine=_engine(table)).row(0, named=True)
    n_rows = counts[ROW]
    wrong = [index for index, rule in enumerate(rules) if _is_violated(rule, counts.get(str(index)), n_rows)]
    first = [_first_violations(frame, rules[index], marks.get(index)) for index in wrong]
    found = pl.collect_all(first, engine=_engine(table))
    return ValidationResult(
        n_rows=n_rows,
        n_failing=counts[REASON],
        n_rules=len(rules),
        violations=tuple(
            _violation(rules[index], counts.get(str(index), n_rows), rows)
            for index, rows in zip(wrong, found, strict=True)
        ),
        uncovered=tuple(name for name in schema if name not in contract.columns),
        frame=frame,
        masks={rules[index].reason: mark for index, mark in rows.items()},
    )


def _violation_masks(rules: Sequence[ContractRule], table: Table) -> dict[int, pl.Expr]:
    """Return the mask of each rule by its index; for a lazy frame, keys are checked first, in a stream."""
    marks = {index: rule.violated for index, rule in enumerate(rules) if rule.violated is not None}
    key_constraint = {index: rule.key_constraint for index, rule in enumerate(rules) if rule.key_constraint is not None}
    if isinstance(table, pl.DataFrame):
        return marks | {index: violates_key(constraint) for index, constraint in key_constraint.items()}
    length = int(table.select(pl.len()).collect(engine="streaming").item()) if key_constraint else 0
    return marks | {
        index: _row_mask(rows_violating_key(table, constraint, n_rows=length))
        for index, constraint in key_constraint.items()
    }


def _row_mask(rows: Bools) -> pl.Expr:
    """Return an expression that looks row numbers up in a mask of shape (n,)."""

    def among(numbers: pl.Series) -> pl.Series:
        return pl.Series(rows[numbers.to_numpy()])

    return pl.col(ROW).map_batches(among, return_dtype=pl.Boolean, is_elementwise=True)


def _any(marks: Iterable[pl.Expr]) -> pl.Expr:
    return pl.any_horizontal(pl.lit(False), *(mark.fill_null(False) for mark in marks))


def _engine(table: Table) -> Literal["in-memory", "streaming"]:
    return "in-memory" if isinstance(table, pl.DataFrame) else "streaming"


def _is_violated(rule: ContractRule, count: int | None, n_rows: int) -> bool:
    return count is None or count > rule.limit * n_rows


def _first_violations(frame: pl.LazyFrame, rule: ContractRule, mark: pl.Expr | None) -> pl.LazyFrame:
    """Return the first rows that violate a rule, with their values."""
    shown = (pl.lit(None) if rule.shown is None else rule.shown).alias(FAILS)
    return frame.filter(pl.lit(False) if mark is None else mark).select(ROW, shown).head(MAX_EXAMPLES)


def _violation(rule: ContractRule, count: int, rows: pl.DataFrame) -> RuleViolation:
    numbers = tuple(number + 1 for number in rows[ROW])
    return RuleViolation(
        rule=rule, count=count, rows=numbers, values=tuple(rows[FAILS]) if rule.shown is not None else ()
    )
