"""Discover the contract of a table (types, ranges, missing shares, keys, relations) and a release's input contract."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.config import Config
from headway.core.dataset import OUTCOME, Dataset
from headway.core.errors import DataError
from headway.core.release import Bounds, Contract
from headway.core.variant import Field, Signature
from headway.data.contract.table_contract import Bound, ColumnContract, ColumnType, Relation, TableContract
from headway.data.contract.validation import SUM_TOLERANCE, passing_rows, validate_table
from headway.data.matrix import STRING_DTYPES
from headway.data.roles import DAY
from headway.data.settings.data import DataSection
from headway.data.settings.personal import PersonalSection
from headway.data.settings.policy import PolicySection

_BYTES = "BYTES"
_ANY = ColumnContract(type="string")
MAX_COLUMNS = 60
MIN_PAIRS = 20
SAMPLE_ROWS = 1_000
BY_CHANCE = 0.9
ROWS_PER_VALUE = 10
MAX_VALUES = 50
MAX_CODES = 20
MIN_ROWS = 100
MISSING_BLOCKS = 10
_DIGITS = 6


def find_relations(table: pl.DataFrame, columns: Mapping[str, ColumnContract]) -> tuple[str, ...]:
    """Return the relations that hold in every row, among the first 60 columns.

    An order is kept if it would hold in less than 90 % of the rows after permuting one column, and two other
    orders do not imply it. A dependency `a -> b` is kept if each value of `a` occurs ten times on average and no
    value of `b` fills more than 90 % of the rows.
    """
    names = list(columns)[:MAX_COLUMNS]
    some = table.gather_every(max(1, len(table) // SAMPLE_ROWS))
    contracts = {name: ColumnContract(type=columns[name].type, missing=1.0) for name in names}
    found = [*_orders(some, contracts), *_sums(some, contracts), *_dependencies(table, some, contracts)]
    contract = TableContract(columns=contracts, relations=tuple(map(str, found)))
    violated = {violation.rule.relation for violation in validate_table(contract, table).violations}
    holding = [relation for relation in found if relation not in violated]
    return tuple(str(relation) for relation in holding if not _implied(relation, holding))


def _orders(some: pl.DataFrame, columns: Mapping[str, ColumnContract]) -> Iterator[Relation]:
    for kinds in (("number", "integer"), ("date",), ("datetime",)):
        names = [name for name, terms in columns.items() if terms.type in kinds]
        values = _floats(some, names)
        permutation = np.random.default_rng(0).permutation(len(values))
        for a, b in permutations(range(len(names)), 2):
            low, high = values[:, a], values[:, b]
            both = ~np.isnan(low) & ~np.isnan(high)
            if both.sum() < MIN_PAIRS or not (low <= high)[both].all():
                continue
            same = bool((low == high)[both].all())
            if same and a < b and len(np.unique(low[both])) > 1:
                yield Relation(kind="==", left=(names[a],), right=names[b])
            permuted = high[permutation]
            if not same and (low <= permuted)[both & ~np.isnan(permuted)].mean() < BY_CHANCE:
                yield Relation(kind="<=", left=(names[a],), right=names[b])


def _sums(some: pl.DataFrame, columns: Mapping[str, ColumnContract]) -> Iterator[Relation]:
    names = [name for name, terms in columns.items() if terms.type in ("number", "integer")]
    names = [name for name in names if some[name].drop_nulls().n_unique() > 1]
    values = _floats(some, names)
    for a, b in combinations(range(len(names)), 2):
        total = (values[:, a] + values[:, b])[:, None]
        known = ~np.isnan(total) & ~np.isnan(values)
        off = known & (np.abs(total - values) > SUM_TOLERANCE * np.maximum(np.abs(values), 1.0))
        for c in np.flatnonzero(~off.any(axis=0) & (known.sum(axis=0) >= MIN_PAIRS)):
            if c not in (a, b):
                yield Relation(kind="+", left=(names[a], names[b]), right=names[int(c)])


def _dependencies(table: pl.DataFrame, some: pl.DataFrame, columns: Mapping[str, ColumnContract]) -> Iterator[Relation]:
    named = [name for name, terms in columns.items() if terms.type != "datetime"]
    counts = {name: table[name].drop_nulls().n_unique() for name in named}
    keys = [name for name in named if 1 < counts[name] * ROWS_PER_VALUE <= len(table)]
    keys = [name for name in keys if columns[name].type not in ("number", "boolean")]
    for name in named:
        counted = table[name].drop_nulls().value_counts(sort=True)["count"]
        if len(counted) < 2 or counted[0] > BY_CHANCE * len(table):
            continue
        for key in keys:
            pairs = some.select(key, name).drop_nulls() if key != name else some.clear()
            if len(pairs) >= MIN_PAIRS and pairs.n_unique() == pairs[key].n_unique():
                yield Relation(kind="->", left=(key,), right=name)


def _floats(some: pl.DataFrame, names: Sequence[str]) -> Floats:
    """Return columns as floats, shape (n, d), with NaN for missing values."""
    columns = [some[name].to_physical().cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in names]
    return np.column_stack(columns) if columns else np.empty((len(some), 0))


def _implied(relation: Relation, relations: Sequence[Relation]) -> bool:
    """Return True if an order follows from two others, or a dependency from the equality of its columns."""
    if relation.kind == "->":
        return any(other.kind == "==" and {*other.columns} == {*relation.columns} for other in relations)
    if relation.kind != "<=":
        return False
    orders = {(other.left[0], other.right) for other in relations if other.kind == "<="}
    middles = {high for low, high in orders if low == relation.left[0]}
    return any((middle, relation.right) in orders for middle in middles - {relation.right})


def discover_contract(dataset: Dataset, periods: Mapping[str, Dataset], config: Config) -> TableContract:
    """Infer the contract from the rows of train and validation, or from all rows without a split.

    A numeric range is extended by `[policy] contract_margin` of its width, but not below 0 if no value is
    negative. Integers with at most 20 values are codes and get no margin. A column may be missing as often as in
    the tenth of the rows where it was missing most. Columns that `[data]` or `[personal]` change on opening are
    left out, since the source holds other values.
    """
    parts = [periods[name].table for name in ("train", "validation") if name in periods] or [dataset.table]
    table = pl.concat(parts)
    excluded = {*rewritten_columns(config), *dataset.blanks}
    later = {name for name, when in dataset.roles.known.items() if when == OUTCOME} | {dataset.roles.target}
    columns = {
        name: terms
        for name in table.columns
        if name not in excluded
        if (terms := infer_column(table[name], margin=config[PolicySection].contract_margin, optional=name in later))
        is not None
    }
    columns |= {name: replace(columns[name], values=()) for name in dataset.texts if name in columns}
    if not columns:
        raise DataError("no column is a number, text, date or time", where=dataset.name, hint="[data] source")
    table = table.select(list(columns))
    relations = find_relations(table, columns) if len(table) >= MIN_ROWS else ()
    return TableContract(columns=columns, unique=_unique_columns(table, columns, dataset.texts), relations=relations)


def infer_column(column: pl.Series, *, margin: float, optional: bool = False) -> ColumnContract | None:
    """Infer the contract of one column; None for a type that contracts do not support."""
    kind = _column_type(column.dtype)
    if kind is None:
        return None
    values = column.drop_nans() if column.dtype.is_float() else column
    values = values.drop_nulls()
    minimum, maximum = _range(values, margin) if kind in ("number", "integer") else (None, None)
    return ColumnContract(
        type=kind,
        optional=optional,
        missing=_max_missing_share(column),
        minimum=minimum,
        maximum=maximum,
        values=_allowed_values(values) if kind == "string" else (),
    )


def rewritten_columns(config: Config) -> set[str]:
    """Return the columns that differ from the source: those of `[personal]`, an encoded target, a group of days."""
    section, personal = config[DataSection], config[PersonalSection]
    encoded = section.positive or section.classes or section.task == "embedding"
    derived = [section.groups] if section.groups.endswith(DAY) else []
    return {*personal.drop, *personal.hash, *([section.target] if encoded else []), *derived}


def _column_type(dtype: pl.DataType) -> ColumnType | None:
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "number"
    names: dict[type[pl.DataType], ColumnType] = {pl.Boolean: "boolean", pl.Date: "date", pl.Datetime: "datetime"}
    return "string" if dtype in STRING_DTYPES else names.get(dtype.base_type())


def _max_missing_share(column: pl.Series) -> float:
    """Return the largest share of missing values in a tenth of the rows, rounded up to whole percent."""
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
    """Round a bound outwards to six digits.

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
    """Return the sorted distinct strings if they are few and occur twice on average."""
    found = texts.cast(pl.String).unique().sort()
    return tuple(found) if len(found) <= MAX_VALUES and len(found) * 2 <= len(texts) else ()


def _unique_columns(
    table: pl.DataFrame, columns: Mapping[str, ColumnContract], texts: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    """Return each column without missing or repeated values, as a key; a text may repeat later."""
    if len(table) < MIN_ROWS:
        return ()
    kinds = ("integer", "string", "datetime")
    complete = [
        name for name, terms in columns.items() if terms.type in kinds and not terms.missing and name not in texts
    ]
    return tuple((name,) for name in complete if table[name].n_unique() == len(table))


def observed_contract(rows: Floats, signature: Signature, *, margin: float) -> Contract:
    """Return the ranges and categories observed in the rows.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Encoded training rows; a column may be missing if one of its values is NaN.
    signature : Signature
        The model's inputs.
    margin : float
        Share of the range by which a served value may lie outside.
    """
    columns = tuple(_observed_bounds(column, field) for column, field in zip(rows.T, signature.inputs, strict=True))
    return Contract(columns=columns, margin=margin, n_rows=len(rows))


def columns_read(contract: Contract, signature: Signature) -> Contract:
    """Return a contract with the columns that a model reads."""
    return replace(contract, columns=tuple(one for one in contract.columns if one.name in signature.names))


def agreed_contract(contract: Contract, signature: Signature, agreed: TableContract) -> Contract:
    """Return the contract of a release for the columns that the project's contract names, without a margin.

    Ranges, values, lengths and patterns apply as written; a value may be missing if the allowed share is above 0.
    Categories that the model does not know are always outside.
    """
    seen = {bounds.name: bounds.missing for bounds in contract.columns}
    named = [(field, agreed.columns[field.name]) for field in signature.inputs if field.name in agreed.columns]
    columns = tuple(_agreed_bounds(field, terms, missing=seen.get(field.name, 0.0)) for field, terms in named)
    return Contract(columns=columns, margin=0.0, n_rows=contract.n_rows)


def _observed_bounds(column: Floats, field: Field) -> Bounds:
    missing = float(np.isnan(column).mean()) if len(column) else 1.0
    seen = column[np.isfinite(column)]
    if field.is_text:
        return Bounds(name=field.name, missing=missing, may_miss=missing > 0)
    if field.datatype == _BYTES:
        ranks = np.unique(seen).astype(int)
        texts = tuple(field.categories[rank] for rank in ranks if rank < len(field.categories))
        return Bounds(name=field.name, categories=texts, missing=missing, may_miss=missing > 0)
    lowest, highest = (float(seen.min()), float(seen.max())) if len(seen) else (None, None)
    return Bounds(name=field.name, lowest=lowest, highest=highest, missing=missing, may_miss=missing > 0)


def _agreed_bounds(field: Field, terms: ColumnContract, *, missing: float) -> Bounds:
    may_miss = terms.missing > 0
    if field.is_text:
        return Bounds(name=field.name, missing=missing, may_miss=may_miss)
    if field.datatype == _BYTES:
        return Bounds(name=field.name, categories=_allowed_categories(field, terms), missing=missing, may_miss=may_miss)
    lowest, highest = _numeric_range(terms)
    return Bounds(name=field.name, lowest=lowest, highest=highest, missing=missing, may_miss=may_miss)


def _allowed_categories(field: Field, terms: ColumnContract) -> tuple[str, ...]:
    """Return the model's categories that satisfy the contract, by the same rules as for tables."""
    known = pl.DataFrame({field.name: field.categories}, schema={field.name: pl.String})
    constraint = replace(terms, missing=1.0) if terms.type == "string" else _ANY
    contract = TableContract(columns={field.name: constraint})
    return tuple(passing_rows(validate_table(contract, known)).collect()[field.name])


def _numeric_range(terms: ColumnContract) -> tuple[float | None, float | None]:
    if terms.type == "boolean":
        return 0.0, 1.0
    values = [_number(value) for value in terms.values]
    numbers = [value for value in values if value is not None]
    if not numbers:
        return _number(terms.minimum), _number(terms.maximum)
    return min(numbers), max(numbers)


def _number(end: bool | Bound | None) -> float | None:
    return None if end is None or isinstance(end, str) else float(end)
