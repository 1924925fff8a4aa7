"""Custom code before or around a known model is named and kept, and the inner model is extracted and replaced."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from tests.engines.estimators import encoded, fitted, frame, logistic, target

from headway.core.errors import EngineError
from headway.optimization.importers.custom_python import CustomModel, custom_code_refused, split_custom_code
from headway.optimization.importers.models import import_fitted_model

pytestmark = pytest.mark.slow

HERE = __name__


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(age=table["age"] // 10)


class Ratio(TransformerMixin, BaseEstimator):
    """A transformer of a project."""

    def fit(self, table: pd.DataFrame, labels: object = None) -> Ratio:
        self.mean_ = table["age"].mean()
        return self

    def transform(self, table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(age=table["age"] / self.mean_)


class Careful:
    """A wrapper with Python before and after the model that it holds."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def predict_proba(self, table: pd.DataFrame) -> np.ndarray:
        return np.clip(self.model.predict_proba(rounded(table)), 0.05, 0.95)


class Constant:
    """A drop-in that answers one number."""

    def predict_proba(self, rows: Any) -> np.ndarray:
        return np.full((len(rows), 2), 0.5)


def booster() -> lightgbm.LGBMClassifier:
    return lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1)


def parted(model: Any) -> CustomModel:
    found = split_custom_code(model)
    assert found is not None
    return found


@pytest.mark.parametrize("step", [FunctionTransformer(rounded), Ratio(), FunctionTransformer(lambda table: table)])
def test_the_first_steps_stay_and_the_rest_of_the_pipeline_is_imported(step: Any) -> None:
    model = fitted(Pipeline([("own", step), ("encode", encoded()), ("model", LogisticRegression())]))
    native = parted(model)
    assert native.parts[0].startswith("steps['own']") and HERE in native.parts[0]
    assert import_fitted_model(native.model).engine == "sklearn" and len(native.model.steps) == 2
    rebuilt = native.around(native.model)
    assert np.array_equal(rebuilt.predict_proba(frame()), model.predict_proba(frame()))
    assert np.array_equal(rebuilt.predict(frame()), model.predict(frame())) and list(rebuilt.classes_) == [0, 1]


def test_a_model_directly_after_the_custom_code_is_imported_by_its_engine() -> None:
    native = parted(fitted(make_pipeline(encoded(), FunctionTransformer(lambda rows: rows), booster())))
    assert import_fitted_model(native.model).engine == "lightgbm"


def test_the_model_receives_the_rows_that_the_custom_code_makes() -> None:
    model = fitted(make_pipeline(FunctionTransformer(rounded), encoded(), LogisticRegression()))
    assert parted(model).rows(frame()).equals(rounded(frame()))


def test_a_model_inside_an_object_is_extracted_and_replaced() -> None:
    careful = Careful(logistic())
    native = parted(careful)
    assert native.model is careful.model and native.parts == (f"{HERE}.Careful",)
    assert native.rows(frame()).equals(rounded(frame()))
    assert np.array_equal(native.around(Constant()).predict_proba(frame()), np.full((400, 2), 0.5))
    assert careful.model is logistic()


def test_an_object_at_the_end_of_a_pipeline_is_split_as_well() -> None:
    class Last(Careful, BaseEstimator):
        def fit(self, rows: Any, labels: Any) -> Last:
            self.fitted_ = True
            return self

        def predict_proba(self, rows: Any) -> np.ndarray:
            return self.model.predict_proba(rows)

    inner = booster().fit(encoded().fit_transform(frame()), target(frame()))
    native = parted(fitted(make_pipeline(encoded(), Last(inner))))
    assert native.model is inner and native.rows(frame()).shape[0] == 400


def test_a_model_without_custom_code_is_not_split() -> None:
    assert split_custom_code(logistic()) is None and split_custom_code(booster()) is None


def test_a_search_is_split_at_its_best_estimator() -> None:
    pipeline = make_pipeline(FunctionTransformer(rounded), encoded(), LogisticRegression())
    search = fitted(GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1]}, cv=2))
    assert parted(search).parts == (f"steps['functiontransformer'].func: {HERE}.rounded",)


def test_an_object_without_a_known_model_inside_is_left_to_the_engines() -> None:
    assert split_custom_code(Constant()) is None
    with pytest.raises(EngineError, match=f"no engine imports a {HERE}.Constant"):
        import_fitted_model(Constant())


def test_a_model_of_an_engine_is_not_split_even_if_its_class_is_custom() -> None:
    class Mine(lightgbm.LGBMClassifier):
        pass

    assert split_custom_code(Mine()) is None


def test_custom_code_around_two_models_is_named_with_their_paths() -> None:
    both = Careful([logistic(), logistic().steps[-1][1], booster()])
    with pytest.raises(EngineError, match="around 2 models") as refusal:
        split_custom_code(both)
    assert "model[0] (sklearn.pipeline.Pipeline), model[2] (lightgbm.sklearn.LGBMClassifier)" in refusal.value.where


def test_an_object_that_calls_its_model_row_by_row_is_refused() -> None:
    class Slow(Careful):
        def predict_proba(self, table: pd.DataFrame) -> np.ndarray:
            return np.concatenate([self.model.predict_proba(table[row : row + 1]) for row in range(len(table))])

    with pytest.raises(EngineError, match=r"for 3 rows, .*Slow calls the model inside it with \[1, 1, 1\] rows"):
        parted(Slow(logistic())).rows(frame(3))


def test_an_object_that_cannot_be_copied_is_refused() -> None:
    careful = Careful(logistic())
    careful.lines = (line for line in "ab")
    with pytest.raises(EngineError, match="cannot be copied"):
        parted(careful).around(Constant())


def test_a_release_is_refused_with_the_custom_code_and_a_hint() -> None:
    refusal = custom_code_refused(parted(Careful(logistic())).parts)
    assert refusal.where == f"{HERE}.Careful" and "release the model after" in refusal.hint
