"""`hw.learning_curve`: rows held out as the user has them, one word in a callback, a sentence at the end."""

from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd
import pytest
from tests.pipeline.projects import write

import headway as hw
from headway.core.training import LearningCurve, Reading
from headway.reporting.text import curves

pytestmark = pytest.mark.slow
DRAW = np.random.default_rng(0)
X = pd.DataFrame(DRAW.normal(size=(600, 4)), columns=list("abcd"))
LATE = np.where(X["a"] + DRAW.normal(size=600) > 0, "late", "in time")
DAYS = np.arange(300) // 10


def learned(**options: object) -> object:
    """The curve of a model that learns far too long from the first half."""
    curve = hw.learning_curve(X[300:], LATE[300:], groups=DAYS, training_data=(X[:300], LATE[:300]), **options)
    model = lightgbm.LGBMClassifier(n_estimators=150, min_child_samples=5, verbose=-1, n_jobs=1)
    model.fit(X[:300], LATE[:300], callbacks=[curve.lightgbm])
    return curve


def test_a_model_trained_too_long_is_reported_as_overfitting(tmp_path):
    curve = learned()
    assert str(curve).startswith(
        "Overfitting: the held-out error has increased since round"
    ) and "evaluations took" in str(curve)
    html = curve._repr_html_()
    assert "Learning curve" in html and 'alt="' in html and "by round" in html and "data:image/svg+xml" in html
    digest = curve.save(write(tmp_path))
    assert digest.startswith("sha256:") and curve.record().held_out != curve.record().learned


def test_every_nth_round_is_evaluated_with_sample_weights():
    found = learned(every=50, sample_weight=np.linspace(1, 2, 300)).record()
    assert [round_.number for round_ in found.rounds] == [50, 100, 150]


def test_a_regression_records_the_squared_error():
    curve = hw.learning_curve(X[300:], X["a"][300:])
    lightgbm.LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=1).fit(X[:300], X["a"][:300], callbacks=[curve.lightgbm])
    assert curve.record().error == "mse" and curve.record().learned == ""


def test_an_unknown_option_of_a_learning_curve_is_rejected():
    with pytest.raises(TypeError, match="unexpected keyword argument 'group'"):
        hw.learning_curve(X, LATE, group=DAYS)


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (
            Reading(answer="flat", since=120),
            "flat since round 120 (stopping there is shown to cost less than 1 % of it)",
        ),
        (
            Reading(answer="learning", since=80, low=-0.03, high=-0.01),
            "until the last round, by 0.010 to 0.030 (log loss). More",
        ),
        (
            Reading(answer="memorises", since=40, low=0.01, high=0.03),
            "by 0.010 to 0.030 (log loss), while the training error decreased. Stop near",
        ),
        (
            Reading(answer="worsens", since=40, low=0.01, high=0.03),
            "Too many rounds: the held-out error has increased since round 40",
        ),
        (Reading(answer="undecided", since=40, low=-0.01, high=0.03), "changed by -0.010 to 0.030"),
        (
            Reading(answer="undecided", why="12 groups are too few: 20 at least"),
            "whether more rounds would help: 12 groups",
        ),
        (Reading(answer="not drawn", why="answers are not finite"), "No learning curve was drawn: answers are not"),
    ],
)
def test_each_conclusion_has_its_sentence(reading, message):
    curve = LearningCurve(
        library="lightgbm", error="log_loss", rounds=(), reading=reading, held_out="sha256:0", seconds=1.0, spent=0.1
    )
    assert message in curves.describe_curve(curve)
