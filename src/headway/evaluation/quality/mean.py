"""A mean over rows, with its interval by group."""

from __future__ import annotations

import math

from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import Floats, Sample, jackknife
from headway.evaluation.statistics.tables import Blocks, mean_without_each

SMALLEST = 1e-15
"""The least probability whose logarithm is taken."""
MOST = -math.log(SMALLEST)
"""The log loss of that."""


def mean(name: str, values: Floats, blocks: Blocks, bounds: tuple[float, float]) -> Measurement:
    """The mean of values [n], by weight, within `bounds`."""
    sample = Sample(n_rows=blocks.n_rows, n_groups=blocks.n_groups, bounds=bounds)
    return jackknife(name, blocks.mean(values), mean_without_each(blocks.per_block(values), blocks.rows), sample)
