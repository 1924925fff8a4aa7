"""D032: Served rows lie in a region of one or two features with hardly any training rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import polars as pl

from headway.core.arrays import Bools, Ints
from headway.core.dataset import ASKED_AT, Dataset
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.leakage.samples import served_rows, training_rows

CODES = ("D032",)
BINS, MAX_CATEGORIES = 8, 128
MIN_TRAINING_ROWS, EXPECTED_ROWS, MIN_SERVED_ROWS, MIN_DAYS = 5, 30, 20, 5
LIMIT = 0.01
NAMED = 3
SAMPLE = 20_000
Codes = Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class _BinnedColumn:
    """A binned feature: the bin of each training and served row, and the label of each bin."""

    name: str
    labels: list[str]
    train: Codes
    served: Codes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Region:
    """A region of served rows: its description, a mask of its rows, and its number of training rows."""

    message: str
    rows: Bools
    train: int


def plugin(context: CheckContext) -> list[Finding]:
    """Return one finding with the share of served rows in unsupported regions, which names the largest ones.

    A region is a bin of a feature (an eighth of the training rows, beyond their range, a category, missing), or a
    pair of bins that are supported on their own. It has fewer than 5 training rows where 30 would be expected
    from the served rows
    (by chance one region in ten million), and at least 20 served rows on 5 days or groups. Served rows are the
    requests, else the period `live`, else the test. Above 1 % the finding is a warning.
    """
    train = training_rows(context)
    where, rows = served_rows(context)
    columns = [_column(name, train.table[name], rows[name]) for name in _read(train, rows)]
    if not columns:
        raise NotApplicable("no feature is both in the table and served")
    days = _days(context, rows)
    found = [
        region
        for region in _regions(columns, len(train.table), len(rows))
        if len(np.unique(days[region.rows])) >= MIN_DAYS
    ]
    if not found:
        return []
    found.sort(key=lambda region: -int(region.rows.sum()))
    within = np.any([region.rows for region in found], axis=0)
    share = float(within.mean())
    named = [
        f"{region.message} ({int(region.rows.sum()):,} served, {region.train:,} training)" for region in found[:NAMED]
    ]
    more = [f"{len(found) - NAMED} more"] if len(found) > NAMED else []
    return [
        Finding(
            code="D032",
            severity="warn" if share > LIMIT else "note",
            message=f"{int(within.sum()):,} of {len(rows):,} rows of {where} ({share:.1%}) are in regions with hardly "
            f"any training row: {'; '.join([*named, *more])}",
            where=where,
            measured=share,
            limit=LIMIT,
            hint="collect training rows of these regions, or reject such requests",
        )
    ]


def _read(train: Dataset, rows: pl.DataFrame) -> list[str]:
    """Return the features of both tables: numbers, and strings with at most 128 values."""
    both = [name for name in train.features if name in rows.columns]
    kinds = train.table.schema
    numbers = {name for name in both if kinds[name].is_numeric()}
    texts = {name for name in both if kinds[name] in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)}
    few = {name for name in texts if train.table[name].n_unique() <= MAX_CATEGORIES}
    return [name for name in both if name in numbers | few]


def _column(name: str, train: pl.Series, served: pl.Series) -> _BinnedColumn:
    if train.dtype.is_numeric():
        return _numbers(name, train, served)
    texts = [series.cast(pl.String).fill_null("missing") for series in (train, served)]
    values = pl.concat(texts).unique().sort()
    codes = [series.cast(pl.Enum(values)).to_physical().cast(pl.Int64).to_numpy() for series in texts]
    return _BinnedColumn(name=name, labels=[f"{name} {value}" for value in values], train=codes[0], served=codes[1])


def _numbers(name: str, train: pl.Series, served: pl.Series) -> _BinnedColumn:
    """Bin by eighths of a sample, with one bin below the training minimum and one above the maximum."""
    one, two = (series.cast(pl.Float64).fill_null(float("nan")).to_numpy() for series in (train, served))
    known = one[~np.isnan(one)]
    if not len(known):
        known = np.zeros(1)
    sample = known[:: max(1, len(known) // SAMPLE)]
    inner = np.unique(np.quantile(sample, np.arange(1, BINS) / BINS, method="nearest"))
    edges = np.unique([known.min(), *inner, np.nextafter(known.max(), np.inf)])
    ends = [f"{edge:.6g}" for edge in edges]
    between = [f"{name} {low} to {high}" for low, high in pairwise(ends)]
    labels = [f"{name} below {ends[0]}", *between, f"{name} above {known.max():.6g}", f"{name} missing"]
    codes = [
        np.where(np.isnan(series), len(labels) - 1, np.searchsorted(edges, series, "right")) for series in (one, two)
    ]
    return _BinnedColumn(name=name, labels=labels, train=codes[0], served=codes[1])


def _days(context: CheckContext, rows: pl.DataFrame) -> Codes:
    """Return the day or group of each served row, or its own number if there is neither."""
    roles = context.dataset.roles
    name = next((role for role in (ASKED_AT, roles.time, roles.groups) if role and role in rows.columns), "")
    if not name:
        return np.arange(len(rows))
    column = rows[name].cast(pl.Date) if rows.schema[name].is_temporal() else rows[name]
    return column.rank("dense").cast(pl.Int64).to_numpy()


def _regions(columns: list[_BinnedColumn], n_train: int, n_served: int) -> Iterator[_Region]:
    """Yield bins without support, then pairs of supported bins without support."""
    fewest = max(MIN_SERVED_ROWS, EXPECTED_ROWS * n_served / max(1, n_train))
    supported: dict[str, Bools] = {}
    for column in columns:
        size = len(column.labels)
        train, served = np.bincount(column.train, minlength=size), np.bincount(column.served, minlength=size)
        supported[column.name] = train >= MIN_TRAINING_ROWS
        for bin in np.flatnonzero((train < MIN_TRAINING_ROWS) & (served >= fewest)):
            yield _Region(message=column.labels[bin], rows=column.served == bin, train=int(train[bin]))
    for one, two in combinations(columns, 2):
        size = len(two.labels)
        cells = [a * size + b for a, b in ((one.train, two.train), (one.served, two.served))]
        train, served = (np.bincount(column, minlength=len(one.labels) * size) for column in cells)
        alone = np.outer(supported[one.name], supported[two.name]).ravel()
        for cell in np.flatnonzero((train < MIN_TRAINING_ROWS) & (served >= fewest) & alone):
            message = f"{one.labels[cell // size]} and {two.labels[cell % size]}"
            yield _Region(message=message, rows=cells[1] == cell, train=int(train[cell]))
