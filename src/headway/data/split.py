"""Split a dataset into the periods train, validation, test and live, by dates or by shares of whole groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl

from headway.core.arrays import Bools, Ints
from headway.core.dataset import Dataset
from headway.core.errors import ConfigError, DataError
from headway.data.matrix import STRING_DTYPES, month_column
from headway.data.settings.split import SplitSection

_DATE_LENGTH = len("2025-01-31")
PERIODS_BY_SHARE = ("train", "validation", "test")


def split_dataset(dataset: Dataset, split: SplitSection, *, fitted: bool = False) -> dict[str, Dataset]:
    """Split a dataset into its declared periods, [start, end), without overlap.

    Parameters
    ----------
    dataset : Dataset
        The rows.
    split : SplitSection
        `[split]`: periods, or shares if no period is declared.
    fitted : bool
        True for a fitted model, which needs no training rows.

    Returns
    -------
    dict of str to Dataset

    Raises
    ------
    ConfigError
        If a period is not two dates in order, or overlaps the one before.
    DataError
        If a period is empty.
    """
    periods = {name: _bounds(name, getattr(split, name)) for name in ("train", "validation", "test", "live")}
    declared = {name: bounds for name, bounds in periods.items() if bounds}
    if not declared:
        return split_by_shares(dataset, dict(zip(PERIODS_BY_SHARE[fitted:], split.shares[fitted:], strict=True)))
    _expect_order(declared)
    return {name: select_period(dataset, *bounds, name=name) for name, bounds in declared.items()}


def split_by_shares(dataset: Dataset, shares: Mapping[str, float]) -> dict[str, Dataset]:
    """Split whole groups by shares of the rows, in time order, or in random order without time.

    Shares are scaled to sum to 1.

    Raises
    ------
    DataError
        If a period would be empty.
    """
    keys = _keys(dataset)
    counts = keys.group_by("key").agg(pl.len().alias("rows"), pl.col("order").min()).sort("order", "key")
    edges = np.cumsum([0.0, *shares.values()]) / sum(shares.values())
    middles = (counts["rows"].cum_sum() - counts["rows"] / 2) / len(keys)
    period_of_group = np.clip(np.searchsorted(edges, middles.to_numpy(), side="right") - 1, 0, len(shares) - 1)
    of_group = counts.select("key", pl.Series("period", period_of_group))
    period_of_row = keys.join(of_group, on="key", how="left", maintain_order="left")["period"]
    if period_of_row.n_unique() < len(shares):
        raise DataError(
            f"{len(counts)} groups cannot be split into {', '.join(shares)}: one of them would be empty",
            where=f"{dataset.name}: {len(keys):,} rows, groups '{dataset.roles.groups or 'none'}'",
            hint="more groups, or other [split] shares",
        )
    return {
        name: replace(dataset, name=name, table=dataset.table.filter(period_of_row == number))
        for number, name in enumerate(shares)
    }


def _keys(dataset: Dataset) -> pl.DataFrame:
    """Return the group key of each row and the order of the groups."""
    time, groups = dataset.roles.time, dataset.roles.groups
    key = dataset.table[groups].rank("dense") if groups else pl.Series(range(len(dataset.table)))
    if time:
        _expect_ordered(dataset.table[time])
        return pl.DataFrame({"key": key, "order": dataset.table[time]})
    numbers = key.to_numpy()
    permutation = np.random.default_rng(0).permutation(int(numbers.max()) + 1)
    return pl.DataFrame({"key": key, "order": permutation[numbers]})


def _expect_ordered(times: pl.Series) -> None:
    """Raise DataError for strings whose order may not be that of time, such as 9/1/2025 and 10/1/2025.

    Strings that begin with the year, and have their digits in the same places, are in order.
    """
    if times.dtype not in STRING_DTYPES:
        return
    texts = times.cast(pl.String).drop_nulls()
    shapes = texts.str.slice(0, _DATE_LENGTH).str.replace_all(r"\d", "0")
    others = texts.filter(~texts.str.contains(r"^\d{4}") | (shapes != shapes.mode().sort().first()))
    if len(others):
        raise DataError(
            f"time column '{times.name}' holds the string {others[0]!r}, and strings are not in order of time",
            hint="convert it, as by pandas.to_datetime, or write 2025-01-31",
        )


def select_period(dataset: Dataset, start: datetime, end: datetime, *, name: str) -> Dataset:
    """Return the rows of a dataset with a time in [start, end)."""
    column = dataset.roles.time
    if not column or not dataset.table.schema[column].is_temporal():
        raise DataError(f"time column '{column}' is not a time", hint="[data] time must name a date or datetime column")
    times = pl.col(column).cast(pl.Datetime("us")).dt.replace_time_zone(None)
    rows = dataset.table.filter((times >= start) & (times < end))
    if rows.is_empty():
        raise DataError(f"period '{name}' has no rows", where=f"{column} in [{start:%F}, {end:%F})", hint="[split]")
    return replace(dataset, name=name, table=rows)


def months_of(dataset: Dataset) -> dict[str, Dataset]:
    """Return the rows of each calendar month (`2013-09`), in order; empty if rows have no time.

    Each is a dataset that is named after its month.
    """
    months = month_column(dataset)
    if months is None:
        return {}
    return {
        name: replace(dataset, name=name, table=dataset.table.filter(pl.Series(months.codes == code)))
        for code, name in enumerate(months.values)
    }


def time_span(dataset: Dataset) -> tuple[str, str]:
    """Return the time span of a dataset in ISO 8601, [first, just after the last)."""
    times = dataset.table[dataset.roles.time].cast(pl.Datetime("us")).dt.replace_time_zone(None)
    first, last = times.min(), times.max()
    if not (isinstance(first, datetime) and isinstance(last, datetime)):
        raise DataError(f"column '{times.name}' has no times", where=dataset.name, hint="[data] time")
    return first.isoformat(), (last + timedelta(microseconds=1)).isoformat()


def labeled_rows(dataset: Dataset) -> Dataset:
    """Return the rows with a known outcome."""
    return replace(dataset, table=dataset.table.filter(pl.col(dataset.roles.target).is_not_null()))


def half_of_groups(groups: Ints, half: int) -> Bools:
    """Return the rows of one half of the groups, bool (n,), for group codes (n,).

    Halves 2k and 2k + 1 have all groups between them and none in common; another k draws other halves.
    """
    n_groups = int(groups.max()) + 1
    order = np.random.default_rng(half // 2).permutation(n_groups)
    is_first: Bools = order[groups] < (n_groups + 1) // 2
    return is_first if half % 2 == 0 else ~is_first


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
    """Raise ConfigError if a period starts before the previous one ends, which would leak the future."""
    named = list(periods.items())
    for (earlier, (_, end)), (later, (start, _)) in pairwise(named):
        if start < end:
            raise ConfigError(f"period '{later}' starts before '{earlier}' ends", where="[split]")
