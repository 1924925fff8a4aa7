"""The contract of a release: what each column was in the rows that it was made on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.core.release import Bounds, Contract
from headway.core.variant import Field, Signature


def contract_of(rows: NDArray[np.float64], signature: Signature, *, margin: float) -> Contract:
    """The ranges and texts in rows float64 [n, d]; a column may be missing where it was so in one of them."""
    columns = tuple(_bounds(column, field) for column, field in zip(rows.T, signature.inputs, strict=True))
    return Contract(columns=columns, margin=margin, n_rows=len(rows))


def _bounds(column: NDArray[np.float64], field: Field) -> Bounds:
    missing = float(np.isnan(column).mean()) if len(column) else 1.0
    seen = column[np.isfinite(column)]
    if field.datatype == "BYTES":
        ranks = np.unique(seen).astype(int)
        texts = tuple(field.categories[rank] for rank in ranks if rank < len(field.categories))
        return Bounds(name=field.name, categories=texts, missing=missing, may_miss=missing > 0)
    lowest, highest = (float(seen.min()), float(seen.max())) if len(seen) else (None, None)
    return Bounds(name=field.name, lowest=lowest, highest=highest, missing=missing, may_miss=missing > 0)
