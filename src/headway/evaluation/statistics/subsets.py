"""Means over rows or subsets of rows, and against all other rows, with intervals by group."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import (
    JACKKNIFE,
    UNBOUNDED,
    Estimate,
    Sample,
    jackknife_error,
    jackknife_interval,
    ratio_of_sums,
    t_interval,
)
from headway.evaluation.statistics.tables import (
    Blocks,
    expected_calibration_error,
    leave_one_out_mean,
    quantile_edges,
    tally,
    weighted,
)

MIN_PROBABILITY = float(np.finfo(np.float64).eps)
"""The least probability whose logarithm is taken: scikit-learn clips float64 probabilities here."""
MAX_LOG_LOSS = -math.log(MIN_PROBABILITY)
"""The log loss of that."""


def mean_measurement(name: str, values: Floats, blocks: Blocks, bounds: tuple[float, float]) -> Measurement:
    """Measure the weighted mean of values (n,), within `bounds`."""
    sample = Sample(n_rows=blocks.n_rows, n_groups=blocks.n_groups, bounds=bounds)
    return jackknife_interval(
        name, blocks.mean(values), leave_one_out_mean(blocks.per_block(values), blocks.rows), sample
    )


ECE_BINS = 5
"""Of a small part more bins would show noise alone (decision 0030)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowStatistic:
    """A statistic of rows: the mean of `values` (n,), in `bounds`, over the eligible rows `among`."""

    name: str
    values: Floats
    among: Bools
    bounds: tuple[float, float]
    blocks: Blocks


def subset_mean(statistic: RowStatistic, inside: Bools) -> Measurement:
    """Measure the mean over the rows `inside`, bool (n,), of which at least one must be eligible."""
    sums, rows = _block_sums(statistic, inside)
    return t_interval(statistic.name, ratio_of_sums(sums[None], rows[None])[0], subset_sample(statistic, inside))


def subset_minus_rest(statistic: RowStatistic, inside: Bools) -> Measurement:
    """Measure the mean inside minus the mean outside, both with a row; a group is left out of both at once."""
    (sums, rows), (others, other_rows) = _block_sums(statistic, inside), _block_sums(statistic, ~inside)
    some = rows + other_rows > 0
    without = leave_one_out_mean(sums[some], rows[some]) - leave_one_out_mean(others[some], other_rows[some])
    value = float(sums.sum() / rows.sum() - others.sum() / other_rows.sum())
    max_difference = min(statistic.bounds[1] - statistic.bounds[0], UNBOUNDED[1])
    sample = replace(subset_sample(statistic, inside), bounds=(-max_difference, max_difference))
    return t_interval(statistic.name, jackknife_estimate(value, without, held=rows), sample)


def jackknife_estimate(value: float, without_each: Floats, *, held: Floats) -> Estimate:
    """Build an estimate from leave-one-block-out values; degrees of freedom count the blocks with `held` above 0."""
    dof = int((held > 0).sum()) - 1
    return Estimate(value=value, se=float(jackknife_error(without_each)), dof=dof, method=JACKKNIFE)


def subset_sample(statistic: RowStatistic, inside: Bools) -> Sample:
    """Return the eligible rows of a subset, and their groups."""
    groups = statistic.blocks.groups[statistic.among & inside]
    return Sample(n_rows=len(groups), n_groups=len(np.unique(groups)), bounds=statistic.bounds)


def _block_sums(statistic: RowStatistic, inside: Bools) -> tuple[Floats, Floats]:
    """Sum the values and the rows of a subset by weight, both float64 (blocks,)."""
    part = (statistic.among & inside).astype(np.float64)
    return statistic.blocks.per_block(statistic.values * part), statistic.blocks.per_block(part)


def score_bins(scores: Floats) -> Ints:
    """Return the bin of each score among ECE_BINS of equal mass over all rows, int64 (n,)."""
    return np.searchsorted(quantile_edges(scores, ECE_BINS), scores, side="right")


def subset_calibration_error(statistic: RowStatistic, bins: Ints, inside: Bools) -> tuple[float, Floats, Floats]:
    """Return the calibration error of a subset, its leave-one-block-out values, and the rows of each block.

    The values are observed minus predicted; bins are those of `score_bins`.
    """
    cells, weights = (
        statistic.blocks.blocks * ECE_BINS + bins,
        weighted(inside.astype(np.float64), statistic.blocks.weights),
    )
    surplus, rows = (
        tally(cells, statistic.blocks.n_blocks * ECE_BINS, values).reshape(-1, ECE_BINS)
        for values in (weighted(statistic.values, weights), weights)
    )
    total, held = surplus.sum(0), rows.sum(0)
    return (
        float(expected_calibration_error(total, held)),
        expected_calibration_error(total - surplus, held - rows),
        rows.sum(1),
    )
