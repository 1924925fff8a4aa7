"""Rows that the model was trained on teach students, and choose and judge nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import headway as hw
from headway.api.in_memory_project import create_project
from headway.api.refit import refit_of
from headway.core.errors import DataError, NotApplicable
from headway.optimization.transforms import distil

pytestmark = pytest.mark.slow

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(1_500, 3))
Y = (X[:, 0] + RANDOM.normal(size=1_500) > 0).astype(int)
LEARNED = np.arange(1_500) < 700
SMALL = {"n_estimators": 3, "min_child_samples": 5, "verbose": -1}


def test_a_model_with_its_training_rows_has_students_of_refits(monkeypatch):
    monkeypatch.setattr(distil, "STUDENTS", ((5, 4),))
    model = LGBMClassifier(n_estimators=60, verbose=-1, n_jobs=1).fit(X[LEARNED], Y[LEARNED])
    best = hw.optimize(
        model, X, Y, trained_on=LEARNED, transforms=["distil"], policy={"brier.drop": 0.5}, callback=lambda _: None
    )
    taught_by = {step.settings["taught_by"] for row in best.search.evaluated for step in row.variant.steps}
    assert taught_by == {"out_of_fold", "labels"}
    assert best.search.winner.evidence.find("brier").n_rows == 400


def test_the_rows_are_split_from_those_that_judge():
    model = LogisticRegression().fit(X[LEARNED], Y[LEARNED])
    memory = create_project(model, X, Y, groups=np.arange(1_500) // 10, trained_on=LEARNED)
    data = memory.halves()
    assert [len(data[name].table) for name in ("train", "validation", "test")] == [700, 400, 400]
    assert np.array_equal(data["train"].table[:, :3].to_numpy(), X[LEARNED])
    assert "train" not in create_project(model, X, Y).halves()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            {"trained_on": np.arange(1_500)},
            r"expected True or False for each of 1,500 rows, met int64 of shape \(1500,\)",
        ),
        ({"trained_on": LEARNED[1:]}, r"met bool of shape \(1499,\)"),
        ({"trained_on": LEARNED | True}, "none is left to judge"),
        ({"trained_on": LEARNED, "groups": np.arange(1_500) // 11}, "1 groups have rows that the model was trained on"),
    ],
)
def test_marks_that_do_not_fit_the_rows_are_refused(settings, why):
    model = LogisticRegression().fit(X[LEARNED], Y[LEARNED])
    with pytest.raises(DataError, match=why):
        create_project(model, X, Y, **settings)


def test_a_booster_is_fitted_again_on_the_rows_of_other_folds():
    chosen, answered = np.arange(0, 700, 2), np.arange(1, 700, 2)
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    model = make_pipeline(StandardScaler(), LGBMClassifier(**SMALL)).fit(table[LEARNED], Y[LEARNED])
    refit = refit_of(model, table, Y, LEARNED)
    again = make_pipeline(StandardScaler(), LGBMClassifier(**SMALL)).fit(table.iloc[chosen], Y[chosen])
    assert np.array_equal(refit(chosen, answered), again.predict_proba(table.iloc[answered])[:, 1:])
    number = LGBMRegressor(**SMALL).fit(X[LEARNED], X[LEARNED, 0])
    assert refit_of(number, X, X[:, 0], LEARNED)(chosen, answered).shape == (350, 1)
    with pytest.raises(NotApplicable, match="LGBMRegressor cannot be fitted again"):
        refit_of(number, X, np.full(1_500, np.nan), LEARNED)(chosen, answered)


@pytest.mark.parametrize(
    "model",
    [
        "model.txt",
        LogisticRegression(),
        LGBMClassifier(early_stopping_rounds=5),
        make_pipeline(FrozenEstimator(StandardScaler()), LGBMClassifier()),
    ],
    ids=["file", "scikit-learn", "stopped early", "frozen"],
)
def test_other_models_are_not_fitted_again_here(model):
    assert refit_of(model, X, Y, LEARNED) is None
