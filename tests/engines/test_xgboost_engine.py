"""The XGBoost engine predicts as the library, and imports its models in every form."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import xgboost
from tests.engines.boosters import table
from tests.engines.xgboosters import OBJECTIVES, booster, data, ubj

from headway.core.contracts import ModelFile
from headway.core.dataset import Roles
from headway.core.errors import EngineError, NotApplicable
from headway.core.variant import Field, Signature
from headway.data.open import make_dataset
from headway.engines.formats import ubjson
from headway.engines.formats.xgboost import read_xgboost
from headway.engines.xgboost import Xgboost
from headway.optimization.importers.models import infer_signature

pytestmark = pytest.mark.slow

LABELS = (table()[:, 2] > 0).astype(int)


def answers(model: object) -> np.ndarray:
    """The engine's predictions for the table, of a model that it imported."""
    return Xgboost(Xgboost.import_model(model).content, {"threads": 1}).predict(table())


def furthest(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected.reshape(found.shape)).max())


@pytest.mark.parametrize("objective", [objective for objective in OBJECTIVES if objective != "multi:softmax"])
def test_it_predicts_as_the_library(objective: str) -> None:
    found = answers(booster(objective))
    assert found.shape == (400, 3 if objective.startswith("multi") else 1) and found.dtype == np.float64
    assert furthest(found, booster(objective).predict(data(objective))) == 0


@pytest.mark.parametrize(
    "parameters",
    [
        {"booster": "dart", "rate_drop": 0.5},
        {"booster": "gblinear", "categorical": False},
        {"num_parallel_tree": 3, "subsample": 0.5},
        {"tree_method": "exact", "gamma": 2.0, "categorical": False},
        {"grow_policy": "lossguide", "max_leaves": 9},
        {"base_score": 0.2},
    ],
    ids=str,
)
@pytest.mark.parametrize("objective", ["binary:logistic", "multi:softprob", "reg:squarederror"])
def test_every_kind_of_booster_answers_as_the_library_does(objective: str, parameters: dict[str, object]) -> None:
    if objective != "binary:logistic":
        parameters = {key: value for key, value in parameters.items() if key != "base_score"}
    model = booster(objective, **parameters)
    expected = model.predict(data(objective, categorical=bool(parameters.get("categorical", True))))
    assert furthest(answers(model), expected) < 2e-7


def test_softmax_classes_are_predicted_as_probabilities() -> None:
    margins = booster("multi:softmax").predict(data("multi:softmax"), output_margin=True)
    weights = np.exp(margins - margins.max(axis=1, keepdims=True))
    assert furthest(answers(booster("multi:softmax")), weights / weights.sum(axis=1, keepdims=True)) < 1e-6


@pytest.mark.parametrize("form", ["ubj", "json"])
def test_a_file_answers_as_the_booster_that_wrote_it(form: str) -> None:
    file = ModelFile(content=bytes(booster().save_raw(form)), suffix=f".{form}")
    assert Xgboost.import_model(file).content == Xgboost.import_model(booster()).content
    assert furthest(answers(file), booster().predict(data())) == 0


@pytest.mark.parametrize("kind", [xgboost.XGBClassifier, xgboost.XGBRegressor])
def test_a_fitted_estimator_is_imported(kind: type[xgboost.XGBModel]) -> None:
    model = kind(n_estimators=5, max_depth=3, n_jobs=1).fit(table(), LABELS)
    expected = model.predict_proba(table())[:, 1] if hasattr(model, "predict_proba") else model.predict(table())
    assert furthest(answers(model), expected) == 0


def test_a_ranker_is_imported() -> None:
    model = xgboost.XGBRanker(n_estimators=3, n_jobs=1).fit(table(), LABELS, qid=np.repeat([0, 1], 200))
    assert furthest(answers(model), model.predict(table())) == 0


def test_the_metadata_of_a_model_is_imported() -> None:
    model = xgboost.XGBClassifier(n_estimators=2).fit(pd.DataFrame(table(), columns=list("abcd")), LABELS)
    adopted = Xgboost.import_model(model)
    assert (adopted.names, adopted.classes, adopted.task, adopted.width) == (tuple("abcd"), ("0", "1"), "binary", 4)
    assert math.isnan(adopted.absent)


def test_names_that_only_count_columns_are_left_out() -> None:
    assert Xgboost.import_model(xgboost.XGBRegressor(n_estimators=2).fit(pd.DataFrame(table()), LABELS)).names == ()


def early(rounds: int = 60) -> xgboost.XGBClassifier:
    """A classifier that stopped early on targets that cannot be learned."""
    model = xgboost.XGBClassifier(n_estimators=rounds, early_stopping_rounds=2, max_depth=3, n_jobs=1)
    noise = np.random.default_rng(0).permutation(LABELS)
    return model.fit(table(), LABELS, eval_set=[(table(seed=1), noise)], verbose=False)


def test_an_estimator_that_stopped_early_is_truncated_as_its_predict(tmp_path) -> None:
    model = early()
    model.save_model(tmp_path / "model.ubj")
    file = ModelFile(content=(tmp_path / "model.ubj").read_bytes(), suffix=".ubj")
    assert 0 < model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    for source in (model, file):
        assert Xgboost.rounds(Xgboost.import_model(source).content) == model.best_iteration + 1
        assert furthest(answers(source), model.predict_proba(table())[:, 1]) == 0


def test_a_booster_that_stopped_early_keeps_all_its_rounds_as_its_own_predict_does() -> None:
    model = early().get_booster()
    assert furthest(answers(model), model.predict(xgboost.DMatrix(table()))) == 0


def test_the_missing_value_of_an_estimator_is_missing() -> None:
    rows = table()
    rows[::3, 2] = -999.0
    model = xgboost.XGBClassifier(n_estimators=5, missing=-999.0, n_jobs=1).fit(rows, LABELS)
    content = Xgboost.import_model(model).content
    assert furthest(Xgboost(content, {}).predict(rows), model.predict_proba(rows)[:, 1]) == 0
    assert np.any(
        Xgboost(Xgboost.import_model(model.get_booster()).content, {}).predict(rows)[:, 0]
        != model.predict_proba(rows)[:, 1]
    )
    assert Xgboost.forest(content).missing == -999.0


def frame() -> pd.DataFrame:
    """The table as a dataframe whose first column is categorical."""
    columns = pd.DataFrame(table(), columns=["carrier", "gap", "number", "id"])
    return columns.assign(carrier=pd.Categorical([f"k{int(code):02}" for code in columns["carrier"]]))


def test_categories_of_a_dataframe_are_read_as_ranks_of_their_names() -> None:
    model = xgboost.XGBClassifier(n_estimators=5, enable_categorical=True, max_cat_to_onehot=2, n_jobs=1)
    model.fit(frame(), LABELS)
    adopted = Xgboost.import_model(model)
    assert adopted.categories == (tuple(frame()["carrier"].cat.categories),)
    rows = table()
    rows[:, 0] = frame()["carrier"].cat.codes
    assert furthest(Xgboost(adopted.content, {}).predict(rows), model.predict_proba(frame())[:, 1]) == 0
    stored = ModelFile(content=adopted.content, suffix=".ubj")
    assert Xgboost.import_model(stored).categories == adopted.categories


def signature(*texts: str) -> Signature:
    """The columns of `frame`, of which these are strings."""
    names = ("carrier", "gap", "number", "id")
    return Signature(inputs=tuple(Field(name=n, datatype="BYTES" if n in texts else "FP64") for n in names))


def test_a_categorical_column_that_the_model_does_not_name_is_refused() -> None:
    model = xgboost.XGBClassifier(n_estimators=2, enable_categorical=True, n_jobs=1).fit(frame(), LABELS)
    named, nameless = Xgboost.import_model(model).content, Xgboost.import_model(booster()).content
    assert Xgboost.bind(named, signature("carrier")) == (named, signature("carrier"))
    assert Xgboost.bind(nameless, signature()) == (nameless, signature())
    for content, texts in ((named, ("gap",)), (nameless, ("carrier",))):
        with pytest.raises(EngineError, match=f"column '{texts[0]}' is categorical") as refusal:
            Xgboost.bind(content, signature(*texts))
        assert refusal.value.hint and texts[0] in refusal.value.where


def test_a_column_whose_category_names_xgboost_cut_is_refused_by_its_name() -> None:
    frame = pd.DataFrame({"city": ["Paris", "Oslo"] * 50, "plan": ["a", "b", "c", "a"] * 25}).astype("category")
    model = xgboost.XGBClassifier(enable_categorical=True, n_estimators=2).fit(frame, np.arange(100) % 2)
    whole = read_xgboost(Xgboost.import_model(model).content)
    cut = ModelFile(content=replace(whole, categories={1: whole.categories[1]}).content(), suffix=".ubj")
    imported = Xgboost.import_model(cut)
    assert imported.categories == ((), ("a", "b", "c"))
    rows = make_dataset(
        pl.DataFrame({name: frame[name].tolist() for name in frame} | {"y": np.arange(100) % 2}),
        Roles(target="y"),
        name="rows",
    )
    with pytest.raises(EngineError, match="column 'city' is categorical") as caught:
        Xgboost.bind(imported.content, infer_signature(imported, rows))
    assert "only if all are ASCII" in caught.value.hint
    coded = rows.table.with_columns(city=pl.Series(frame["city"].cat.codes.to_numpy()))
    found = infer_signature(imported, make_dataset(coded, Roles(target="y"), name="rows"))
    assert [field.categories for field in found.inputs] == [(), ("a", "b", "c")]


@pytest.mark.parametrize("threads", [{}, {"threads": 1}, {"threads": 2}])
def test_the_number_of_threads_changes_no_answer(threads: dict[str, int]) -> None:
    assert furthest(Xgboost(ubj(), threads).predict(table()), booster().predict(data())) == 0


@pytest.mark.parametrize("threads", [-1, True, 1.5, "2"])
def test_an_invalid_number_of_threads_is_refused(threads: object) -> None:
    with pytest.raises(EngineError, match="'threads'"):
        Xgboost(ubj(), {"threads": threads})


def test_an_unknown_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(EngineError, match="no setting 'spin'") as refusal:
        Xgboost(ubj(), {"spin": True})
    assert refusal.value.hint == "threads"


@pytest.mark.parametrize("rows", [np.zeros((2, 3)), np.zeros((0, 5)), np.zeros(4)])
def test_rows_of_another_shape_are_refused(rows: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"the model reads \[n, 4\]"):
        Xgboost(ubj(), {}).predict(rows)


def test_the_order_of_rows_in_memory_changes_no_answer() -> None:
    assert np.array_equal(Xgboost(ubj(), {}).predict(np.asfortranarray(table())), answers(booster()))


def test_an_infinite_number_is_read_by_trees_and_refused_by_a_linear_model() -> None:
    rows = np.array([[np.inf, -np.inf, 1e300, np.nan]])
    assert np.isfinite(Xgboost(ubj(), {}).predict(rows)).all()
    linear = ubj("reg:squarederror", booster="gblinear", categorical=False)
    with pytest.raises(EngineError, match="rejects the rows"):
        Xgboost(linear, {}).predict(rows)


@pytest.mark.parametrize(
    ("field", "value"),
    [("learner_model_param", {"base_score": "2"}), ("objective", {"reg_loss_param": {"scale_pos_weight": "much"}})],
    ids=["base", "weight"],
)
def test_a_model_that_the_library_rejects_is_refused_when_opened(
    field: str, value: dict[str, object], capfd: pytest.CaptureFixture[str]
) -> None:
    model: Any = ubjson.decode_ubjson(ubj())
    model["learner"][field] |= value
    with pytest.raises(EngineError, match=r"XGBoost [\d.]+ cannot open the model: \w") as refusal:
        Xgboost(ubjson.encode_ubjson(model), {})
    assert refusal.value.hint and "workspace" not in refusal.value.what
    assert capfd.readouterr() == ("", "")


def test_an_unfitted_estimator_is_refused_with_a_hint() -> None:
    with pytest.raises(EngineError, match="XGBClassifier is not fitted") as refusal:
        Xgboost.import_model(xgboost.XGBClassifier())
    assert refusal.value.hint == "model.fit(X, y)"


@pytest.mark.parametrize("name", ["model.txt", "model.json", "model.cbm"])
def test_a_file_of_another_library_does_not_apply(name: str) -> None:
    with pytest.raises(NotApplicable, match="not an XGBoost model"):
        Xgboost.import_model(ModelFile(content=b'{"features_info": {}}', suffix=name[5:]))


def test_a_linear_model_has_no_trees_and_no_rounds() -> None:
    linear = ubj("reg:squarederror", booster="gblinear", categorical=False)
    for method in (Xgboost.forest, Xgboost.rounds):
        with pytest.raises(NotApplicable, match="linear model"):
            method(linear)


@pytest.mark.parametrize("objective", ["binary:logistic", "multi:softprob"])
def test_the_first_rounds_predict_as_the_library_with_that_many(objective: str) -> None:
    expected = booster(objective).predict(data(objective), iteration_range=(0, 3))
    found = Xgboost(Xgboost.truncate(Xgboost.import_model(booster(objective)).content, 3), {}).predict(table())
    assert furthest(found, expected) == 0
