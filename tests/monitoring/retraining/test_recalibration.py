"""Rolling recalibration: a shift that is found, pulled to 0 as groups are few or restless, and keeps the order."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.calibrator import Calibrator
from headway.core.errors import DataError
from headway.evaluation.calibration.apply import calibration_function
from headway.monitoring.retraining.recalibration import fit_rolling_calibrator


def labelled(seed: int = 0, *, shift: float = 0.0, count: int = 28, rows: int = 300, swing: float = 0.0):
    """Scores, labels and days; the truth is the score's log-odds + shift + swing of the day."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(count), rows)
    odds = rng.normal(-1, 1, len(day))
    late = rng.random(len(day)) < 1 / (1 + np.exp(-(odds + shift + swing * rng.normal(size=count)[day])))
    return 1 / (1 + np.exp(-odds)), late.astype(np.float64), day


@pytest.mark.parametrize("shift", [-1.0, 0.0, 0.7])
def test_a_shift_of_the_base_rate_is_found(shift):
    found = fit_rolling_calibrator(*labelled(shift=shift))
    assert found.shift == pytest.approx(shift, abs=0.12)
    assert (found.n_rows, found.n_groups) == (8400, 28)


def test_the_calibrated_scores_agree_with_the_labels_on_average():
    scores, labels, day = labelled(shift=-0.8)
    assert calibration_function(fit_rolling_calibrator(scores, labels, day))(scores).mean() == pytest.approx(
        labels.mean(), abs=0.01
    )


def test_days_with_varying_rates_shift_less_than_stable_ones():
    calm, restless = (abs(fit_rolling_calibrator(*labelled(3, shift=1.0, swing=swing)).shift) for swing in (0.0, 3.0))
    assert restless < calm


def test_only_the_last_groups_count():
    scores, labels, day = labelled(shift=0.5, count=60)
    old = day < 32
    labels[old] = 0.0
    assert fit_rolling_calibrator(scores, labels, day) == fit_rolling_calibrator(scores[~old], labels[~old], day[~old])


def test_below_seven_groups_the_calibrator_is_the_identity():
    assert fit_rolling_calibrator(*labelled(shift=1.0, count=6)) == Calibrator()
    assert fit_rolling_calibrator(np.empty(0), np.empty(0), np.empty(0, np.int64)) == Calibrator()


def test_a_single_class_gives_a_finite_shift():
    scores, labels, day = labelled()
    assert -10 < fit_rolling_calibrator(scores, np.zeros_like(labels), day).shift < -1


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [([0.5], [0.0, 1.0], "1 scores, 2 labels"), ([0.5], [2.0], "0 or 1"), ([1.5], [1.0], "0 or 1")],
)
def test_invalid_scores_or_labels_are_rejected(scores, labels, message):
    with pytest.raises(DataError, match=message):
        fit_rolling_calibrator(np.array(scores), np.array(labels), np.zeros(1, np.int64))


def test_the_best_or_a_named_calibrator_is_fitted_on_the_same_groups():
    scores, labels, day = labelled(shift=1.0)
    assert fit_rolling_calibrator(scores, labels, day, by="isotonic").kind == "isotonic"
    found = fit_rolling_calibrator(scores, labels, day, by="best")
    assert (found.n_rows, found.n_groups) == (8400, 28)
    assert calibration_function(found)(scores).mean() == pytest.approx(labels.mean(), abs=0.02)
