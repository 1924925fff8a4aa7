"""D003: a column that predicts the target too well on its own."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.contracts import Survey
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding

LIMIT = 0.85


def plugin(survey: Survey) -> list[Finding]:
    """Numeric features whose ROC AUC against the target, in either direction, is above 0.85."""
    dataset = survey.dataset
    if dataset.roles.task != "binary":
        raise NotApplicable(f"a single column's ROC AUC has no meaning for task '{dataset.roles.task}'")
    known = dataset.table.filter(pl.col(dataset.roles.target).is_not_null())
    positive = (known[dataset.roles.target].cast(pl.Float64) > 0).to_numpy()
    if not 0 < positive.sum() < len(positive):
        raise NotApplicable("the target has one class only")
    features = [name for name in known.columns if name not in dataset.roles.not_features]
    numeric = [name for name in features if known.schema[name].is_numeric()]
    found = {name: _auc(known[name], positive) for name in numeric}
    suspects = {name: value for name, value in found.items() if value > LIMIT}
    return [_finding(name, value, len(known), declared=name in dataset.roles.known) for name, value in suspects.items()]


def _auc(column: pl.Series, positive: NDArray[np.bool_]) -> float:
    """ROC AUC of a column in [0.5, 1] by mid-ranks (Mann and Whitney 1947); missing values rank lowest."""
    ranks = column.cast(pl.Float64).fill_nan(None).fill_null(float("-inf")).rank("average").to_numpy()
    ones = int(positive.sum())
    zeros = len(positive) - ones
    auc = (float(ranks[positive].sum()) - ones * (ones + 1) / 2) / (ones * zeros)
    return max(auc, 1 - auc)


def _finding(column: str, auc: float, rows: int, *, declared: bool) -> Finding:
    return Finding(
        code="D003",
        severity="warn" if declared else "stop",
        says=f"'{column}' alone reaches a ROC AUC of {auc:.3f} on {rows:,} rows: it may be the outcome in disguise",
        where=f"column {column}",
        measured=auc,
        limit=LIMIT,
        mend=f'[data.known] {column} = "outcome", or "request" if it is honest (then this is a warning)',
    )
