"""Quality of regressions: size of the errors, with the drop against the baseline."""

from __future__ import annotations

import numpy as np

from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.context import Comparison
from headway.evaluation.statistics.intervals import UNBOUNDED, Sample, jackknife_interval
from headway.evaluation.statistics.subsets import mean_measurement
from headway.evaluation.statistics.tables import Blocks, build_blocks, leave_one_out_mean

_NON_NEGATIVE = (0.0, UNBOUNDED[1])


def measure_regression(subject: Comparison) -> list[Measurement]:
    """Measure `rmse` and `mae` in units of the target, and `r2`, each with a paired `.drop` (positive: worse).

    Also `mean_error`, predicted minus true. Raises NotApplicable if the target is constant, or an answer is not finite.
    """
    blocks = build_blocks(subject)
    errors = subject.scores[:, 0] - subject.labels
    were = subject.reference_scores[:, 0] - subject.labels
    if not np.isfinite(subject.labels).all():
        raise NotApplicable("some labels are not finite")
    if subject.labels.min() == subject.labels.max():
        raise NotApplicable(f"all {blocks.n_rows} labels are {subject.labels[0]:g}: R squared is undefined")
    return [
        *_rmse(errors, were, blocks),
        mean_measurement("mae", np.abs(errors), blocks, _NON_NEGATIVE),
        mean_measurement("mae.drop", np.abs(errors) - np.abs(were), blocks, UNBOUNDED),
        mean_measurement("mean_error", errors, blocks, UNBOUNDED),
        *_r2(errors, were, subject.labels, blocks),
    ]


def _rmse(errors: Floats, were: Floats, blocks: Blocks) -> list[Measurement]:
    squares, before = np.square(errors), np.square(were)
    value, reference = np.sqrt(blocks.mean(squares)), np.sqrt(blocks.mean(before))
    without, reference_without = (
        np.sqrt(leave_one_out_mean(blocks.per_block(values), blocks.rows)) for values in (squares, before)
    )
    return [
        jackknife_interval("rmse", float(value), without, _sample(blocks, _NON_NEGATIVE)),
        jackknife_interval(
            "rmse.drop", float(value - reference), without - reference_without, _sample(blocks, UNBOUNDED)
        ),
    ]


def _r2(errors: Floats, were: Floats, labels: Floats, blocks: Blocks) -> list[Measurement]:
    """Measure R squared, each leave-one-out value with the variance of its own rows."""
    total, without = _variances(labels, blocks)
    found, lost = [], []
    for squared in (np.square(errors), np.square(were)):
        lost.append(1 - blocks.mean(squared) / total)
        found.append(1 - leave_one_out_mean(blocks.per_block(squared), blocks.rows) / without)
    return [
        jackknife_interval("r2", lost[0], found[0], _sample(blocks, (UNBOUNDED[0], 1.0))),
        jackknife_interval("r2.drop", lost[1] - lost[0], found[1] - found[0], _sample(blocks, UNBOUNDED)),
    ]


def _variances(labels: Floats, blocks: Blocks) -> tuple[float, Floats]:
    """Return the variance of labels (n,), and its leave-one-block-out values (n_blocks,), NaN where it is 0."""
    centred = labels - blocks.mean(labels)
    means, squares = (
        leave_one_out_mean(blocks.per_block(values), blocks.rows) for values in (centred, np.square(centred))
    )
    without = squares - np.square(means)
    return blocks.mean(np.square(centred)), np.where(without > 0, without, np.nan)


def _sample(blocks: Blocks, bounds: tuple[float, float]) -> Sample:
    return Sample(n_rows=blocks.n_rows, n_groups=blocks.n_groups, bounds=bounds)
