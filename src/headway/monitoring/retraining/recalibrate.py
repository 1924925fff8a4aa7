"""Rolling recalibration: a repair of probabilities from the last labelled groups, refitted as labels arrive.

Only rows that the model was not trained on, with labels at hand, may be given; a day's labels a day late. A shift of
the log-odds is pulled to 0 by a ridge: it is expected to be around SPREAD in size (odds change by a factor of 1.6), and
labels count for as much as they vary by group, not as independent rows (their design effect, Kish 1965).
"""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from headway.core.calibrator import Calibrator
from headway.core.errors import DataError
from headway.evaluation.calibration.choose import FITS, best
from headway.evaluation.statistics.tables import Floats, Ints, tally

SPREAD = 0.5
FEWEST_GROUPS = 7
_SMALLEST = 1e-6
_STEPS = 50
_ENOUGH = 1e-10


def recalibrate(scores: Floats, labels: Floats, groups: Ints, *, days: int = 28, by: str = "shift") -> Calibrator:
    """The calibrator from the last `days` groups: scores in [0, 1] and labels {0, 1}, float64 [n], groups int64 [n].

    It is fitted `by` the name of a repair, or by `best`, the one that helps most on the later half. Below 7 groups it
    changes nothing. Raises DataError where lengths differ, or scores and labels are not what they should be.
    """
    _expect(scores, labels, groups)
    numbers = np.unique(groups)[-days:]
    if len(numbers) < FEWEST_GROUPS:
        return Calibrator()
    recent = groups >= numbers[0]
    scores, labels, codes = scores[recent], labels[recent], np.searchsorted(numbers, groups[recent])
    found = best(scores, labels, codes, _FITS) if by == "best" else _FITS[by](scores, labels, codes)
    return replace(found, n_rows=len(scores), n_groups=len(numbers))


def _shifted(scores: Floats, labels: Floats, groups: Ints) -> Calibrator:
    """The likeliest shift b of log-odds(score) + b, with ridge design effect / SPREAD^2."""
    odds, codes = _log_odds(scores), np.unique(groups, return_inverse=True)[1]
    free = _shift(odds, labels, ridge=0.0)
    ridge = _design_effect(odds + free, labels, codes) / SPREAD**2
    return Calibrator(shift=_shift(odds, labels, ridge=ridge))


def _expect(scores: Floats, labels: Floats, groups: Ints) -> None:
    if not len(scores) == len(labels) == len(groups):
        raise DataError(f"{len(scores)} scores, {len(labels)} labels, {len(groups)} groups", hint="one of each a row")
    if len(scores) and not (np.isin(labels, (0.0, 1.0)).all() and ((scores >= 0) & (scores <= 1)).all()):
        raise DataError("labels must be 0 or 1, scores in [0, 1]")


def _log_odds(scores: Floats) -> Floats:
    inside = np.clip(scores, _SMALLEST, 1 - _SMALLEST)
    odds: Floats = np.log(inside / (1 - inside))
    return odds


def _shift(odds: Floats, labels: Floats, *, ridge: float) -> float:
    """Newton's method on log likelihood - ridge b^2 / 2, in steps of at most 1: with one class only it still ends."""
    shift = 0.0
    for _ in range(_STEPS):
        rates = 1 / (1 + np.exp(-(odds + shift)))
        slope = float((labels - rates).sum()) - ridge * shift
        curve = float((rates * (1 - rates)).sum()) + ridge + _ENOUGH
        step = min(max(slope / curve, -1.0), 1.0)
        shift += step
        if abs(step) < _ENOUGH:
            break
    return shift


def _design_effect(odds: Floats, labels: Floats, codes: Ints) -> float:
    """How much more the sum of (label - rate) varies by group than if rows were independent, at least 1."""
    rates = 1 / (1 + np.exp(-odds))
    by_group = tally(codes, int(codes.max()) + 1, labels - rates)
    count = len(by_group)
    return max(1.0, float(np.square(by_group).sum() * count / (count - 1) / max((rates * (1 - rates)).sum(), _ENOUGH)))


_FITS = {"shift": _shifted, **FITS}
