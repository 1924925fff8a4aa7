"""The repair of probabilities that helps most on later groups, which it was not fitted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from headway.core.calibrator import Calibrator
from headway.evaluation.calibration.apply import Floats, ready
from headway.evaluation.calibration.smooth import beta, platt, temperature
from headway.evaluation.calibration.tables import isotonic, venn_abers
from headway.evaluation.statistics.tables import Ints

Fit = Callable[[Floats, Floats, Ints], Calibrator]


def _of_rows(fit: Callable[[Floats, Floats], Calibrator]) -> Fit:
    return lambda scores, labels, groups: fit(scores, labels)


FITS: Mapping[str, Fit] = {fit.__name__: _of_rows(fit) for fit in (temperature, platt, beta, isotonic, venn_abers)}


def best(scores: Floats, labels: Floats, groups: Ints, fits: Mapping[str, Fit] = FITS) -> Calibrator:
    """Of the fits, and of no repair, the one of least Brier score on the later half, fitted anew on all.

    Scores in [0, 1] and labels {0, 1}, float64 [n]; groups int64 [n], in order of time. The simplest comes first and
    stays where another is no better.
    """
    distinct = np.unique(groups)
    early = groups < distinct[len(distinct) // 2]
    if not early.any():
        return Calibrator()
    found: Fit | None = None
    least = float(np.square(scores[~early] - labels[~early]).mean())
    for fit in fits.values():
        repaired = ready(fit(scores[early], labels[early], groups[early]))(scores[~early])
        loss = float(np.square(repaired - labels[~early]).mean())
        if loss < least:
            found, least = fit, loss
    return found(scores, labels, groups) if found else Calibrator()
