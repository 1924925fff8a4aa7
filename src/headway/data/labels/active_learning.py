"""Select the rows to label next: uncertain, diverse, and spread over groups."""

from __future__ import annotations

import math

import numpy as np

from headway.core.arrays import Floats, Ints

POOL_FACTOR = 5
"""Size of the pool of least certain rows, as a multiple of the requested rows."""
GROUP_FACTOR = 3
"""The most rows that one group may provide, as a multiple of its even share."""
OUTLIER_SHARE = 0.05
"""Share of the rows that are least similar to all others, which are excluded as outliers."""


def next_rows_to_label(probabilities: Floats, rows: Floats, groups: Ints, count: int) -> Ints:
    """Select up to `count` rows by uncertainty and diversity, the most useful first.

    Margin sampling (Scheffer et al. 2001) picks a pool of uncertain rows; from it, each next row is the farthest
    from those chosen before, weighted by its uncertainty (Sener and Savarese 2018).

    Parameters
    ----------
    probabilities : ndarray of shape (n, k)
        Predicted class probabilities.
    rows : ndarray of shape (n, d)
        Features, NaN where missing.
    groups : ndarray of shape (n,)
        Group codes from 0.
    count : int
        Maximum number of rows.

    Returns
    -------
    ndarray of shape (m,)
        Row indices.
    """
    ordered = np.sort(probabilities, axis=1)
    uncertainty = 1 - (ordered[:, -1] - ordered[:, -2])
    positions = _standardized(rows)
    distance = np.abs(positions).mean(axis=1)
    inliers = np.flatnonzero(distance <= np.quantile(distance, 1 - OUTLIER_SHARE))
    pool = inliers[np.argsort(-uncertainty[inliers], kind="stable")[: POOL_FACTOR * count]]
    max_per_group = GROUP_FACTOR * math.ceil(count / max(1, len(np.unique(groups[pool]))))
    return _farthest_first(pool, positions, uncertainty, (groups, max_per_group))[:count]


def _farthest_first(pool: Ints, positions: Floats, uncertainty: Floats, of_group: tuple[Ints, int]) -> Ints:
    """Order the pool by weighted distance to the rows chosen before, with at most `max_per_group` of a group."""
    groups, max_per_group = of_group
    chosen_of_group = np.zeros(int(groups.max()) + 1, dtype=np.int64)
    nearest = np.full(len(pool), np.inf)
    available = np.ones(len(pool), dtype=np.bool_)
    chosen: list[int] = []
    while available.any():
        value = np.where(available, np.where(np.isinf(nearest), 1.0, nearest) * uncertainty[pool], -1.0)
        best = int(value.argmax())
        chosen.append(int(pool[best]))
        chosen_of_group[groups[pool[best]]] += 1
        nearest = np.minimum(nearest, np.linalg.norm(positions[pool] - positions[pool[best]], axis=1))
        available[best] = False
        available &= chosen_of_group[groups[pool]] < max_per_group
    return np.array(chosen, dtype=np.int64)


def _standardized(rows: Floats) -> Floats:
    """Standardize columns to mean 0 and deviation 1; missing values become 0."""
    known = ~np.isnan(rows)
    count = np.maximum(known.sum(axis=0), 1)
    centered = np.where(known, rows - np.nansum(rows, axis=0) / count, 0.0)
    spread = np.sqrt(np.square(centered).sum(axis=0) / count)
    return centered / np.where(spread > 0, spread, 1.0)
