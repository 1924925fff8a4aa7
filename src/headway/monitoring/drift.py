"""Binning of features for drift detection, and the cost of the drift of a feature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace as replace_dataclass

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import DataError, NotApplicable
from headway.core.evidence import Measurement
from headway.core.variant import Field
from headway.data.context import Window, Windows
from headway.evaluation.statistics.intervals import UNBOUNDED, Estimate, Sample, autocorrelation_factor, t_interval
from headway.evaluation.statistics.tables import quantile_edges, tally, weighted

BINS = 40
_SAMPLE = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureBins:
    """Bins of one feature, the same for both windows: intervals or categories, and a last bin for missing values."""

    field: Field
    edges: Floats

    @property
    def size(self) -> int:
        """Number of bins, including the one for missing values."""
        return len(self.field.categories or (*self.edges, None)) + 1

    def codes(self, values: Floats) -> Ints:
        """Return the bin of each value [n] -> int64 [n]; an unknown category counts as missing."""
        known: Bools = np.isfinite(values) if self.field.categories else ~np.isnan(values)
        found = self._categories(values, known) if self.field.categories else self._intervals(values)
        found[~known] = self.size - 1
        return found

    def label(self, bin: int) -> str:
        """Return a label of the bin: `21.5 to 33`, `UA`, `missing`."""
        if bin == self.size - 1:
            return "missing"
        if self.field.categories:
            return self.field.categories[bin]
        ends = [f"{edge:.6g}" for edge in self.edges]
        if not ends:
            return "any"
        if bin == 0:
            return f"below {ends[0]}"
        return f"{ends[-1]} or more" if bin == len(ends) else f"{ends[bin - 1]} to {ends[bin]}"

    def _categories(self, values: Floats, known: Bools) -> Ints:
        last = self.size - 1
        ranks = np.where(known, values, last)
        return np.where((ranks >= 0) & (ranks < last), ranks, last).astype(np.int64)

    def _intervals(self, values: Floats) -> Ints:
        """Compare with every edge, which for 40 edges is faster than a binary search."""
        count, above = np.zeros(len(values), np.uint8), np.empty(len(values), np.bool_)
        for edge in self.edges:
            np.greater_equal(values, edge, out=above)
            count += above
        return count.astype(np.int64)


def feature_values(windows: Windows, number: int) -> Floats:
    """Return the values of one feature, those of the window before first -> float64 [n_before + n_after]."""
    return np.concatenate([windows.before.rows[:, number], windows.after.rows[:, number]])


def window_weights(windows: Windows) -> Floats | None:
    """Return the weights of the rows of both windows, those before first -> float64 [n], None if all are 1."""
    parts = (windows.before, windows.after)
    if all(part.weights is None for part in parts):
        return None
    return np.concatenate([np.ones(len(part.rows)) if part.weights is None else part.weights for part in parts])


def thinned(window: Window) -> Window:
    """Return a window without weights, for methods that give each row of a group the same.

    Rows are left out at random, always the same ones, so that those of a group have one rate.
    """
    if window.weights is None:
        return window
    codes, count = _dense_codes(window.groups)
    largest = np.zeros(count)
    np.maximum.at(largest, codes, window.weights)
    sampled = np.random.default_rng(0).random(len(codes)) < window.weights / largest[codes]
    return replace_dataclass(window.subset(sampled), weights=None)


def make_bins(field: Field, values: Floats, *, max_bins: int = BINS) -> FeatureBins:
    """Return at most `max_bins` bins of equal mass over values [n] of both windows; for categories, one bin each."""
    if field.categories:
        return FeatureBins(field=field, edges=np.empty(0))
    some = values[:: max(1, len(values) // _SAMPLE)]
    present = some[~np.isnan(some)]
    return FeatureBins(field=field, edges=quantile_edges(present, max_bins) if len(present) else np.empty(0))


RANK_BINS = 10  # few bins, so that each has enough groups to estimate its loss
RANK_METHOD = "losses by bin reweighted, leave-one-group-out jackknife of both windows, neighbours lean, t"


def rank_drift_costs(windows: Windows, losses: Floats) -> list[Measurement]:
    """Measure `drift.loss` of each feature (slice), most harmful first: the change of mean loss explained by its drift.

    The loss within each bin is taken from the labeled rows of the window before. If a feature moves and the loss within
    each bin stays, the mean loss changes by the sum over bins of (new share - old share) * loss. This detects covariate
    shift to regions where the model is poor. It does not detect concept drift within a bin, which labels show. Features
    that move together share one loss, so the values of several features do not add up.

    Parameters
    ----------
    windows : Windows
    losses : ndarray of shape (n_before,)
        Loss of each row of the window before in any unit, NaN if its label is unknown. A bin without labeled rows gets
        the mean loss.

    Raises
    ------
    NotApplicable
        If no loss is known.
    """
    if len(losses) != len(windows.before.rows):
        raise DataError(f"{len(losses)} losses for {len(windows.before.rows)} rows of the window before")
    known = ~np.isnan(losses)
    if not known.any():
        raise NotApplicable("no row of the window before has a known loss", hint="headway labels add")
    found = list(_losses(windows, losses, known))
    return sorted(found, key=lambda cost: -cost.value)


def _losses(windows: Windows, losses: Floats, known: Ints) -> Iterator[Measurement]:
    """Yield one measurement for each feature, in the order of the signature."""
    before, n_before = _dense_codes(windows.before.groups[known])
    weights = None if windows.before.weights is None else windows.before.weights[known]
    after, n_after = _dense_codes(windows.after.groups)
    sample = Sample(n_rows=len(before) + len(after), n_groups=n_before + n_after, bounds=UNBOUNDED)
    for number, field in enumerate(windows.signature.inputs):
        values = feature_values(windows, number)
        bins = make_bins(field, values, max_bins=RANK_BINS)
        codes, split = bins.codes(values), len(losses)
        cells = before * bins.size + codes[:split][known]
        lost, rows = (
            tally(cells, n_before * bins.size, weighted(values, weights)).reshape(n_before, bins.size)
            for values in (losses[known], None)
        )
        now = tally(after * bins.size + codes[split:], n_after * bins.size, windows.after.weights)
        now = now.reshape(n_after, bins.size)
        yield replace(t_interval("drift.loss", _change(lost, rows, now), sample), slice=field.name)


def _change(lost: Floats, rows: Floats, now: Floats) -> Estimate:
    """Estimate the change that is explained, with a jackknife over the groups of both windows.

    Tables [groups, bins].
    """
    value = _explained(lost.sum(0), rows.sum(0), now.sum(0))
    before = _explained(lost.sum(0) - lost, rows.sum(0) - rows, now.sum(0))
    after = _explained(lost.sum(0), rows.sum(0), now.sum(0) - now)
    variance = sum(_variance(part) for part in (before, after))
    dof = min(len(before), len(after)) - 1
    return Estimate(value=float(value), se=float(np.sqrt(variance)), dof=dof, method=RANK_METHOD)


def _explained(lost: Floats, rows: Floats, now: Floats) -> Floats:
    """Sum the new shares times the losses over bins, less the mean loss; sums [..., bins] -> [...]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = lost.sum(-1, keepdims=True) / rows.sum(-1, keepdims=True)
        by_bin = np.where(rows > 0, lost / np.maximum(rows, 1), mean)
        change: Floats = (now / now.sum(-1, keepdims=True) * by_bin).sum(-1) - mean[..., 0]
    return change


def _variance(without_each: Floats) -> float:
    """Compute the jackknife variance over groups in order of time."""
    count, influence = len(without_each), without_each - without_each.mean()
    return float((count - 1) / count * np.square(influence).sum() * autocorrelation_factor(influence))


def _dense_codes(groups: Ints) -> tuple[Ints, int]:
    numbers, codes = np.unique(groups, return_inverse=True)
    return codes.astype(np.int64), len(numbers)
