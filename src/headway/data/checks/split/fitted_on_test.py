"""D021: a column that was standardised, filled or encoded by statistics of all rows, those of the test among them."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from headway.core.contracts import CheckContext
from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.leakage.fitted import mean_filled_columns, standardized_columns, target_encoded_columns
from headway.data.leakage.held_out import train_and_test


def plugin(survey: CheckContext) -> list[Finding]:
    """A warning for each feature that keeps a trace: what is exact over all rows, and not over those learned from.

    Traces are a mean of 0 with a deviation of 1, a value that recurs and is the mean, and for each text the mean of the
    target. All rows are those of the table, those with an outcome, or those of the periods up to the test. Trees do not
    mind a shift of all rows, so that the harm of the first is small; that of the last is not.
    """
    learned, test = train_and_test(survey)
    names = [name for name in learned.features if learned.table.schema[name].is_float()]
    if not names:
        raise NotApplicable("no feature is a number with a fraction: nothing was standardised or filled")
    until_test = replace(learned, table=pl.concat([learned.table, test.table]))
    found = _traces((survey.dataset, until_test), names)
    if found:
        found -= _traces((learned, survey.periods.get("train", learned)), sorted({name for name, _ in found}))
    return [_finding(name, how) for name, how in sorted(found)]


def _traces(datasets: tuple[Dataset, Dataset], names: list[str]) -> set[tuple[str, str]]:
    """Each column with what was done to it over the rows of a dataset, or those of them with an outcome."""
    found: set[tuple[str, str]] = set()
    for dataset in datasets:
        table, target = dataset.table.select(names), dataset.table[dataset.roles.target]
        for rows in (table, table.filter(target.is_not_null())):
            found |= {(name, "standardised") for name in standardized_columns(rows, names)}
            found |= {(name, "filled with its mean") for name in mean_filled_columns(rows, names)}
        found |= {(name, f"encoded by the mean of '{target.name}'") for name in target_encoded_columns(dataset, names)}
    return found


def _finding(name: str, how: str) -> Finding:
    return Finding(
        code="D021",
        severity="warn",
        message=f"'{name}' was {how} over all rows, those of the test among them",
        where=f"column {name}",
        hint="fit that step on the rows learned from, in the training function",
    )
