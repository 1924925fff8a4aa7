"""How far the numbers of a regression lie from what came true, and what was lost to the model as it came."""

from __future__ import annotations

import numpy as np

from headway.core.contracts import Comparison
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.quality.mean import mean
from headway.evaluation.statistics.intervals import ANY, Floats, Sample, jackknife
from headway.evaluation.statistics.tables import Blocks, blocks_of, mean_without_each

_SIZE = (0.0, ANY[1])


def measure(subject: Comparison) -> list[Measurement]:
    """`rmse`, `mae` in units of the target, `r2`, and paired `.drop` of each (positive = the variant is worse).

    Beside them `mean_error`: how much more is said than comes true.

    Raises NotApplicable where the target is constant, or an answer is no number.
    """
    blocks = blocks_of(subject)
    errors = subject.scores[:, 0] - subject.labels
    were = subject.reference_scores[:, 0] - subject.labels
    if not np.isfinite(subject.labels).all():
        raise NotApplicable("some labels are no numbers")
    if subject.labels.min() == subject.labels.max():
        raise NotApplicable(f"all {blocks.n_rows} labels are {subject.labels[0]:g}: there is nothing to explain")
    return [
        *_roots(errors, were, blocks),
        mean("mae", np.abs(errors), blocks, _SIZE),
        mean("mae.drop", np.abs(errors) - np.abs(were), blocks, ANY),
        mean("mean_error", errors, blocks, ANY),
        *_explained(errors, were, subject.labels, blocks),
    ]


def _roots(errors: Floats, were: Floats, blocks: Blocks) -> list[Measurement]:
    squares, before = np.square(errors), np.square(were)
    value, reference = np.sqrt(blocks.mean(squares)), np.sqrt(blocks.mean(before))
    without, reference_without = (
        np.sqrt(mean_without_each(blocks.per_block(each), blocks.rows)) for each in (squares, before)
    )
    return [
        jackknife("rmse", float(value), without, _sample(blocks, _SIZE)),
        jackknife("rmse.drop", float(value - reference), without - reference_without, _sample(blocks, ANY)),
    ]


def _explained(errors: Floats, were: Floats, labels: Floats, blocks: Blocks) -> list[Measurement]:
    """R squared, 1 - squared error over variance, each with the variance of the rows that it is taken of."""
    total, left = _variances(labels, blocks)
    found, lost = [], []
    for each in (np.square(errors), np.square(were)):
        lost.append(1 - blocks.mean(each) / total)
        found.append(1 - mean_without_each(blocks.per_block(each), blocks.rows) / left)
    return [
        jackknife("r2", lost[0], found[0], _sample(blocks, (ANY[0], 1.0))),
        jackknife("r2.drop", lost[1] - lost[0], found[1] - found[0], _sample(blocks, ANY)),
    ]


def _variances(labels: Floats, blocks: Blocks) -> tuple[float, Floats]:
    """The variance of labels [n], and with each block left out in turn [n_blocks]."""
    centred = labels - blocks.mean(labels)
    means, squares = (mean_without_each(blocks.per_block(each), blocks.rows) for each in (centred, np.square(centred)))
    return blocks.mean(np.square(centred)), np.maximum(squares - np.square(means), np.finfo(np.float64).tiny)


def _sample(blocks: Blocks, bounds: tuple[float, float]) -> Sample:
    return Sample(n_rows=blocks.n_rows, n_groups=blocks.n_groups, bounds=bounds)
