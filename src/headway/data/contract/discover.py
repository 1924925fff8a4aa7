"""Discover the contract of a table: what its columns are, how far they go, and what holds between them in every row."""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl

from headway.core.config import Config
from headway.core.dataset import OUTCOME, Dataset
from headway.core.errors import DataError
from headway.data.contract.related import find_relations
from headway.data.contract.terms import Bound, ColumnContract, ColumnType, TableContract
from headway.data.contract.values import STRING_DTYPES

MAX_VALUES = 50
MAX_CODES = 20
MIN_ROWS = 100
MISSING_BLOCKS = 10
_DIGITS = 6


def discover_contract(dataset: Dataset, periods: Mapping[str, Dataset], config: Config) -> TableContract:
    """The contract that the rows of train and validation bear out; all rows where there is neither.

    A number may lie beyond what was seen by `[policy] contract_margin` of its range, and never below 0 where none did;
    whole numbers of at most 20 values are taken for codes, and may not.
    A column may be missing as often as in that tenth of the rows where it was most. What `[data]` or `[personal]`
    makes of a column when it is opened is left out, for the file that it came from holds something else.
    """
    parts = [periods[name].table for name in ("train", "validation") if name in periods] or [dataset.table]
    table = pl.concat(parts)
    left_out = {*config.personal.hash, *_rewritten_columns(config)}
    later = {name for name, when in dataset.roles.known.items() if when == OUTCOME} | {dataset.roles.target}
    columns = {
        name: terms
        for name in table.columns
        if name not in left_out
        if (terms := infer_column(table[name], margin=config.policy.contract_margin, optional=name in later))
        is not None
    }
    if not columns:
        raise DataError("no column is a number, text, date or time", where=dataset.name, hint="[data] source")
    table = table.select(list(columns))
    relations = find_relations(table, columns) if len(table) >= MIN_ROWS else ()
    return TableContract(columns=columns, unique=_unique_columns(table, columns), relations=relations)


def infer_column(column: pl.Series, *, margin: float, optional: bool = False) -> ColumnContract | None:
    """What a column was; None for a type that no contract knows."""
    kind = _column_type(column.dtype)
    if kind is None:
        return None
    values = column.drop_nans() if column.dtype.is_float() else column
    values = values.drop_nulls()
    lowest, highest = _range(values, margin) if kind in ("number", "whole") else (None, None)
    return ColumnContract(
        type=kind,
        optional=optional,
        missing=_max_missing_share(column),
        lowest=lowest,
        highest=highest,
        values=_allowed_values(values) if kind == "text" else (),
    )


def _rewritten_columns(config: Config) -> set[str]:
    """The target, where opening makes numbers of its texts."""
    section = config.data
    return {section.target} if section.positive or section.classes or section.task == "embedding" else set()


def _column_type(dtype: pl.DataType) -> ColumnType | None:
    if dtype.is_integer():
        return "whole"
    if dtype.is_numeric():
        return "number"
    names: dict[type[pl.DataType], ColumnType] = {pl.Boolean: "boolean", pl.Date: "date", pl.Datetime: "time"}
    return "text" if dtype in STRING_DTYPES else names.get(dtype.base_type())


def _max_missing_share(column: pl.Series) -> float:
    """The largest share of rows without a value in a tenth of them, in their order, in whole percent."""
    gone = column.is_null() | column.is_nan() if column.dtype.is_float() else column.is_null()
    gone = gone.fill_null(True)
    if not gone.any():
        return 0.0
    length = math.ceil(len(gone) / MISSING_BLOCKS)
    shares = [gone.slice(start, length).mean() for start in range(0, len(gone), length)]
    return math.ceil(100 * max(float(str(share)) for share in shares)) / 100


def _range(values: pl.Series, margin: float) -> tuple[Bound | None, Bound | None]:
    finite = values.filter(values.is_finite()) if values.dtype.is_float() else values
    if finite.is_empty():
        return None, None
    low, high = float(str(finite.min())), float(str(finite.max()))
    coded = values.dtype.is_integer() and finite.n_unique() <= MAX_CODES
    beyond = 0.0 if coded else margin * (high - low)
    lowest, highest = low - beyond, high + beyond
    lowest = max(lowest, 0.0) if low >= 0 else lowest
    highest = min(highest, 0.0) if high <= 0 else highest
    if values.dtype.is_integer():
        return math.floor(lowest), math.ceil(highest)
    return _rounded(lowest, up=False), _rounded(highest, up=True)


def _rounded(value: float, *, up: bool) -> float:
    """A number of six digits, not inside the range whose end it is.

    >>> _rounded(0.12345678, up=True)
    0.123457
    """
    digits = _DIGITS - 1 - (math.floor(math.log10(abs(value))) if value else 0)
    near = round(value, digits)
    step = 10.0**-digits
    if up:
        return near if near >= value else round(near + step, digits)
    return near if near <= value else round(near - step, digits)


def _allowed_values(texts: pl.Series) -> tuple[str, ...]:
    """Its texts, sorted, where there are few and each came again."""
    found = texts.cast(pl.String).unique().sort()
    return tuple(found) if len(found) <= MAX_VALUES and len(found) * 2 <= len(texts) else ()


def _unique_columns(table: pl.DataFrame, columns: Mapping[str, ColumnContract]) -> tuple[tuple[str, ...], ...]:
    """Each column that no two rows share, and none lacks."""
    if len(table) < MIN_ROWS:
        return ()
    whole = [name for name, terms in columns.items() if terms.type in ("whole", "text", "time") and not terms.missing]
    return tuple((name,) for name in whole if table[name].n_unique() == len(table))
