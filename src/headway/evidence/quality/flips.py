"""The decisions in which a classifier turned from the model as it came."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import Subject
from headway.evidence.intervals import SHARE, Floats
from headway.evidence.parts import Asked
from headway.evidence.tables import Blocks


def flips(subject: Subject, blocks: Blocks) -> Asked:
    """`flipped_decisions` as it is asked of any part: 1 where the decision is another, else 0.

    A decision is the one at the threshold, or the most probable of several classes.
    """
    turned = _decided(subject, subject.scores) != _decided(subject, subject.reference_scores)
    every = np.ones(blocks.n_rows, dtype=np.bool_)
    return Asked(name="flipped_decisions", values=turned.astype(np.float64), among=every, bounds=SHARE, blocks=blocks)


def _decided(subject: Subject, scores: Floats) -> NDArray[np.int64]:
    if scores.shape[1] == 1:
        return (scores[:, 0] >= subject.threshold).astype(np.int64)
    return np.asarray(np.argmax(scores, axis=1), dtype=np.int64)
