"""A model of another library inside an estimator predicts the same through the engine of its library."""

from __future__ import annotations

from typing import Any

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import Birch
from sklearn.linear_model import Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.engines.boosters import table, targets

from headway.core.errors import EngineError
from headway.engines.estimators.inner import InnerClassifier, wrap_inner_models
from headway.engines.sklearn import Sklearn

pytestmark = pytest.mark.slow

ROWS = np.nan_to_num(table()[:, :3])
QUIET = {"n_estimators": 5, "n_jobs": 1}


def answered(model: Any) -> np.ndarray:
    return Sklearn(Sklearn.import_model(model).content, {}).predict(ROWS)


REGRESSORS = [
    lightgbm.LGBMRegressor(verbose=-1, **QUIET),
    xgboost.XGBRegressor(**QUIET),
    catboost.CatBoostRegressor(iterations=5, verbose=0, thread_count=1, allow_writing_files=False),
]


@pytest.mark.parametrize("model", REGRESSORS, ids=lambda model: type(model).__name__)
def test_a_regressor_after_sparse_columns_predicts_the_same(model: Any) -> None:
    columns = make_union(OneHotEncoder(handle_unknown="ignore"), StandardScaler())
    pipeline = make_pipeline(columns, model).fit(ROWS, ROWS[:, 2])
    np.testing.assert_allclose(answered(pipeline)[:, 0], pipeline.predict(ROWS), rtol=0, atol=1e-6)


CLASSIFIERS = [
    lightgbm.LGBMClassifier(verbose=-1, **QUIET),
    xgboost.XGBClassifier(**QUIET),
    catboost.CatBoostClassifier(iterations=5, verbose=0, thread_count=1, allow_writing_files=False),
]


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("objective", ["binary", "multiclass"])
def test_a_calibrated_classifier_receives_the_margins_that_it_was_calibrated_on(model: Any, objective: str) -> None:
    calibrated = CalibratedClassifierCV(model, cv=2).fit(ROWS, targets(table(), objective).astype(int))
    expected = calibrated.predict_proba(ROWS)
    np.testing.assert_allclose(answered(calibrated), expected[:, -answered(calibrated).shape[1] :], atol=1e-6)


def test_the_most_probable_class_equals_that_of_the_model() -> None:
    labels = np.array(["no", "so", "yes"])[targets(table(), "multiclass").astype(int)]
    model = make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(verbose=-1, **QUIET)).fit(ROWS, labels)
    assert np.array_equal(wrap_inner_models(model).predict(ROWS), model.predict(ROWS))


def test_one_vs_rest_has_a_model_for_each_class() -> None:
    model = OneVsRestClassifier(lightgbm.LGBMClassifier(verbose=-1, **QUIET))
    model.fit(ROWS, targets(table(), "multiclass").astype(int))
    np.testing.assert_allclose(answered(model), model.predict_proba(ROWS), rtol=0, atol=1e-12)


def test_it_cannot_be_refitted() -> None:
    with pytest.raises(EngineError, match="a model of lightgbm inside another cannot be refitted"):
        InnerClassifier(engine="lightgbm").fit(ROWS)


def test_margins_that_cannot_be_computed_are_refused() -> None:
    class Margins(xgboost.XGBClassifier):
        __module__ = "xgboost.sklearn"

        def decision_function(self, rows: np.ndarray) -> np.ndarray:
            return self.predict(rows, output_margin=True)

    model = make_pipeline(StandardScaler(), Margins(**QUIET)).fit(ROWS, targets(table(), "binary").astype(int))
    with pytest.raises(EngineError, match="the margins of a Margins inside another model cannot be computed"):
        Sklearn.import_model(model)


def test_an_estimator_that_skops_cannot_store_is_named() -> None:
    model = make_pipeline(Birch(n_clusters=2), Ridge()).fit(np.eye(3), [0, 1, 2])
    with pytest.raises(EngineError, match=r"cannot be stored as data: Objects of type Birch"):
        Sklearn.import_model(model)


def test_a_booster_inside_keeps_the_threads_of_its_user_and_takes_others() -> None:
    model = make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(verbose=-1, **QUIET))
    wrapped = wrap_inner_models(model.fit(ROWS, targets(table(), "binary").astype(int)))
    inner = wrapped.steps[-1][1]
    assert inner.threads == 1 and inner._engine()._threads == {"num_threads": 1}
    inner.set_threads(2)
    assert inner._engine()._threads == {"num_threads": 2}
