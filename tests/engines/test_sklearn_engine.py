"""The scikit-learn engine predicts as the estimator, for known and unseen strings and missing values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import polars as pl
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler, TargetEncoder
from sklearn.svm import SVC, LinearSVC
from tests.engines.boosters import table, targets
from tests.engines.estimators import (
    TEXTS,
    calibrated,
    dataset,
    encoded,
    fitted,
    frame,
    logistic,
    ordinal,
    target,
    unseen_rows,
)

from headway.core.dataset import Dataset, Roles
from headway.core.errors import DataError, EngineError, NotApplicable
from headway.data.matrix import dataset_signature, matrix
from headway.engines.sklearn import Sklearn
from headway.optimization.importers.models import import_baseline
from headway.storage.blobs.files import Files

pytestmark = pytest.mark.slow

Float = np.ndarray


def answers(model: Any, rows: pd.DataFrame, folder: Any, classes: int = 2, task: str = "binary") -> Float:
    """Return headway's predictions for a model and a table: imported, stored, opened, passed through the signature."""
    blobs = Files(folder)
    variant = import_baseline(model, dataset(learned_on(rows), task=task, classes=classes), blobs)
    engine = Sklearn(blobs.get(variant.artifact.digest), {})
    return engine.predict(matrix(dataset(rows, classes=classes).table, variant.signature))


def learned_on(rows: pd.DataFrame) -> pd.DataFrame:
    """The table of the tests, with columns of the kinds that these rows have."""
    return frame() if rows["city"].dtype == object else rows


def own(model: Any, rows: pd.DataFrame) -> Float:
    """The predictions of the estimator itself, in the shape of an engine's."""
    if not hasattr(model, "predict_proba"):
        return model.predict(rows)[:, None]
    scores = model.predict_proba(rows)
    return scores[:, 1:] if scores.shape[1] == 2 else scores


TEXT_MODELS: dict[str, Callable[[], Any]] = {
    "logistic": logistic,
    "calibrated": calibrated,
    "infrequent": lambda: fitted(
        make_pipeline(encoded("infrequent_if_exist", min_frequency=0.3), LogisticRegression())
    ),
    "target encoder": lambda: fitted(
        make_pipeline(make_column_transformer((TargetEncoder(), TEXTS), ("passthrough", ["age"])), GaussianNB())
    ),
    "imputed before, encoded after": lambda: fitted(
        make_pipeline(
            make_column_transformer((SimpleImputer(strategy="most_frequent"), [*TEXTS, "age"])),
            make_column_transformer((OneHotEncoder(handle_unknown="ignore"), [0, 1]), ("passthrough", [2])),
            LogisticRegression(max_iter=1000),
        )
    ),
    "forest": lambda: fitted(make_pipeline(ordinal(), RandomForestClassifier(5, random_state=0))),
    "boosting": lambda: fitted(make_pipeline(encoded(), GradientBoostingClassifier(n_estimators=5))),
    "histogram boosting by names": lambda: fitted(
        HistGradientBoostingClassifier(max_iter=10, categorical_features=TEXTS)
    ),
    "lightgbm": lambda: fitted(make_pipeline(encoded(), lightgbm.LGBMClassifier(n_estimators=9, verbose=-1, n_jobs=1))),
    "lightgbm in pandas": lambda: fitted(
        make_pipeline(ordinal(), lightgbm.LGBMClassifier(n_estimators=9, verbose=-1, n_jobs=1)).set_output(
            transform="pandas"
        )
    ),
    "xgboost": lambda: fitted(make_pipeline(ordinal(), xgboost.XGBClassifier(n_estimators=9, n_jobs=1))),
    "voting": lambda: fitted(
        VotingClassifier(
            [
                ("a", make_pipeline(encoded(), LogisticRegression())),
                ("b", make_pipeline(ordinal(), lightgbm.LGBMClassifier(n_estimators=9, verbose=-1, n_jobs=1))),
            ],
            voting="soft",
        )
    ),
    "stacking": lambda: fitted(
        StackingClassifier(
            [
                ("a", make_pipeline(encoded(), LogisticRegression())),
                ("b", make_pipeline(ordinal(), ExtraTreesClassifier(5, random_state=0))),
            ],
            cv=3,
        )
    ),
    "calibrated booster": lambda: fitted(
        CalibratedClassifierCV(
            make_pipeline(encoded(), lightgbm.LGBMClassifier(n_estimators=9, verbose=-1, n_jobs=1)),
            cv=3,
            method="isotonic",
        )
    ),
    "network": lambda: fitted(
        make_pipeline(encoded(), SelectKBest(k=3), MLPClassifier((4,), max_iter=900, tol=1e-2, random_state=0))
    ),
    "neighbours": lambda: fitted(make_pipeline(encoded(), StandardScaler(with_mean=False), KNeighborsClassifier())),
    "kernel": lambda: fitted(make_pipeline(encoded(), SVC())),
}


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_it_predicts_as_the_estimator_with_missing_and_unseen_strings(name: str, tmp_path: Any) -> None:
    model = TEXT_MODELS[name]()
    rows = pd.concat([frame(60, seed=3), unseen_rows()], ignore_index=True)
    expected = own(model, rows) if hasattr(model, "predict_proba") else 1 / (1 + np.exp(-model.decision_function(rows)))
    np.testing.assert_allclose(answers(model, rows, tmp_path), expected.reshape(len(rows), -1), rtol=0, atol=1e-7)


@pytest.mark.parametrize("missing", [None, np.nan])
def test_a_missing_string_is_passed_as_the_encoder_learned_it(missing: object, tmp_path: Any) -> None:
    rows = frame()
    rows["city"] = pd.Series([missing if cell != cell else cell for cell in rows["city"]], dtype=object)
    model = make_pipeline(make_column_transformer((OneHotEncoder(), ["city"])), LogisticRegression())
    model.fit(rows, target(rows))
    np.testing.assert_allclose(answers(model, rows, tmp_path), own(model, rows), rtol=0, atol=1e-12)


def test_histogram_boosting_reads_pandas_categories_as_strings(tmp_path: Any) -> None:
    rows = frame().astype({"carrier": "category", "city": "category"})
    model = HistGradientBoostingClassifier(max_iter=10).fit(rows, target(frame()))
    expected = own(model, unseen_rows().astype({"carrier": "category", "city": "category"}))
    np.testing.assert_allclose(answers(model, unseen_rows(), tmp_path), expected, rtol=0, atol=1e-12)


def test_encoded_numbers_and_booleans_stay_numbers(tmp_path: Any) -> None:
    rows = frame().assign(age=frame()["age"] // 10, city=frame()["age"] > 50)
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["age", "city"])), LogisticRegression()
    )
    model.fit(rows, target(frame()))
    np.testing.assert_allclose(answers(model, rows, tmp_path), own(model, rows), rtol=0, atol=1e-12)


def test_numbers_learned_as_objects_are_refused_with_a_hint() -> None:
    rows = frame().assign(city=pd.Series([True, False] * 200, dtype=object))
    model = make_pipeline(make_column_transformer((OneHotEncoder(), ["city"])), LogisticRegression())
    with pytest.raises(EngineError, match="OneHotEncoder learned numbers in a column of objects: False, True"):
        Sklearn.bind(
            Sklearn.import_model(model.fit(rows, target(frame()))).content, dataset_signature(dataset(frame()))
        )


NUMBER_MODELS: dict[str, Callable[[], Any]] = {
    "scaled": lambda: make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
    "histogram boosting": lambda: HistGradientBoostingClassifier(max_iter=5),
    "histogram boosting by places": lambda: HistGradientBoostingClassifier(max_iter=5, categorical_features=[0]),
    "forest": lambda: RandomForestClassifier(5, random_state=0, n_jobs=2),
    "transformed": lambda: make_pipeline(SimpleImputer(), FunctionTransformer(np.sign), LogisticRegression()),
    "columns": lambda: make_pipeline(
        make_column_transformer((SimpleImputer(), [0, 1]), remainder="drop"), LogisticRegression()
    ),
}


@pytest.mark.parametrize("name", NUMBER_MODELS)
@pytest.mark.parametrize("objective", ["binary", "multiclass"])
@pytest.mark.parametrize("named", [True, False])
def test_a_model_of_numbers_predicts_as_the_estimator(name: str, objective: str, named: bool) -> None:
    rows = table()[:, :3]
    training = pd.DataFrame(rows, columns=list("abc")) if named else rows
    model = NUMBER_MODELS[name]().fit(training, targets(table(), objective).astype(int))
    adopted = Sklearn.import_model(model)
    np.testing.assert_allclose(Sklearn(adopted.content, {}).predict(rows), own(model, training), rtol=0, atol=1e-12)
    assert adopted.width == 3 and adopted.task == objective
    assert adopted.names == (("a", "b", "c") if named else ()) and adopted.classes[:2] == ("0", "1")


@pytest.mark.parametrize("model", [Ridge(), RandomForestRegressor(5, random_state=0)])
def test_a_regressor_predicts_its_value(model: Any) -> None:
    rows = np.nan_to_num(table()[:, :3])
    adopted = Sklearn.import_model(model.fit(rows, rows[:, 2]))
    assert adopted.task == "regression" and adopted.classes == ()
    assert np.array_equal(Sklearn(adopted.content, {}).predict(rows)[:, 0], model.predict(rows))


@pytest.mark.parametrize("kind", [LinearSVC, RidgeClassifier])
@pytest.mark.parametrize("objective", ["binary", "multiclass"])
def test_a_classifier_without_probabilities_makes_the_same_decisions(kind: type, objective: str) -> None:
    rows = np.nan_to_num(table()[:, :3])
    model = kind().fit(rows, targets(table(), objective).astype(int))
    scores = Sklearn(Sklearn.import_model(model).content, {}).predict(rows)
    decided = scores[:, 0] > 0.5 if objective == "binary" else np.argmax(scores, axis=1)
    assert np.array_equal(decided, model.predict(rows)) and scores.min() >= 0 and scores.max() <= 1


def test_the_best_estimator_of_a_search_is_imported() -> None:
    search = fitted(GridSearchCV(make_pipeline(encoded(), LogisticRegression()), {"logisticregression__C": [0.1, 1]}))
    assert Sklearn.import_model(search).content == Sklearn.import_model(search.best_estimator_).content


def test_the_same_model_gives_the_same_bytes() -> None:
    assert Sklearn.import_model(logistic()).content == Sklearn.import_model(logistic()).content
    assert Sklearn.import_model(calibrated()).content == Sklearn.import_model(calibrated()).content


def test_importing_does_not_change_the_model() -> None:
    model, rows = TEXT_MODELS["lightgbm"](), frame(50)
    before = model.predict_proba(rows)
    Sklearn.import_model(model)
    assert isinstance(model[-1], lightgbm.LGBMClassifier) and np.array_equal(model.predict_proba(rows), before)


def test_the_categories_are_those_of_the_encoders_and_another_string_is_unseen(tmp_path: Any) -> None:
    few = frame().query("carrier != 'DL'")
    variant = import_baseline(logistic(), dataset(few), Files(tmp_path))
    carrier = next(field for field in variant.signature.inputs if field.name == "carrier")
    assert carrier.categories == ("AA", "DL", "UA") and carrier.unseen == "other"


def test_an_encoder_that_raises_for_unknown_categories_rejects_them_by_name(tmp_path: Any) -> None:
    model = fitted(make_pipeline(encoded("error"), LogisticRegression()))
    np.testing.assert_allclose(answers(model, frame(50), tmp_path), own(model, frame(50)), atol=1e-12)
    with pytest.raises(DataError, match="column 'carrier' holds 'ZZ'"):
        answers(model, unseen_rows(), tmp_path)


def words(cities: list[str]) -> Any:
    """A model that reads the words in a column."""
    rows = pd.DataFrame({"city": cities, "age": range(len(cities))})
    reader = make_column_transformer((TfidfVectorizer(), "city"), ("passthrough", ["age"]))
    return make_pipeline(reader, LogisticRegression()).fit(rows, rows["age"] % 2), rows


@pytest.mark.parametrize("texts", [["New York", "York", "New Haven", "Oslo"] * 10, [f"city {n}" for n in range(1_200)]])
def test_a_column_that_a_vectorizer_reads_is_a_text(tmp_path: Any, texts: list[str]) -> None:
    model, rows = words(texts)
    known = dataset_of(rows)
    blobs = Files(tmp_path)
    variant = import_baseline(model, known, blobs)
    engine = Sklearn(blobs.get(variant.artifact.digest), {})
    assert variant.signature.texts == ("city",)
    np.testing.assert_allclose(engine.predict(matrix(known.table, variant.signature)), own(model, rows), atol=1e-12)
    other = known.table.with_columns(city=pl.lit("Haven"))
    expected = own(model, rows.assign(city="Haven"))
    np.testing.assert_allclose(engine.predict(matrix(other, variant.signature)), expected, atol=1e-12)


def dataset_of(rows: pd.DataFrame) -> Dataset:
    columns = {name: rows[name].tolist() for name in rows.columns}
    return Dataset(name="cities", table=pl.DataFrame({**columns, "y": rows["age"] % 2}), roles=Roles(target="y"))


def test_a_numeric_column_where_the_model_reads_strings_is_refused_by_name(tmp_path: Any) -> None:
    numbers = frame()
    numbers["carrier"] = 1.0
    with pytest.raises(DataError, match="the model reads strings in column 'carrier', such as 'AA'"):
        import_baseline(logistic(), dataset(numbers), Files(tmp_path))


def test_custom_python_code_is_named_with_its_path() -> None:
    model = fitted(make_pipeline(encoded(), FunctionTransformer(double), LogisticRegression()))
    with pytest.raises(EngineError, match="custom Python code") as refusal:
        Sklearn.import_model(model)
    assert refusal.value.where == f"steps['functiontransformer'].func: {__name__}.double"


def double(rows: Any) -> Any:
    return rows * 2


def test_a_function_of_a_library_that_is_not_listed_is_named() -> None:
    model = make_pipeline(FunctionTransformer(np.linalg.pinv), Ridge()).fit(np.eye(3), [0, 1, 2])
    with pytest.raises(EngineError, match="custom Python code") as refusal:
        Sklearn.import_model(model)
    assert refusal.value.where == "steps['functiontransformer'].func: numpy.linalg.pinv"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LogisticRegression(), "this LogisticRegression is not fitted"),
        (StandardScaler().fit(np.eye(2)), "a StandardScaler is neither a regressor"),
        (
            VotingClassifier([("a", LogisticRegression())]).fit([[0.0], [1.0]], [0, 1]),
            "has neither predict_proba nor decision_function",
        ),
        (
            RandomForestClassifier(2).fit(np.eye(2), 2 * np.eye(2)),
            "output 0 of the RandomForestClassifier has the values 0.0, 2.0",
        ),
    ],
)
def test_anything_but_a_fitted_model_of_one_target_is_refused(model: Any, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        Sklearn.import_model(model)


def test_a_regressor_of_two_targets_is_refused_when_it_answers() -> None:
    model = Ridge().fit(np.eye(3), np.eye(3)[:, :2])
    with pytest.raises(EngineError, match=r"answers \(2,\) numbers a row"):
        Sklearn(Sklearn.import_model(model).content, {}).predict(np.eye(3))


@pytest.mark.parametrize("model", [lightgbm.LGBMClassifier(), xgboost.XGBClassifier(), "model.skops", None])
def test_a_model_of_another_library_does_not_apply(model: Any) -> None:
    with pytest.raises(NotApplicable):
        Sklearn.import_model(model)


def test_an_inner_model_that_reads_categories_is_refused_with_its_path() -> None:
    rows = frame().astype({"carrier": "category", "city": "category"})
    model = make_pipeline(FunctionTransformer(), lightgbm.LGBMClassifier(n_estimators=3, verbose=-1))
    model.fit(rows, target(rows))
    with pytest.raises(EngineError, match="the LGBMClassifier reads categorical columns") as refusal:
        Sklearn.import_model(model)
    assert refusal.value.where == "steps['lgbmclassifier']"


def test_rows_that_the_estimator_rejects_are_an_engine_error() -> None:
    engine = Sklearn(Sklearn.import_model(Ridge().fit(np.eye(3), [0, 1, 2])).content, {})
    with pytest.raises(EngineError, match="Ridge cannot answer these rows: Input X contains NaN") as refused:
        engine.predict(np.array([[0, 1, 2], [0, 1, np.nan]]))
    assert refused.value.where == "the first is in column 2 of 0 to 2" and "SimpleImputer" in refused.value.hint
    with pytest.raises(EngineError, match=r"the model reads \[n, 3\]"):
        engine.predict(np.zeros((2, 4)))


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_changes_no_answer(threads: int) -> None:
    rows = np.nan_to_num(table())
    model = RandomForestClassifier(5, random_state=0, n_jobs=-1).fit(rows, targets(table(), "binary"))
    engine = Sklearn(Sklearn.import_model(model).content, {"threads": threads})
    assert np.array_equal(engine.predict(rows), own(model, rows)) and engine._model.n_jobs == threads


@pytest.mark.parametrize("settings", [{"threads": -1}, {"threads": True}, {"spin": 1}])
def test_an_invalid_setting_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="setting"):
        Sklearn(Sklearn.import_model(logistic()).content, settings)
