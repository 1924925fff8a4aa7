"""How far single answers moved from the model as it came: the largest change, and the decisions that flipped."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from headway.core.contracts import Subject
from headway.core.evidence import Measurement
from headway.evidence.intervals import SHARE, Floats, fact
from headway.evidence.quality.mean import mean
from headway.evidence.tables import blocks_of


def plugin(subject: Subject) -> list[Measurement]:
    """`max_change` over all rows and over rows with a missing value; `flipped_decisions` of a classifier.

    A change is that of a probability, or of the number that a regression answers; `max_change.relative` is it as a part
    of the largest answer. A decision is the one at the threshold, or the most probable of several classes; of several
    numbers `cosine.loss` is what the least cosine of a row's answer and that of the model as it came lacks of 1.
    """
    blocks = blocks_of(subject)
    changes = np.abs(subject.scores - subject.reference_scores).max(axis=1)
    found = [fact("max_change", float(changes.max()), n_rows=blocks.n_rows, method="largest over all rows")]
    if subject.variant.task == "regression":
        found.append(_relative(changes, subject.reference_scores))
    else:
        flipped = _decided(subject, subject.scores) != _decided(subject, subject.reference_scores)
        found.append(mean("flipped_decisions", flipped.astype(np.float64), blocks, SHARE))
    if subject.scores.shape[1] > 1:
        found.append(_turned(subject.scores, subject.reference_scores))
    missing = np.isnan(subject.rows).any(axis=1)
    if missing.any():
        largest = fact(
            "max_change", float(changes[missing].max()), n_rows=int(missing.sum()), method="largest of these"
        )
        found.append(replace(largest, slice="rows with a missing value"))
    return found


def _decided(subject: Subject, scores: Floats) -> NDArray[np.int64]:
    if scores.shape[1] == 1:
        return (scores[:, 0] >= subject.threshold).astype(np.int64)
    return np.asarray(np.argmax(scores, axis=1), dtype=np.int64)


def _turned(scores: Floats, reference: Floats) -> Measurement:
    lengths = np.linalg.norm(scores, axis=1) * np.linalg.norm(reference, axis=1)
    cosines = np.where(lengths > 0, (scores * reference).sum(axis=1) / np.where(lengths > 0, lengths, 1.0), 1.0)
    value = max(0.0, 1.0 - float(cosines.min()))
    return fact("cosine.loss", value, n_rows=len(cosines), method="1 less the least cosine of two answers")


def _relative(changes: Floats, reference: Floats) -> Measurement:
    largest = float(np.abs(reference).max())
    value = float(changes.max()) / largest if largest else float(changes.max())
    return fact("max_change.relative", value, n_rows=len(changes), method="largest change over largest answer")
