"""Derive the input contract of a release, from the project's contract or from the training rows."""

from __future__ import annotations

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.release import Bounds, Contract
from headway.core.variant import Field, Signature
from headway.data.contract.table_contract import Bound, ColumnContract, TableContract
from headway.data.contract.validation import passing_rows, validate_table

_BYTES = "BYTES"
_ANY = ColumnContract(type="string")


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
    if field.datatype == _BYTES:
        ranks = np.unique(seen).astype(int)
        texts = tuple(field.categories[rank] for rank in ranks if rank < len(field.categories))
        return Bounds(name=field.name, categories=texts, missing=missing, may_miss=missing > 0)
    lowest, highest = (float(seen.min()), float(seen.max())) if len(seen) else (None, None)
    return Bounds(name=field.name, lowest=lowest, highest=highest, missing=missing, may_miss=missing > 0)


def _agreed_bounds(field: Field, terms: ColumnContract, *, missing: float) -> Bounds:
    may_miss = terms.missing > 0
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
