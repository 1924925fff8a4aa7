"""The decisions in which a classifier, or a ranking, turned from the model as it came."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import Comparison
from headway.evaluation.quality.ranking import is_first, list_codes
from headway.evaluation.statistics.intervals import SHARE, Floats
from headway.evaluation.statistics.parts import Asked
from headway.evaluation.statistics.tables import Blocks


def flips(subject: Comparison, blocks: Blocks) -> Asked:
    """`decision_churn` as it is asked of any part: 1 where the decision is another, else 0.

    A decision is the one at the threshold, or the most probable of several classes. Of a ranking it is which row of a
    list comes first, asked of the rows that did.
    """
    own, before = (_decisions(subject, scores) for scores in (subject.scores, subject.reference_scores))
    among = before == 1 if subject.variant.task == "ranking" else np.ones(blocks.n_rows, dtype=np.bool_)
    turned = (own != before).astype(np.float64)
    return Asked(name="decision_churn", values=turned, among=among, bounds=SHARE, blocks=blocks)


def _decisions(subject: Comparison, scores: Floats) -> NDArray[np.int64]:
    if subject.variant.task == "ranking":
        return is_first(scores[:, 0], list_codes(subject)).astype(np.int64)
    return decided(scores, subject.threshold)


def decided(scores: Floats, threshold: float) -> NDArray[np.int64]:
    """The decisions of a classifier by its scores [n, k]: 1 from the threshold on, or the most probable class.

    >>> decided(np.array([[0.2], [0.5]]), 0.5).tolist(), decided(np.array([[0.2, 0.8]]), 0.5).tolist()
    ([0, 1], [1])
    """
    if scores.shape[1] == 1:
        return (scores[:, 0] >= threshold).astype(np.int64)
    return np.asarray(np.argmax(scores, axis=1), dtype=np.int64)
