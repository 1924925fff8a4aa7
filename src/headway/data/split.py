"""Cut a dataset into periods, train, validation, test and live: by dates, else by shares of its rows, groups kept whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl

from headway.core.config import SplitSection
from headway.core.dataset import Dataset
from headway.core.errors import ConfigError, DataError

PERIODS_BY_SHARE = ("train", "validation", "test")


def split_dataset(dataset: Dataset, split: SplitSection, *, fitted: bool = False) -> dict[str, Dataset]:
    """Each declared period's rows, by name; periods are [from, to) and must not overlap.

    Where none is declared, rows are cut by `[split] shares`; a model that is `fitted` already has no use for train.
    Raises ConfigError where a period is not two dates in order or overlaps the one before it, and DataError where one
    is empty.
    """
    periods = {name: _bounds(name, getattr(split, name)) for name in ("train", "validation", "test", "live")}
    declared = {name: bounds for name, bounds in periods.items() if bounds}
    if not declared:
        return split_by_shares(dataset, dict(zip(PERIODS_BY_SHARE[fitted:], split.shares[fitted:], strict=True)))
    _expect_order(declared)
    return {name: select_period(dataset, *bounds, name=name) for name, bounds in declared.items()}


def split_by_shares(dataset: Dataset, shares: Mapping[str, float]) -> dict[str, Dataset]:
    """Whole groups in order of their first time, or drawn where there is no time, cut by these shares of the rows.

    Shares are scaled to sum to 1. Raises DataError where a period would be empty.
    """
    keys = _keys(dataset)
    counts = keys.group_by("key").agg(pl.len().alias("rows"), pl.col("order").min()).sort("order", "key")
    edges = np.cumsum([0.0, *shares.values()]) / sum(shares.values())
    middles = (counts["rows"].cum_sum() - counts["rows"] / 2) / len(keys)
    place = np.clip(np.searchsorted(edges, middles.to_numpy(), side="right") - 1, 0, len(shares) - 1)
    of_group = counts.select("key", pl.Series("place", place))
    places = keys.join(of_group, on="key", how="left", maintain_order="left")["place"]
    if places.n_unique() < len(shares):
        raise DataError(
            f"{len(counts)} groups cannot be cut into {', '.join(shares)}: one of them would be empty",
            where=f"{dataset.name}: {len(keys):,} rows, groups '{dataset.roles.groups or 'none'}'",
            hint="more groups, or other [split] shares",
        )
    return {
        name: replace(dataset, name=name, table=dataset.table.filter(places == number))
        for number, name in enumerate(shares)
    }


def _keys(dataset: Dataset) -> pl.DataFrame:
    """Of each row, the `key` of its group, and the `order` that groups are cut in."""
    time, groups = dataset.roles.time, dataset.roles.groups
    key = dataset.table[groups].rank("dense") if groups else pl.Series(range(len(dataset.table)))
    if time:
        return pl.DataFrame({"key": key, "order": dataset.table[time]})
    numbers = key.to_numpy()
    drawn = np.random.default_rng(0).permutation(int(numbers.max()) + 1)
    return pl.DataFrame({"key": key, "order": drawn[numbers]})


def select_period(dataset: Dataset, start: datetime, end: datetime, *, name: str) -> Dataset:
    """The rows of a dataset whose time is in [start, end), named after the period."""
    column = dataset.roles.time
    if not column or not dataset.table.schema[column].is_temporal():
        raise DataError(f"time column '{column}' is no time", hint="[data] time must name a date or datetime column")
    moments = pl.col(column).cast(pl.Datetime("us")).dt.replace_time_zone(None)
    rows = dataset.table.filter((moments >= start) & (moments < end))
    if rows.is_empty():
        raise DataError(f"period '{name}' has no rows", where=f"{column} in [{start:%F}, {end:%F})", hint="[split]")
    return replace(dataset, name=name, table=rows)


def time_span(dataset: Dataset) -> tuple[str, str]:
    """The times between which the rows of a dataset lie, [first, just after the last), ISO 8601."""
    moments = dataset.table[dataset.roles.time].cast(pl.Datetime("us")).dt.replace_time_zone(None)
    first, last = moments.min(), moments.max()
    if not (isinstance(first, datetime) and isinstance(last, datetime)):
        raise DataError(f"column '{moments.name}' holds no time", where=dataset.name, hint="[data] time")
    return first.isoformat(), (last + timedelta(microseconds=1)).isoformat()


def labeled_rows(dataset: Dataset) -> Dataset:
    """The rows whose outcome is known."""
    return replace(dataset, table=dataset.table.filter(pl.col(dataset.roles.target).is_not_null()))


def _bounds(name: str, texts: tuple[str, ...]) -> tuple[datetime, datetime] | None:
    if not texts:
        return None
    try:
        start, end = (datetime.fromisoformat(text) for text in texts)
    except ValueError as error:
        raise ConfigError(
            f"period '{name}' is {list(texts)}", where="[split]", hint=f'{name} = ["2013-01-01", "2013-05-01"]'
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
