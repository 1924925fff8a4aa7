"""D021: A column was standardized, imputed or encoded with statistics of all rows, including the test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from headway.core.arrays import Floats
from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.label_sets import SEPARATOR
from headway.core.variant import MULTILABEL
from headway.data.context import CheckContext
from headway.data.label_sets import known_labels
from headway.data.leakage.samples import train_and_test
from headway.data.matrix import STRING_DTYPES

CODES = ("D021",)
EXACT = 0.01
SAME = 1e-9
FILLED = 0.001
MIN_FILLED = 10
MIN_VALUES = 5
AGREE = 0.9
NEAR_MEAN = 0.2
_MEAN, _ROWS = "__mean", "__rows"


def standardized_columns(table: pl.DataFrame, names: list[str]) -> set[str]:
    """Return the columns with mean 0 and standard deviation 1, to a hundredth of their standard error."""
    means, spreads = (_row(table, [call(pl.col(name)) for name in names]) for call in (pl.Expr.mean, pl.Expr.std))
    near = EXACT / np.sqrt(max(1, len(table)))
    unbiased = np.abs(spreads - 1) < near
    biased = np.abs(spreads * np.sqrt(1 - 1 / max(2, len(table))) - 1) < near
    exact = (np.abs(means) < near) & (unbiased | biased)
    return {name for name, found in zip(names, exact, strict=True) if found}


def mean_filled_columns(table: pl.DataFrame, names: list[str]) -> set[str]:
    """Return the columns whose own, non-integer mean appears in more than 0.1 % of the rows."""
    means = _row(table, [pl.col(name).mean() for name in names])
    near = [(pl.col(name) - mean).abs() <= SAME * abs(mean) for name, mean in zip(names, means, strict=True)]
    counts = _row(table, [match.sum().alias(name) for name, match in zip(names, near, strict=True)])
    often = (counts >= MIN_FILLED) & (counts > FILLED * len(table)) & np.isfinite(means)
    means = np.where(often, means, 0.0)
    broken = np.abs(means - np.round(means)) > SAME * np.abs(means)
    return {name for name, found in zip(names, often & broken, strict=True) if found}


def target_encoded_columns(dataset: Dataset, names: list[str]) -> set[str]:
    """Return the columns that hold the target's mean over these rows for each value of a string column."""
    found: set[str] = set()
    for target in _targets(dataset):
        found |= _encoded_by(dataset, names, target)
    return found


def _targets(dataset: Dataset) -> list[pl.Expr]:
    """Return the target as a number, or for several labels a row 1 for each label that a row has."""
    target = pl.col(dataset.roles.target)
    if dataset.roles.task != MULTILABEL:
        return [target.cast(pl.Float64)]
    labels = known_labels(dataset.table[dataset.roles.target])
    return [target.str.split(SEPARATOR).list.contains(name).cast(pl.Float64) for name in labels]


def _encoded_by(dataset: Dataset, names: list[str], target: pl.Expr) -> set[str]:
    table = dataset.table
    overall, *own = _row(table, [target.mean(), *(pl.col(name).mean() for name in names)])
    names = [name for name, mean in zip(names, own, strict=True) if abs(mean - overall) < NEAR_MEAN * abs(overall)]
    texts = [name for name in dataset.features if table.schema[name] in STRING_DTYPES]
    found: set[str] = set()
    for text in texts if names else ():
        means = table.group_by(text).agg(target.mean().alias(_MEAN), pl.len().alias(_ROWS), pl.col(names).first())
        means = means.filter((pl.col(_ROWS) > 1) & pl.col(_MEAN).is_not_null())
        if len(means) < MIN_VALUES:
            continue
        near = [((pl.col(name) - pl.col(_MEAN)).abs() <= 1e-6 * pl.col(_MEAN).abs()).mean() for name in names]
        shares = _row(means, near)
        found |= {name for name, share in zip(names, shares, strict=True) if share >= AGREE}
    return found


def _row(table: pl.DataFrame, expressions: list[pl.Expr]) -> Floats:
    """Evaluate one number per expression, NaN if there is none."""
    numbered = [expression.cast(pl.Float64).alias(str(index)) for index, expression in enumerate(expressions)]
    return np.array(table.select(numbered).row(0), dtype=np.float64)


def plugin(context: CheckContext) -> list[Finding]:
    """Return a warning per feature whose statistics are exact over all rows and not over the training rows.

    Checked are mean 0 with deviation 1, a recurring value equal to the mean, and the target's mean per string.
    "All rows" is the table, its rows with an outcome, or the periods up to the test. Standardization does little
    harm to trees; target encoding does.
    """
    train, test = train_and_test(context)
    names = [name for name in train.features if train.table.schema[name].is_float()]
    if not names:
        raise NotApplicable("no feature is a number with a fraction: none was standardized or imputed")
    until_test = replace(train, table=pl.concat([train.table, test.table]))
    found = _traces((context.dataset, until_test), names)
    if found:
        found -= _traces((train, context.periods.get("train", train)), sorted({name for name, _ in found}))
    return [_finding(name, how) for name, how in sorted(found)]


def _traces(datasets: tuple[Dataset, Dataset], names: list[str]) -> set[tuple[str, str]]:
    """Return pairs of column and transformation whose statistics are exact over one of the datasets."""
    found: set[tuple[str, str]] = set()
    for dataset in datasets:
        table, target = dataset.table.select(names), dataset.table[dataset.roles.target]
        for rows in (table, table.filter(target.is_not_null())):
            found |= {(name, "standardized") for name in standardized_columns(rows, names)}
            found |= {(name, "imputed with its mean") for name in mean_filled_columns(rows, names)}
        found |= {(name, f"encoded by the mean of '{target.name}'") for name in target_encoded_columns(dataset, names)}
    return found


def _finding(name: str, how: str) -> Finding:
    return Finding(
        code="D021",
        severity="warn",
        message=f"'{name}' was {how} over all rows, including the test",
        where=f"column {name}",
        hint="fit that step on the training rows, in the training function",
    )
