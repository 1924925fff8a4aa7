"""Each library records its curve by its own callback, and the trained model is not changed by it."""

from __future__ import annotations

from collections.abc import Callable

import catboost
import lightgbm
import numpy as np
import polars as pl
import pytest
import xgboost
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingRegressor, HistGradientBoostingClassifier
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from sklearn.neural_network import MLPClassifier

from headway.core.training import LearningCurve
from headway.evaluation.learning_curves.curve import Curve
from headway.evaluation.learning_curves.data import build_curve_data

pytestmark = pytest.mark.slow
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(600, 4))
Y = (X[:, 0] + DRAW.normal(size=600) > 0).astype(np.float64)
GROUPS = np.arange(300) // 10
QUIET = {"verbose": -1, "n_jobs": 1}


def begun(rows: np.ndarray | pl.DataFrame = X, labels: np.ndarray = Y, task: str = "binary") -> Curve:
    """Return a curve over the second half of the rows, in 30 groups, with the first half as training rows."""
    return Curve(
        build_curve_data(rows[300:], labels[300:], GROUPS, task=task),
        build_curve_data(rows[:300], labels[:300], None, task=task),
    )


def by_lightgbm(curve: Curve) -> object:
    return lightgbm.LGBMClassifier(n_estimators=20, **QUIET).fit(X[:300], Y[:300], callbacks=[curve.lightgbm])


def by_xgboost(curve: Curve) -> object:
    return xgboost.XGBClassifier(n_estimators=20, n_jobs=1, callbacks=[curve.xgboost]).fit(X[:300], Y[:300])


def by_catboost(curve: Curve) -> object:
    model = catboost.CatBoostClassifier(iterations=20, thread_count=1, verbose=0, allow_writing_files=False)
    model.fit(X[:300], Y[:300], callbacks=[curve.catboost])
    curve.catboost(model)
    return model


def by_stages(curve: Curve) -> object:
    model = HistGradientBoostingClassifier(max_iter=20).fit(X[:300], Y[:300])
    curve.sklearn(model)
    return model


def by_warm_start(curve: Curve) -> object:
    model = ExtraTreesClassifier(warm_start=True, min_samples_leaf=20, random_state=0)
    for trees in (1, 5, 20):
        curve.sklearn(model.set_params(n_estimators=trees).fit(X[:300], Y[:300]))
    return model


def by_partial_fit(curve: Curve) -> object:
    model = MLPClassifier(hidden_layer_sizes=(4,), random_state=0)
    for _ in range(5):
        curve.sklearn(model.partial_fit(X[:300], Y[:300], classes=[0.0, 1.0]))
    return model


@pytest.mark.parametrize(
    ("train", "n_rounds", "last"),
    [
        (by_lightgbm, 13, 20),
        (by_xgboost, 13, 20),
        (by_catboost, 13, 20),
        (by_stages, 13, 20),
        (by_warm_start, 3, 3),
        (by_partial_fit, 5, 5),
    ],
)
def test_the_last_round_is_the_finished_model(train: Callable[[Curve], object], n_rounds: int, last: int) -> None:
    curve = begun()
    scores = train(curve).predict_proba(X[300:])[:, 1]  # type: ignore[attr-defined]
    found = curve.record()
    ends = {measurement.name: measurement for measurement in found.rounds[-1].held_out}
    assert (len(found.rounds), found.rounds[-1].number) == (n_rounds, last)
    for name, oracle in (("log_loss", log_loss), ("brier", brier_score_loss), ("roc_auc", roc_auc_score)):
        assert ends[name].value == pytest.approx(oracle(Y[300:], scores), rel=1e-6)
        assert ends[name].low < ends[name].value < ends[name].high and ends[name].n_groups == 30


def timed(curve: LearningCurve) -> list[float]:
    """Return the times of the evaluations, which increase, and exclude the evaluations themselves."""
    return [round_.seconds for round_ in curve.rounds if round_.seconds is not None]


@pytest.mark.parametrize("train", [by_lightgbm, by_xgboost, by_catboost, by_partial_fit])
def test_training_seconds_exclude_the_evaluations(train: Callable[[Curve], object]) -> None:
    curve = begun()
    train(curve)
    found = curve.record()
    assert len(timed(found)) == len(found.rounds) and timed(found) == sorted(timed(found))
    assert found.seconds == timed(found)[-1] and found.spent > 0 and found.recipe.startswith("sha256:")


def test_stages_evaluated_afterwards_are_not_timed() -> None:
    curve = begun()
    by_stages(curve)
    assert timed(curve.record()) == []


def test_watching_changes_no_model() -> None:
    alone = lightgbm.LGBMClassifier(n_estimators=20, **QUIET).fit(X[:300], Y[:300])
    watched = by_lightgbm(begun())
    assert alone.booster_.model_to_string() == watched.booster_.model_to_string()  # type: ignore[attr-defined]


def test_several_classes_and_numbers_have_the_errors_of_their_tasks() -> None:
    three = np.digitize(X[:, 0], [-0.5, 0.5]).astype(np.float64)
    curve = begun(labels=three, task="multiclass")
    model = lightgbm.LGBMClassifier(n_estimators=5, **QUIET)
    model.fit(X[:300], three[:300], callbacks=[curve.lightgbm])
    end = curve.record().rounds[-1].error("log_loss")
    assert end is not None and end.value == pytest.approx(log_loss(three[300:], model.predict_proba(X[300:])))
    curve = begun(labels=X[:, 0], task="regression")
    curve.sklearn(GradientBoostingRegressor(n_estimators=5).fit(X[:300], X[:300, 0]))
    assert [measurement.name for measurement in curve.record().rounds[-1].held_out] == ["mse"]


def test_rows_of_polars_reach_each_library_as_it_reads_them() -> None:
    rows = pl.DataFrame(X, schema=list("abcd"))
    curve = begun(rows)
    by_lightgbm(curve)
    assert len(curve.record().rounds) == 13
    curve = begun(rows)
    curve.sklearn(HistGradientBoostingClassifier(max_iter=3).fit(rows[:300], Y[:300]))
    assert len(curve.record().rounds) == 3


def test_answers_that_are_not_probabilities_stop_the_evaluations_and_not_the_training() -> None:
    curve = begun()
    data = lightgbm.Dataset(X[:300], Y[:300])
    model = lightgbm.train({"objective": "regression", "verbose": -1}, data, 5, callbacks=[curve.lightgbm])
    assert model.current_iteration() == 5
    curve.evaluate(9, lambda rows: np.full(len(rows), 2.0))
    assert not curve.due(10) and curve.record().reading.answer == "not drawn"
    assert "answers from 2 to 2 are not probabilities" in curve.record().reading.why
    nothing = begun()
    assert nothing.record().reading.why == "no round was evaluated"


@pytest.mark.parametrize(
    ("answers", "why"), [(np.full(300, np.nan), "answers are not finite"), (np.ones((300, 2)), "answers for 2 classes")]
)
def test_answers_of_the_wrong_shape_are_reported(answers: np.ndarray, why: str) -> None:
    curve = Curve(build_curve_data(X[300:], np.arange(300) % 3.0, None, task="multiclass"))
    curve.evaluate(1, lambda rows: answers)
    assert why in curve.record().reading.why


def test_of_many_rows_every_kth_is_evaluated() -> None:
    rows = np.zeros((50_000, 1))
    part = build_curve_data(rows, rows[:, 0], np.arange(50_000) // 500, task="regression", weights=np.ones(50_000))
    assert (len(part.rows), part.blocks.n_groups) == (16_667, 100)
