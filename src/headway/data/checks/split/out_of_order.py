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


def plugin(survey: CheckContext) -> list[Finding]:
    """Return a warning with the share of training rows that are later than the first test row, by the column `time`.

    Without a declared time, the first date or datetime column is used: dated rows were then split at random.
    """
    learned, test = train_and_test(survey)
    time = learned.roles.time or _dates(learned)
    first = _moments(test, time).min()
    later = int((_moments(learned, time) > first).sum())
    if not later:
        return []
    share = later / len(learned.table)
    drawn = "" if learned.roles.time else "; it is not declared, so the split was random"
    return [
        Finding(
            code="D028",
            severity="warn",
            message=f"{later:,} training rows ({share:.1%}) are later than the first test row, by '{time}'{drawn}",
            where="[split]",
            measured=share,
            limit=0.0,
            hint=f'[data] time = "{time}", or consecutive periods: a model predicts its future',
        )
    ]


def _dates(dataset: Dataset) -> str:
    columns = (column for column in dataset.table.iter_columns() if column.name != dataset.roles.target)
    found = next((column.name for column in columns if _read(column).dtype in (pl.Date, pl.Datetime)), "")
    if not found:
        raise NotApplicable("no column has the time of a row", hint='[data] time = "COLUMN"')
    return found


def _moments(dataset: Dataset, time: str) -> pl.Series:
    times = _read(dataset.table[time])
    return times.cast(pl.Datetime("us")).dt.replace_time_zone(None)


def _read(column: pl.Series) -> pl.Series:
    return parse_date_column(column) if column.dtype == pl.String else column
