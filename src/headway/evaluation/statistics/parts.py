"""A part of the rows by itself, and against all other rows: a mean over rows, with its interval by group."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import (
    ANY,
    JACKKNIFE,
    Estimate,
    Floats,
    Sample,
    interval,
    jackknife_error,
    ratio_of_sums,
)
from headway.evaluation.statistics.tables import (
    Blocks,
    Ints,
    mean_without_each,
    plain_ece,
    quantile_edges,
    tally,
    weighted,
)

Bools = NDArray[np.bool_]

ECE_BINS = 5
"""Of a small part more bins would show noise alone (decision 0030)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """What is asked of a part: the mean of `values` float64 [n], in `bounds`, over those rows that are `among`."""

    name: str
    values: Floats
    among: Bools
    bounds: tuple[float, float]
    blocks: Blocks


def of_part(asked: Asked, inside: Bools) -> Measurement:
    """The mean over the rows `inside`, bool [n], of which there is at least one among those that are asked."""
    sums, rows = _by_block(asked, inside)
    return interval(asked.name, ratio_of_sums(sums[None], rows[None])[0], sample_of(asked, inside))


def against_rest(asked: Asked, inside: Bools) -> Measurement:
    """The mean inside less that outside; both have a row. Each group is left out of both, so what it shares cancels."""
    (sums, rows), (others, other_rows) = _by_block(asked, inside), _by_block(asked, ~inside)
    some = rows + other_rows > 0
    without = mean_without_each(sums[some], rows[some]) - mean_without_each(others[some], other_rows[some])
    value = float(sums.sum() / rows.sum() - others.sum() / other_rows.sum())
    most = min(asked.bounds[1] - asked.bounds[0], ANY[1])
    sample = replace(sample_of(asked, inside), bounds=(-most, most))
    return interval(asked.name, left_out(value, without, held=rows), sample)


def left_out(value: float, without_each: Floats, *, held: Floats) -> Estimate:
    """A value from itself with each block left out; it is known by those blocks alone in which `held` is above 0."""
    dof = int((held > 0).sum()) - 1
    return Estimate(value=value, se=float(jackknife_error(without_each)), dof=dof, method=JACKKNIFE)


def sample_of(asked: Asked, inside: Bools) -> Sample:
    """The rows of a part that are asked, and their groups."""
    groups = asked.blocks.groups[asked.among & inside]
    return Sample(n_rows=len(groups), n_groups=len(np.unique(groups)), bounds=asked.bounds)


def _by_block(asked: Asked, inside: Bools) -> tuple[Floats, Floats]:
    """Sums of the values over a part, and its rows, by weight, both float64 [blocks]."""
    part = (asked.among & inside).astype(np.float64)
    return asked.blocks.per_block(asked.values * part), asked.blocks.per_block(part)


def score_bins(scores: Floats) -> Ints:
    """The bin of each score among ECE_BINS of equal mass over all rows, int64 [n]."""
    return np.searchsorted(quantile_edges(scores, ECE_BINS), scores, side="right")


def calibration_error(asked: Asked, bins: Ints, inside: Bools) -> tuple[float, Floats, Floats]:
    """The calibration error of a part by `score_bins`; also with each block left out, and each block's rows, [blocks].

    The values asked are what is observed less what is said.
    """
    cells, weights = asked.blocks.blocks * ECE_BINS + bins, weighted(inside.astype(np.float64), asked.blocks.weights)
    surplus, rows = (
        tally(cells, asked.blocks.n_blocks * ECE_BINS, each).reshape(-1, ECE_BINS)
        for each in (weighted(asked.values, weights), weights)
    )
    whole, held = surplus.sum(0), rows.sum(0)
    return float(plain_ece(whole, held)), plain_ece(whole - surplus, held - rows), rows.sum(1)
