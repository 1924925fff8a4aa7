"""Means over rows or subsets of rows, and against all other rows, with intervals by group."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import (
    JACKKNIFE,
    SHARE,
    UNBOUNDED,
    Estimate,
    Sample,
    jackknife_error,
    jackknife_interval,
    ratio_of_sums,
    t_interval,
)
from headway.evaluation.statistics.proportions import MANY_EVENTS, UNSEEN, effective_rows, share_measurement
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


def mean_measurement(
    name: str,
    values: Floats,
    blocks: Blocks,
    bounds: tuple[float, float],
    *,
    related: Floats | None = None,
    unseen: float = 0.0,
) -> Measurement:
    """Measure the weighted mean of values (n,), within `bounds`.

    Values of 0 and 1 are a share. `related`, float64 (n,), is a continuous quantity of the same rows, by which the
    design effect of rare events is known; `unseen` is the `unseen_error` of a paired difference of decisions.
    """
    sample = Sample(n_rows=blocks.n_rows, n_groups=blocks.n_groups, bounds=bounds)
    if _is_share(values, bounds):
        rows = np.ones(blocks.n_rows, dtype=np.bool_)
        return share_measurement(name, blocks.mean(values), _effective_rows(values, rows, blocks, related), sample)
    without = leave_one_out_mean(blocks.per_block(values), blocks.rows)
    return jackknife_interval(name, blocks.mean(values), without, sample, unseen=unseen)


ECE_BINS = 5
"""Of a small part more bins would show noise alone (decision 0030)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowStatistic:
    """A statistic of rows: the mean of `values` (n,), in `bounds`, over the eligible rows `among`.

    Values of 0 and 1 are a share; `related` is as for `mean_measurement`. `is_paired` marks differences of two such
    values. `exact` says why the value holds for every row, and not for these alone; empty if it does not.
    """

    name: str
    values: Floats
    among: Bools
    bounds: tuple[float, float]
    blocks: Blocks
    related: Floats | None = None
    is_paired: bool = False
    exact: str = ""


def subset_mean(statistic: RowStatistic, inside: Bools) -> Measurement:
    """Measure the mean over the rows `inside`, bool (n,), of which at least one must be eligible."""
    sums, rows = _block_sums(statistic, inside)
    estimate, sample = ratio_of_sums(sums[None], rows[None])[0], subset_sample(statistic, inside)
    if statistic.exact:
        return t_interval(statistic.name, replace(estimate, se=0.0, method=statistic.exact), sample)
    eligible = statistic.among & inside
    if _is_share(statistic.values[eligible], statistic.bounds):
        effective = _effective_rows(statistic.values, eligible, statistic.blocks, statistic.related)
        return share_measurement(statistic.name, estimate.value, effective, sample)
    if statistic.is_paired:
        changed = statistic.values != 0
        unseen = unseen_error(changed, eligible, statistic.blocks, related=statistic.related)
        estimate = replace(estimate, se=math.hypot(estimate.se, unseen))
    return t_interval(statistic.name, estimate, sample)


def _is_share(values: Floats, bounds: tuple[float, float]) -> bool:
    return bounds == SHARE and bool(((values == 0) | (values == 1)).all())


def _effective_rows(values: Floats, among: Bools, blocks: Blocks, related: Floats | None) -> float:
    """Return how many independent rows carry as much as the eligible ones about a share; at least one is eligible."""
    weights = among.astype(np.float64) if blocks.weights is None else among * blocks.weights
    total, n_rows = weights.sum(), float(among.sum())
    of_groups = tally(blocks.groups, blocks.n_groups, weights)
    rows = tally(blocks.blocks, blocks.n_blocks, weights)
    some = rows > 0

    def sums(of: Floats) -> Floats:
        return tally(blocks.blocks, blocks.n_blocks, of * weights)[some][None]

    other = None
    if related is not None:
        spread = np.average(np.square(related - np.average(related, weights=weights)), weights=weights)
        other = (sums(related), np.array([spread]))
    with np.errstate(divide="ignore", invalid="ignore"):
        independent = effective_rows(
            sums(values),
            rows[some][None],
            n_rows=np.array([n_rows]),
            min_effect=np.array([n_rows * np.square(weights).sum() / total**2]),
            max_effect=np.array([n_rows * np.square(of_groups).sum() / total**2]),
            related=other,
        )
    return float(independent[0])


def unseen_error(
    changed: Bools, among: Bools, blocks: Blocks, *, related: Floats | None = None, step: float = 1.0
) -> float:
    """Return the standard error, of a paired difference of decisions, that rows which were not seen to change cause.

    A jackknife knows only of the changes that were seen, and none of them gives an interval of no width. UNSEEN more
    among the eligible rows give about the upper end that Clopper and Pearson give for no event; they fade where many
    were seen.

    Parameters
    ----------
    changed, among : ndarray of bool of shape (n,)
        Rows that are decided otherwise, and the eligible ones.
    related : ndarray of shape (n,), optional
        How far the answer of each row moved.
    step : float
        Change of the measure if every eligible row changed.
    """
    if not among.any():
        return 0.0
    values = changed.astype(np.float64)
    rows = _effective_rows(values, among, blocks, related)
    share = float(values[among].mean())
    fading = 1 + (rows * min(share, 1 - share) / MANY_EVENTS) ** 2
    return step * math.sqrt(UNSEEN / fading) / rows


def subset_minus_rest(statistic: RowStatistic, inside: Bools) -> Measurement:
    """Measure the mean inside minus the mean outside, both with a row; a group is left out of both at once."""
    (sums, rows), (others, other_rows) = _block_sums(statistic, inside), _block_sums(statistic, ~inside)
    some = rows + other_rows > 0
    without = leave_one_out_mean(sums[some], rows[some]) - leave_one_out_mean(others[some], other_rows[some])
    value = float(sums.sum() / rows.sum() - others.sum() / other_rows.sum())
    max_difference = min(statistic.bounds[1] - statistic.bounds[0], UNBOUNDED[1])
    sample = replace(subset_sample(statistic, inside), bounds=(-max_difference, max_difference))
    unseen = 0.0
    if _is_share(statistic.values[statistic.among], statistic.bounds):
        unseen = math.hypot(
            *(
                unseen_error(statistic.values == 1, subset, statistic.blocks, related=statistic.related)
                for subset in (statistic.among & inside, statistic.among & ~inside)
            )
        )
    return t_interval(statistic.name, jackknife_estimate(value, without, held=rows, unseen=unseen), sample)


def jackknife_estimate(value: float, without_each: Floats, *, held: Floats, unseen: float = 0.0) -> Estimate:
    """Build an estimate from leave-one-block-out values; degrees of freedom count the blocks with `held` above 0.

    `unseen` is an `unseen_error`.
    """
    dof = int((held > 0).sum()) - 1
    error = math.hypot(float(jackknife_error(without_each)), unseen)
    return Estimate(value=value, se=error, dof=dof, method=JACKKNIFE)


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
