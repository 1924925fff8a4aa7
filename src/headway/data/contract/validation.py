"""Validate a table, in memory or larger, against its contract: one polars plan masks the rows that violate each rule.

For keys of a table larger than memory, two hashes of the key (128 bits) and one of the determined value are
spilled to files by the first bits of the key, so that equal keys meet in one file and only one file is in
memory at a time. A collision is expected once in 10^20 tables of ten million rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.errors import DataError
from headway.data.contract.rules import KeyConstraint, Rule, compile_rules, uncovered
from headway.data.contract.table_contract import TableContract

ROWS_PER_FILE = 1_000_000
_BATCH_ROWS = 100_000
_ROW = np.dtype([("key", "<u8"), ("key_too", "<u8"), ("determines", "<u8"), ("row", "<u8")])


def violates_key(constraint: KeyConstraint) -> pl.Expr:
    """Return an expression that is true where rows in memory violate a constraint; rows with missing parts do not."""
    complete = _is_complete(constraint)
    key = [part.alias(str(index)) for index, part in enumerate(constraint.key)]
    if constraint.determines is None:
        return complete & (pl.len().over(complete, *key) > 1)
    return complete & (constraint.determines.min() != constraint.determines.max()).over(complete, *key)


def rows_violating_key(frame: pl.LazyFrame, constraint: KeyConstraint, *, n_rows: int) -> NDArray[np.bool_]:
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
    return frame.select(**names, row=row, whole=_is_complete(constraint))


def _spill(frame: pl.LazyFrame, files: list[Path]) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(file.open("wb")) for file in files]
        for batch in frame.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True, engine="streaming"):
            rows = np.empty(len(batch), dtype=_ROW)
            for name in _ROW.names or ():
                rows[name] = batch[name].to_numpy()
            rows = rows[batch["whole"].to_numpy()]
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


ROW = "headway.row"
REASON = "headway.reason"
FAILS = "headway.fails"
MAX_EXAMPLES = 3
Table = pl.DataFrame | pl.LazyFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleViolation:
    """A violated rule: the number of rows, and the row numbers (from 1) and values of the first ones."""

    rule: Rule
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


def validate_table(contract: TableContract, table: Table, *, codes: Sequence[str] = ()) -> ValidationResult:
    """Validate a table against the rules of a contract.

    Parameters
    ----------
    contract : TableContract
        The rules.
    table : DataFrame or LazyFrame
        A lazy frame is streamed, once more for each key.
    codes : sequence of str
        Finding codes of the rules to apply; empty for all.

    Raises
    ------
    DataError
        If the table cannot be read.
    """
    try:
        return _validate(contract, table, codes)
    except (pl.exceptions.PolarsError, OSError) as error:
        message = str(error).partition("\n")[0]
        raise DataError(f"the table cannot be read: {message}", hint="is it what its name says, and whole?") from error


def failing_rows(held: ValidationResult) -> pl.LazyFrame:
    """Return the failing rows in table order, with their row number from 1 and the reasons."""
    reasons = [pl.when(mark).then(pl.lit(reason)) for reason, mark in held.masks.items()]
    joined = pl.concat_str(reasons, separator="; ", ignore_nulls=True) if reasons else pl.lit("")
    rows = held.frame.with_columns(joined.alias(REASON)).filter(pl.col(REASON) != "")
    return rows.select(pl.col(ROW).cast(pl.Int64) + 1, REASON, pl.exclude(ROW, REASON))


def passing_rows(held: ValidationResult) -> pl.LazyFrame:
    """Return the passing rows in table order."""
    return held.frame.filter(~_any(held.masks.values())).drop(ROW)


def _validate(contract: TableContract, table: Table, codes: Sequence[str]) -> ValidationResult:
    schema = table.collect_schema()
    reserved = {ROW, REASON} & set(schema)
    if reserved:
        raise DataError(f"a column is named '{reserved.pop()}', as headway names one of its own", hint="rename it")
    rules = [rule for rule in compile_rules(contract, schema) if not codes or rule.code in codes]
    frame, marks = table.lazy().with_row_index(ROW), _violation_masks(rules, table)
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
        uncovered=tuple(uncovered(contract, schema)),
        frame=frame,
        masks={rules[index].reason: mark for index, mark in rows.items()},
    )


def _violation_masks(rules: Sequence[Rule], table: Table) -> dict[int, pl.Expr]:
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


def _row_mask(rows: NDArray[np.bool_]) -> pl.Expr:
    """Return an expression that looks row numbers up in a mask of shape (n,)."""

    def among(numbers: pl.Series) -> pl.Series:
        return pl.Series(rows[numbers.to_numpy()])

    return pl.col(ROW).map_batches(among, return_dtype=pl.Boolean, is_elementwise=True)


def _any(marks: Iterable[pl.Expr]) -> pl.Expr:
    return pl.any_horizontal(pl.lit(False), *(mark.fill_null(False) for mark in marks))


def _engine(table: Table) -> Literal["in-memory", "streaming"]:
    return "in-memory" if isinstance(table, pl.DataFrame) else "streaming"


def _is_violated(rule: Rule, count: int | None, n_rows: int) -> bool:
    return count is None or count > rule.limit * n_rows


def _first_violations(frame: pl.LazyFrame, rule: Rule, mark: pl.Expr | None) -> pl.LazyFrame:
    """Return the first rows that violate a rule, with their values."""
    shown = (pl.lit(None) if rule.shown is None else rule.shown).alias(FAILS)
    return frame.filter(pl.lit(False) if mark is None else mark).select(ROW, shown).head(MAX_EXAMPLES)


def _violation(rule: Rule, count: int, rows: pl.DataFrame) -> RuleViolation:
    numbers = tuple(number + 1 for number in rows[ROW])
    return RuleViolation(
        rule=rule, count=count, rows=numbers, values=tuple(rows[FAILS]) if rule.shown is not None else ()
    )
