"""D029: Groups, or entities named by a column, have rows in both training and test."""

from __future__ import annotations

import polars as pl

from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.leakage.samples import train_and_test
from headway.data.roles import names_entities

CODES = ("D029",)
MIN_VALUES = 100


def plugin(context: CheckContext) -> list[Finding]:
    """Return a warning for declared groups in both periods, and a note for other columns that name entities.

    `measured` is the share of test rows whose group or entity has training rows. A column names entities if it
    has at least
    100 values, more than sqrt(n) and at most n/2, and holds strings, or integers with a name such as `customer_id`. It
    is a note since a model may serve known or new entities.
    """
    train, test = train_and_test(context)
    declared = [train.roles.groups] if train.roles.groups else []
    named = [name for name in train.table.columns if name not in declared and _names_entities(train, name)]
    if not declared and not named:
        raise NotApplicable("no groups are declared, and no column names entities", hint='[data] groups = "COLUMN"')
    found = [_finding(train, test, name, declared=name in declared) for name in (*declared, *named)]
    return [finding for finding in found if finding.measured]


def _names_entities(dataset: Dataset, name: str) -> bool:
    column = dataset.table[name]
    if name in (dataset.roles.target, dataset.roles.time):
        return False
    if column.dtype != pl.String and not (column.dtype.is_integer() and names_entities(name)):
        return False
    count = column.n_unique()
    return bool(max(MIN_VALUES, len(column) ** 0.5) <= count <= len(column) / 2)


def _finding(train: Dataset, test: Dataset, name: str, *, declared: bool) -> Finding:
    values = test.table[name].drop_nulls()
    shared = int(values.is_in(train.table[name].drop_nulls().unique().implode()).sum())
    share = shared / len(test.table)
    kind = "a group" if declared else "an entity"
    message = f"{shared:,} of {len(test.table):,} test rows ({share:.1%}) have {kind} of '{name}' with training rows"
    separate = "[split] shares, which do not split groups" if declared else f'[data] groups = "{name}"'
    return Finding(
        code="D029",
        severity="warn" if declared else "note",
        message=message,
        where=f"column {name}",
        measured=share,
        limit=0.0,
        hint=f"if the model will serve new ones: {separate}",
    )
