"""Rows that a request can bring: in a column of texts stands a rank that its signature knows, or nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.core.variant import Signature

Floats = NDArray[np.float64]


def clip_to_known_ranks(rows: Floats, signature: Signature) -> Floats:
    """The rows [n, d] with each number in a column of texts that is no rank of it made one; gaps stay."""
    found = rows.copy()
    for place, field in enumerate(signature.inputs):
        if field.datatype == "BYTES":
            ranks = len(field.categories) + (field.unseen == "other")
            found[:, place] = _wrap_ranks(rows[:, place], ranks)
    return found


def _wrap_ranks(values: Floats, count: int) -> Floats:
    if not count:
        return np.full(len(values), np.nan)
    with np.errstate(invalid="ignore"):
        return np.where(np.isnan(values), np.nan, np.nan_to_num(np.abs(np.trunc(values)) % count))
