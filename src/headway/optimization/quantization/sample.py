"""Rows of the sample to calibrate on: spread over it, those with the extremes of a column too, for ranges to hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import Engine
from headway.core.errors import NotApplicable

Floats = NDArray[np.float64]

_MAX_ROWS, _MIN_ROWS = 5_000, 32
_WORK = 5_000_000_000  # multiplications: half a second of one core
_MAX_COLUMNS = 256


def calibration_rows(sample: Floats, work: int) -> Floats:
    """At most 5,000 rows, in order, and fewer the more multiplications a row costs (`work`).

    Of a table of up to 256 columns the rows with the least and the greatest value of each are among them.
    """
    most = min(max(_WORK // max(work, 1), _MIN_ROWS), _MAX_ROWS)
    if len(sample) <= most:
        return sample
    places = np.linspace(0, len(sample) - 1, most).astype(np.int64)
    if sample.shape[1] <= min(_MAX_COLUMNS, most // 4):
        places = np.union1d(places, _extremes(sample))
    return sample[places]


def rows_with_answers(engine: Engine, rows: Floats) -> tuple[Floats, Floats]:
    """The rows that a model answers with numbers, and these answers: float64 [m, d] and [m, k].

    Others would make a range of no numbers. Raises NotApplicable where there is no such row.
    """
    answers = engine.predict(rows) if len(rows) else np.zeros((0, 1))
    known = np.isfinite(answers).all(axis=1)
    if not known.any():
        raise NotApplicable("int8 is calibrated on rows that have an answer, and the sample has none")
    return rows[known], answers[known]


def _extremes(sample: Floats) -> NDArray[np.int64]:
    finite = np.isfinite(sample)
    least = np.where(finite, sample, np.inf).argmin(axis=0)
    greatest = np.where(finite, sample, -np.inf).argmax(axis=0)
    return np.concatenate([least, greatest])
