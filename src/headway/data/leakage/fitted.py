"""Columns that were made from statistics of rows: standardised, filled with a mean, or encoded by the target's mean."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.dataset import Dataset

EXACT = 0.01
SAME = 1e-9
FILLED = 0.001
FEWEST_FILLED = 10
FEWEST_VALUES = 5
AGREE = 0.9
NEAR_MEAN = 0.2
_MEAN, _ROWS = "__mean", "__rows"


def standardized_columns(table: pl.DataFrame, names: list[str]) -> set[str]:
    """Columns whose mean over these rows is 0 and whose deviation is 1, to a hundredth of what chance would allow."""
    means, spreads = (_row(table, [call(pl.col(name)) for name in names]) for call in (pl.Expr.mean, pl.Expr.std))
    near = EXACT / np.sqrt(max(1, len(table)))
    unbiased = np.abs(spreads - 1) < near
    biased = np.abs(spreads * np.sqrt(1 - 1 / max(2, len(table))) - 1) < near
    exact = (np.abs(means) < near) & (unbiased | biased)
    return {name for name, found in zip(names, exact, strict=True) if found}


def mean_filled_columns(table: pl.DataFrame, names: list[str]) -> set[str]:
    """Columns that hold their own mean over these rows, which is no whole number, in more than 0.1 % of them."""
    means = _row(table, [pl.col(name).mean() for name in names])
    near = [(pl.col(name) - mean).abs() <= SAME * abs(mean) for name, mean in zip(names, means, strict=True)]
    counts = _row(table, [each.sum().alias(name) for name, each in zip(names, near, strict=True)])
    often = (counts >= FEWEST_FILLED) & (counts > FILLED * len(table))
    broken = np.abs(means - np.round(means)) > SAME * np.abs(means)
    return {name for name, found in zip(names, often & broken, strict=True) if found}


def target_encoded_columns(dataset: Dataset, names: list[str]) -> set[str]:
    """Columns that hold the mean of the target over these rows for each value of a column of texts."""
    target, table = pl.col(dataset.roles.target).cast(pl.Float64), dataset.table
    whole, *own = _row(table, [target.mean(), *(pl.col(name).mean() for name in names)])
    names = [name for name, mean in zip(names, own, strict=True) if abs(mean - whole) < NEAR_MEAN * abs(whole)]
    texts = [name for name in dataset.features if table.schema[name] in (pl.String, pl.Categorical, pl.Enum)]
    found: set[str] = set()
    for text in texts if names else ():
        means = table.group_by(text).agg(target.mean().alias(_MEAN), pl.len().alias(_ROWS), pl.col(names).first())
        means = means.filter((pl.col(_ROWS) > 1) & pl.col(_MEAN).is_not_null())
        if len(means) < FEWEST_VALUES:
            continue
        near = [((pl.col(name) - pl.col(_MEAN)).abs() <= 1e-6 * pl.col(_MEAN).abs()).mean() for name in names]
        shares = _row(means, near)
        found |= {name for name, share in zip(names, shares, strict=True) if share >= AGREE}
    return found


def _row(table: pl.DataFrame, expressions: list[pl.Expr]) -> NDArray[np.float64]:
    """One number for each expression, NaN where there is none."""
    numbered = [each.cast(pl.Float64).alias(str(place)) for place, each in enumerate(expressions)]
    return np.array(table.select(numbered).row(0), dtype=np.float64)
