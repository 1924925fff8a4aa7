"""Cut a dataset into periods of its time column: train, choose, test, live."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from itertools import pairwise

import polars as pl

from headway.core.config import SplitSection
from headway.core.dataset import Dataset
from headway.core.errors import ConfigError, DataError


def cut(dataset: Dataset, split: SplitSection) -> dict[str, Dataset]:
    """Each declared period's rows, by name; periods are [from, to) and must not overlap.

    Raises ConfigError where a period is not two dates in order or overlaps the one before it, and DataError where one
    is empty.
    """
    periods = {name: _bounds(name, getattr(split, name)) for name in ("train", "choose", "test", "live")}
    declared = {name: bounds for name, bounds in periods.items() if bounds}
    _expect_order(declared)
    return {name: between(dataset, *bounds, name=name) for name, bounds in declared.items()}


def between(dataset: Dataset, start: datetime, end: datetime, *, name: str) -> Dataset:
    """The rows of a dataset whose time is in [start, end), named after the period."""
    column = dataset.roles.time
    if not column or not dataset.table.schema[column].is_temporal():
        raise DataError(f"time column '{column}' is no time", mend="[data] time must name a date or datetime column")
    moments = pl.col(column).cast(pl.Datetime("us")).dt.replace_time_zone(None)
    rows = dataset.table.filter((moments >= start) & (moments < end))
    if rows.is_empty():
        raise DataError(f"period '{name}' has no rows", where=f"{column} in [{start:%F}, {end:%F})", mend="[split]")
    return replace(dataset, name=name, table=rows)


def labelled(dataset: Dataset) -> Dataset:
    """The rows whose outcome is known."""
    return replace(dataset, table=dataset.table.filter(pl.col(dataset.roles.target).is_not_null()))


def _bounds(name: str, texts: tuple[str, ...]) -> tuple[datetime, datetime] | None:
    if not texts:
        return None
    try:
        start, end = (datetime.fromisoformat(text) for text in texts)
    except ValueError as error:
        raise ConfigError(
            f"period '{name}' is {list(texts)}", where="[split]", mend=f'{name} = ["2013-01-01", "2013-05-01"]'
        ) from error
    if start >= end:
        raise ConfigError(f"period '{name}' ends before it starts: {list(texts)}", where="[split]")
    return start, end


def _expect_order(periods: dict[str, tuple[datetime, datetime]]) -> None:
    """Later periods start no earlier than those before them end: otherwise the future would choose for the past."""
    named = list(periods.items())
    for (earlier, (_, end)), (later, (start, _)) in pairwise(named):
        if start < end:
            raise ConfigError(f"period '{later}' starts before '{earlier}' ends", where="[split]")
