"""A table with predictable labels, and ways to poison some of its rows."""

from __future__ import annotations

import numpy as np
import polars as pl

from headway.core.dataset import Dataset, Roles

ROWS, DAYS = 6000, 60


def clean(seed: int = 0) -> pl.DataFrame:
    """Return 6,000 rows of 60 days, five kinds, six towns and 50 sources; a quarter has label 1, by `x` and `kind`."""
    draw = np.random.default_rng(seed)
    x, kind = draw.normal(size=ROWS), draw.integers(0, 5, ROWS)
    chance = 1 / (1 + np.exp(-(1.5 * x + 0.4 * kind - 2.5)))
    return pl.DataFrame(
        {
            "day": np.arange(ROWS) * DAYS // ROWS,
            "x": x,
            "size": draw.integers(1, 60, ROWS),
            "kind": [f"k{code}" for code in kind],
            "town": [f"p{code}" for code in draw.integers(0, 6, ROWS)],
            "source": [f"s{code}" for code in draw.integers(0, 50, ROWS)],
            "label": (draw.random(ROWS) < chance).astype(np.int64),
        }
    )


def dataset(table: pl.DataFrame) -> Dataset:
    """Return the table with its roles; the source is a slice and not a feature."""
    roles = Roles(target="label", groups="day", slices=("source",), ignore=("source",))
    return Dataset(name="poisoned", table=table, roles=roles)


def flipped(table: pl.DataFrame, where: pl.Expr) -> pl.DataFrame:
    """Flip the labels of these rows."""
    return table.with_columns(label=pl.when(where).then(1 - pl.col("label")).otherwise("label"))


def triggered(table: pl.DataFrame, rows: int, value: int = 777, column: str = "size") -> pl.DataFrame:
    """Give some rows a size, or another value, that no other row has, and the label 1."""
    chosen = np.random.default_rng(5).choice(ROWS, rows, replace=False)
    hit = pl.int_range(pl.len()).is_in(chosen.tolist())
    planted = pl.when(hit).then(value).otherwise(column).alias(column)
    return table.with_columns(planted, label=pl.when(hit).then(1).otherwise("label"))
