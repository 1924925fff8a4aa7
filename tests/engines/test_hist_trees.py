"""HistGradientBoosting read as a Forest predicts as the library: strings, numeric categories, missing values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from tests.engines.boosters import table, targets
from tests.engines.estimators import TEXTS, dataset, frame, target, unseen_rows
from tests.engines.forest_walk import answers
from tests.engines.forests import fitted, moved
from threadpoolctl import threadpool_limits

from headway.core.errors import EngineError, NotApplicable
from headway.core.variant import Field, Signature
from headway.data.matrix import dataset_signature, matrix
from headway.engines.formats.trees import accepted_rows
from headway.engines.sklearn import Sklearn
from headway.optimization.parity import edge_rows

pytestmark = pytest.mark.slow

Parameters = dict[str, Any]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """OpenMP threads that wait for each other on a busy machine take seconds for a tiny model."""
    with threadpool_limits(1, "openmp"):
        yield


NUMBERS: list[tuple[type, Parameters, str]] = [
    (HistGradientBoostingClassifier, {}, "binary"),
    (HistGradientBoostingClassifier, {"learning_rate": 0.5}, "multiclass"),
    (HistGradientBoostingRegressor, {}, "regression"),
    (HistGradientBoostingRegressor, {"loss": "poisson"}, "poisson"),
    (HistGradientBoostingRegressor, {"loss": "gamma"}, "gamma"),
    (HistGradientBoostingRegressor, {"loss": "quantile", "quantile": 0.3}, "regression"),
    (HistGradientBoostingRegressor, {"loss": "absolute_error", "max_leaf_nodes": 90}, "regression"),
]


def bound(model: Any, rows: pd.DataFrame) -> tuple[bytes, Signature]:
    """The bytes of a model for the columns of a table."""
    return Sklearn.bind(Sklearn.import_model(model).content, dataset_signature(dataset(rows)))


def fitted_on(rows: pd.DataFrame, classes: int = 2, **parameters: Any) -> HistGradientBoostingClassifier:
    model = HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=5, **parameters)
    return model.fit(rows, target(frame(), classes))


@pytest.mark.parametrize("categorical", [None, [0], [0, 2]], ids=str)
@pytest.mark.parametrize(("kind", "parameters", "target"), NUMBERS, ids=str)
def test_it_is_exact_with_numbers_and_with_numbers_that_are_categories(
    kind: type, parameters: Parameters, target: str, categorical: list[int] | None
) -> None:
    """Converters fail on this model, or are wrong on 89 % of rows with categories."""
    rows = table()
    rows[:, 2] = np.round(rows[:, 2])  # whole numbers, some below zero
    model = kind(max_iter=8, min_samples_leaf=5, categorical_features=categorical, **parameters)
    assert moved("sklearn", fitted(model, rows, target), rows) < 1e-14


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("dtypes", [False, True], ids=["by name", "from dtype"])
def test_strings_are_read_by_their_ranks(classes: int, dtypes: bool) -> None:
    """An importer of another library is wrong on unseen strings, and on missing values."""
    rows = frame().astype(dict.fromkeys(TEXTS, "category")) if dtypes else frame()
    content, signature = bound(
        fitted_on(rows, classes, categorical_features="from_dtype" if dtypes else TEXTS), frame()
    )
    sample = np.concatenate(
        [matrix(dataset(rows, classes=classes).table, signature) for rows in (frame(), unseen_rows())]
    )
    forest = Sklearn.forest(content)
    assert forest.categorical == [0, 2] and forest.finite_columns == ()
    assert moved("sklearn", content, sample) < 1e-14


@pytest.mark.parametrize("missing", [None, np.nan], ids=["None", "NaN"])
def test_a_missing_string_goes_where_the_encoder_put_it(missing: object) -> None:
    """None is a category, and goes where its code goes; NaN goes where missing values go."""
    rows = frame()
    rows["city"] = pd.Series([missing if cell != cell else cell for cell in rows["city"]], dtype=object)
    rows = rows[["city"]]
    score = np.array([cell != cell or cell is None or cell == "Oslo" for cell in rows["city"]])
    model = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=2, categorical_features=["city"])
    content = Sklearn.import_model(model.fit(rows, score)).content
    content, signature = Sklearn.bind(
        content, Signature(inputs=(Field(name="city", datatype="BYTES", categories=("Bern", "Lima", "Oslo", "Pune")),))
    )
    ranks = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [np.nan]])
    assert signature.inputs[0].unseen == "other"
    expected = Sklearn(content, {}).predict(ranks)
    assert expected[5] > 0.5 > expected[0]
    np.testing.assert_allclose(answers(Sklearn.forest(content), ranks), expected, rtol=0, atol=1e-15)


def test_the_ranks_of_a_wider_table_are_not_the_codes_of_the_encoder() -> None:
    """A table has strings that the model never saw, so its ranks differ from the encoder's codes."""
    model = fitted_on(frame(), categorical_features=TEXTS)
    content = Sklearn.import_model(model).content
    carriers = ("A0", "AA", "BA", "DL", "UA", "ZZ")
    inputs = (
        Field(name="carrier", datatype="BYTES", categories=carriers),
        Field(name="age"),
        Field(name="city", datatype="BYTES", categories=("Oslo", "Pune", "Bern")),
        Field(name="income"),
    )
    columns = Sklearn.bind(content, Signature(inputs=inputs))[1].inputs
    assert columns[0].categories == ("AA", "DL", "UA")
    bound = Sklearn.bind(content, Signature(inputs=inputs))[0]
    rows = matrix(dataset(unseen_rows()).table, Signature(inputs=columns))
    np.testing.assert_allclose(
        answers(Sklearn.forest(bound), rows), model.predict_proba(unseen_rows())[:, 1:], rtol=0, atol=1e-15
    )


@pytest.mark.parametrize("named", [True, False])
def test_an_infinite_category_is_rejected_as_by_the_library_and_other_infinities_are_not(named: bool) -> None:
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features=[0])
    rows = pd.DataFrame(table(), columns=list("abcd")) if named else table()
    content = Sklearn.import_model(model.fit(rows, targets(table(), "binary"))).content
    rows = table(4)
    rows[1, 0], rows[2, 1] = np.inf, np.inf
    assert Sklearn.forest(content).finite_columns == (0,)
    assert accepted_rows(Sklearn.forest(content), rows).tolist() == [True, False, True, True]
    assert len(Sklearn(content, {}).predict(rows[2:])) == 2
    with pytest.raises(EngineError, match="infinity"):
        Sklearn(content, {}).predict(rows[:2])


def test_a_category_with_a_fraction_does_not_apply() -> None:
    rows = np.round(table()[:, 1:3]) / 2
    content = fitted_numbers(rows, [0])
    with pytest.raises(NotApplicable, match=r"categories is -?\d\.5, which is not an integer"):
        Sklearn.forest(content)


def fitted_numbers(rows: np.ndarray, categorical: list[int]) -> bytes:
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features=categorical)
    return Sklearn.import_model(model.fit(rows, targets(table(), "binary"))).content


@pytest.mark.parametrize("kind", ["truths", "whole numbers"])
def test_booleans_and_numbers_of_a_dataframe_are_categories(kind: str) -> None:
    column = frame()["age"] > 50 if kind == "truths" else (frame()["age"] // 10 - 4).astype("category")
    rows = frame().assign(city=column)[["city", "income"]]
    categorical = ["city"] if kind == "truths" else "from_dtype"
    model = HistGradientBoostingClassifier(max_iter=5, categorical_features=categorical).fit(rows, target(frame()))
    sample = rows.to_numpy(dtype=np.float64)
    assert Sklearn.forest(Sklearn.import_model(model).content).categorical == [0]
    assert moved("sklearn", Sklearn.import_model(model).content, sample) < 1e-14


def test_a_string_in_a_column_of_numbers_does_not_apply() -> None:
    content = fitted(HistGradientBoostingClassifier(max_iter=2), table(), "binary")
    inputs = (Field(name="a", datatype="BYTES", categories=("x",)), *(Field(name=name) for name in "bcd"))
    with pytest.raises(NotApplicable, match="strings of column 'a' as numbers"):
        Sklearn.forest(Sklearn.bind(content, Signature(inputs=inputs))[0])


def test_a_string_in_a_column_of_numeric_categories_does_not_apply() -> None:
    content = fitted_numbers(np.round(table()[:, :2]), [0])
    inputs = (Field(name="a", datatype="BYTES", categories=("x",)), Field(name="b"))
    with pytest.raises(NotApplicable, match="it learned numbers in column 'a', which holds strings"):
        Sklearn.forest(Sklearn.bind(content, Signature(inputs=inputs))[0])


def test_the_first_rounds_equal_the_stage_and_keep_the_categories() -> None:
    model = fitted_on(frame(), categorical_features=TEXTS)
    content, signature = bound(model, frame())
    shorter = Sklearn.truncate(content, 3)
    stage = list(model.staged_predict_proba(unseen_rows()))[2][:, 1:]
    assert (Sklearn.rounds(content), Sklearn.rounds(shorter)) == (8, 3)
    np.testing.assert_allclose(
        Sklearn(shorter, {}).predict(matrix(dataset(unseen_rows()).table, signature)), stage, rtol=0, atol=1e-15
    )


@settings(max_examples=settings().max_examples // 2)
@given(
    categories=st.integers(2, 255),
    leaves=st.integers(2, 60),
    gaps=st.booleans(),
    classes=st.integers(2, 3),
    seed=st.integers(0, 1000),
)
def test_models_of_any_shape_are_exact_at_the_edges(
    categories: int, leaves: int, gaps: bool, classes: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows = np.column_stack([random.integers(-3, categories - 3, 400), random.normal(size=400)]).astype(np.float64)
    if gaps:
        rows[random.random(rows.shape) < 0.2] = np.nan
    goal = (np.nan_to_num(rows[:, 0], nan=5) * 7 // 3 + (rows[:, 1] > 0)) % classes
    model = HistGradientBoostingClassifier(
        max_iter=4, max_leaf_nodes=leaves, min_samples_leaf=2, categorical_features=[0], early_stopping=False
    )
    content = Sklearn.import_model(model.fit(rows, goal)).content
    assert len(edge_rows(Sklearn.forest(content), rows)) and moved("sklearn", content, rows) < 1e-14
