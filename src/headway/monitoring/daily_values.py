"""Daily numbers of each feature: level, spread, missing share, category shares, and the share out of range.

Rows of a log that samples count by the number of requests that each stands for.

A feature is read by bins that the reference fixes. Its level and spread are those of normal scores (the normal quantile
of a value's rank among the rows of the reference), so that heavy tails of rows do no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.release import Bounds, Contract
from headway.core.variant import Field, Signature
from headway.data.context import Window
from headway.evaluation.statistics.tables import quantile_edges, tally

Kind = Literal["level", "spread", "missing", "share", "outside"]
BINS = 64
MAX_SCORE = 3.0
MIN_SHARE = 0.02
"""Smallest share of a category that has a series of its own; rarer ones have one together."""
SMALL_DAY = 0.1
"""A day with fewer rows than this part of the median day is left out."""
_MIN_SPREAD = 0.02
_SAMPLE = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class DailySeries:
    """One daily number: the index of its feature, its kind, and the categories whose share it is."""

    feature: int
    kind: Kind
    categories: tuple[str, ...] = ()

    @property
    def is_share(self) -> bool:
        """Whether it is a share of rows, in [0, 1]."""
        return self.kind not in ("level", "spread")


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyValues:
    """Daily numbers float64 [T, K], NaN where a day has no value, with day numbers int64 [T].

    `rows` float64 [T] are the rows of a day; of a log that samples, Kish's effective number of them, while `sent` is
    the number of requests that they stand for.
    """

    days: Ints
    rows: Floats
    sent: Floats
    values: Floats

    def __len__(self) -> int:
        return len(self.days)

    def part(self, begin: int, end: int | None = None) -> DailyValues:
        """Return the days from one index to another."""
        here = slice(begin, end)
        return DailyValues(days=self.days[here], rows=self.rows[here], sent=self.sent[here], values=self.values[here])

    @property
    def sampling_noise(self) -> Floats:
        """How much larger the sampling of the log made the variance of each day's mean, in variances of a row [T]."""
        return 1 / self.rows - 1 / self.sent


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureReader:
    """Turns the rows of one feature into its daily numbers, one for each of `series`.

    Numbers: `edges` are those of bins, the first and the last of which are outside the range; `scores` are normal
    scores of the bins. Categories: `category_series` maps a rank, then unseen and missing values, to the index of a
    series.
    """

    series: tuple[DailySeries, ...]
    edges: Floats
    scores: Floats
    category_series: Ints

    def read(self, values: Floats, day: Ints, rows: Floats, weights: Floats | None = None) -> Floats:
        """Return the daily numbers [T, series] of values [n], whose days are numbered from 0; `rows` [T] by weight."""
        counts = tally(day * self.size + self.codes(values), len(rows) * self.size, weights).reshape(-1, self.size)
        return counts / rows[:, None] if len(self.category_series) else self._of_counts(counts, rows)

    @property
    def size(self) -> int:
        """Number of bins."""
        return len(self.series) if len(self.category_series) else len(self.edges) + 2

    def codes(self, values: Floats) -> Ints:
        """Return the bin of each value [n], the last one for missing values; for a category the index of its series."""
        missing = np.isnan(values)
        if len(self.category_series):
            last = len(self.category_series) - 1
            ranks = np.where(missing, last, np.clip(np.where(missing, 0, values), 0, last - 1)).astype(np.int64)
            return self.category_series[ranks]
        return np.where(missing, self.size - 1, np.searchsorted(self.edges, values, side="right"))

    def shares(self, values: Floats, weights: Floats | None = None) -> Floats:
        """Return the share of each bin [size] in values [n]."""
        counts = tally(self.codes(values), self.size, weights)
        found: Floats = counts / max(counts.sum(), 1)
        return found

    def _of_counts(self, counts: Floats, rows: Floats) -> Floats:
        present = rows - counts[:, -1]
        with np.errstate(divide="ignore", invalid="ignore"):
            level = counts[:, :-1] @ self.scores / present
            variance = counts[:, :-1] @ np.square(self.scores) / present - np.square(level)
            outside = (counts[:, 0] + counts[:, -2]) / present
        spread = np.log(np.sqrt(np.maximum(variance, 0)) + _MIN_SPREAD)
        return np.column_stack([level, spread, counts[:, -1] / rows, outside])


def feature_readers(window: Window, signature: Signature, contract: Contract | None = None) -> list[FeatureReader]:
    """Return the reader of each feature, fixed by the rows of the reference and by the ranges of a contract."""
    contract = contract or Contract()
    bounds = {column.name: column for column in contract.columns}
    return [
        _category_reader(number, field, window.rows[:, number])
        if field.categories
        else _number_reader(number, window.rows[:, number], bounds.get(field.name), contract.margin)
        for number, field in enumerate(signature.inputs)
    ]


def series_of(readers: Sequence[FeatureReader]) -> tuple[DailySeries, ...]:
    """Return the series of all readers, in the order of the columns of `daily_values`."""
    return tuple(daily for reader in readers for daily in reader.series)


def daily_values(readers: Sequence[FeatureReader], window: Window) -> DailyValues:
    """Return the daily numbers of the days of a window that have rows enough."""
    days, day = np.unique(window.groups, return_inverse=True)
    weights = window.weights
    sent = tally(day, len(days), weights)
    rows = sent if weights is None else np.square(sent) / tally(day, len(days), np.square(weights))
    parts = [reader.read(window.rows[:, number], day, sent, weights) for number, reader in enumerate(readers)]
    keep = sent >= SMALL_DAY * np.median(sent) if len(sent) else np.zeros(0, np.bool_)
    return DailyValues(days=days[keep], rows=rows[keep], sent=sent[keep], values=np.column_stack(parts)[keep])


def joined(parts: Sequence[DailyValues]) -> DailyValues:
    """Return the days of several windows, one after another."""
    return DailyValues(
        days=np.concatenate([part.days for part in parts]),
        rows=np.concatenate([part.rows for part in parts]),
        sent=np.concatenate([part.sent for part in parts]),
        values=np.concatenate([part.values for part in parts]),
    )


def _number_reader(number: int, values: Floats, bounds: Bounds | None, margin: float) -> FeatureReader:
    some = values[:: max(1, len(values) // _SAMPLE)]
    present = some[np.isfinite(some)]
    low, high = (float(present.min()), float(present.max())) if len(present) else (0.0, 0.0)
    inner = quantile_edges(present, BINS) if len(present) else np.empty(0)
    low, high = _range(low, high, bounds, margin)
    edges = np.concatenate([[low], inner[(inner > low) & (inner <= high)], [np.nextafter(high, np.inf)]])
    shares = tally(np.searchsorted(edges, present, side="right"), len(edges) + 1) / max(len(present), 1)
    ranks, min_rank = np.cumsum(shares) - shares / 2, NormalDist().cdf(-MAX_SCORE)
    scores = [NormalDist().inv_cdf(min(max(float(rank), min_rank), 1 - min_rank)) for rank in ranks]
    kinds: tuple[Kind, ...] = ("level", "spread", "missing", "outside")
    series = tuple(DailySeries(feature=number, kind=kind) for kind in kinds)
    return FeatureReader(series=series, edges=edges, scores=np.array(scores), category_series=np.empty(0, np.int64))


def _range(low: float, high: float, bounds: Bounds | None, margin: float) -> tuple[float, float]:
    """Return the range of the contract, and without one that of the reference, extended by its width at both ends."""
    if bounds and bounds.lowest is not None and bounds.highest is not None:
        width = margin * (bounds.highest - bounds.lowest)
        return min(low, bounds.lowest - width), max(high, bounds.highest + width)
    return 2 * low - high, 2 * high - low


def _category_reader(number: int, field: Field, values: Floats) -> FeatureReader:
    count = len(field.categories)
    known = values[~np.isnan(values)].astype(np.int64)
    shares = np.bincount(np.clip(known, 0, count), minlength=count + 1)[:count] / max(len(values), 1)
    groups = list(_category_groups(field.categories, shares))
    index_of = {name: index for index, names in enumerate(groups) for name in names}
    series = [DailySeries(feature=number, kind="share", categories=names) for names in groups]
    if field.ranks_unseen:
        series.append(DailySeries(feature=number, kind="outside"))
    unseen = len(series) - 1 if field.ranks_unseen else len(series)  # else it counts as missing
    series.append(DailySeries(feature=number, kind="missing"))
    indices = [*(index_of[name] for name in field.categories), unseen, len(series) - 1]
    return FeatureReader(
        series=tuple(series),
        edges=np.empty(0),
        scores=np.empty(0),
        category_series=np.array(indices, np.int64),
    )


def _category_groups(names: tuple[str, ...], shares: Floats) -> Iterator[tuple[str, ...]]:
    """Yield each frequent category by itself, then the rare ones together."""
    rare = tuple(name for name, share in zip(names, shares, strict=True) if share < MIN_SHARE)
    yield from ((name,) for name, share in zip(names, shares, strict=True) if share >= MIN_SHARE)
    if rare:
        yield rare
