"""D028: Training rows are later than test rows, so the model is evaluated on its past."""

from __future__ import annotations

import polars as pl

from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.leakage.samples import train_and_test
from headway.data.parsing import parse_date_column

CODES = ("D028",)


def plugin(context: CheckContext) -> list[Finding]:
    """Return a warning with the share of training rows that are later than the first test row, by the column `time`.

    Without a declared time, the first date or datetime column is used: dated rows were then split at random.
    """
    train, test = train_and_test(context)
    time = train.roles.time or _date_column(train)
    first = _datetimes(test, time).min()
    if first is None:
        raise NotApplicable(f"no test row has a time in '{time}'", hint='[data] time = "COLUMN"')
    later = int((_datetimes(train, time) > first).sum())
    if not later:
        return []
    share = later / len(train.table)
    drawn = "" if train.roles.time else "; it is not declared, so the split was random"
    return [
        Finding(
            code="D028",
            severity="warn",
            message=f"{later:,} training rows ({share:.1%}) are later than the first test row, by '{time}'{drawn}",
            where="[split]",
            measured=share,
            limit=0.0,
            hint=f'[data] time = "{time}", or consecutive periods: a model predicts the future',
        )
    ]


def _date_column(dataset: Dataset) -> str:
    columns = (column for column in dataset.table.iter_columns() if column.name != dataset.roles.target)
    found = next((column.name for column in columns if parse_date_column(column).dtype in (pl.Date, pl.Datetime)), "")
    if not found:
        raise NotApplicable("no column has the time of a row", hint='[data] time = "COLUMN"')
    return found


def _datetimes(dataset: Dataset, time: str) -> pl.Series:
    times = parse_date_column(dataset.table[time])
    return times.cast(pl.Datetime("us")).dt.replace_time_zone(None)
