"""Forests read from LightGBM, XGBoost and CatBoost predict as their libraries at every edge of every tree."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from tests.engines import boosters, catboosters, xgboosters
from tests.engines.boosters import QUIET, table, targets, text
from tests.engines.catboosters import cbm
from tests.engines.forest_walk import answers
from tests.engines.forests import hard, moved
from tests.engines.xgboosters import ubj

from headway.core.errors import EngineError, NotApplicable
from headway.engines.lightgbm import Lightgbm
from headway.engines.xgboost import Xgboost

pytestmark = pytest.mark.slow

Parameters = dict[str, Any]

FLOAT32 = 1e-6  # sums and links of XGBoost are in float32


def tiny(rows: int = 400) -> np.ndarray:
    """The table with zeros, numbers that LightGBM treats as zero, and the next larger ones."""
    cells = table(rows)
    cells[::3, 2] = 0.0
    cells[1::7, 2], cells[2::7, 2], cells[3::7, 2] = 1e-36, -1e-35, 1.1e-35
    return cells


def zero_is_missing(objective: str = "regression", **parameters: object) -> bytes:
    params = {**QUIET, "objective": objective, "zero_as_missing": True, **parameters}
    params |= {"num_class": 3} if objective.startswith("multi") else {}
    data = lightgbm.Dataset(tiny(), targets(table(), objective), categorical_feature=[0], params=params)
    return str(lightgbm.train(params, data, 9).model_to_string()).encode()


@pytest.mark.parametrize("objective", boosters.OBJECTIVES)
def test_every_objective_of_lightgbm_is_exact(objective: str) -> None:
    assert moved("lightgbm", text(objective, trees=12).encode(), table()) < 1e-14


@pytest.mark.parametrize(
    "parameters",
    [
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        {"boosting": "dart", "drop_rate": 0.6},
        {"sigmoid": 2.5},
        {"use_missing": False},
        {"max_bin": 2000, "num_leaves": 40},
        {"max_cat_to_onehot": 64},
    ],
    ids=str,
)
@pytest.mark.parametrize("objective", ["binary", "multiclassova", "poisson"])
def test_every_kind_of_tree_of_lightgbm_is_exact(objective: str, parameters: Parameters) -> None:
    """Thresholds are compared in float64, where converters keep float32."""
    assert moved("lightgbm", text(objective, trees=8, **parameters).encode(), table()) < 1e-14


@pytest.mark.parametrize("objective", ["binary", "multiclass", "regression"])
def test_zero_is_missing_with_zero_as_missing(objective: str) -> None:
    content = zero_is_missing(objective)
    forest = Lightgbm.forest(content)
    assert forest.zero_as_missing and 0 not in forest.zero_as_missing
    assert moved("lightgbm", content, tiny()) < 1e-14
    hard_rows = hard("lightgbm", content, tiny())
    assert not np.allclose(
        answers(dataclasses.replace(forest, zero_as_missing=()), hard_rows), answers(forest, hard_rows)
    )


def test_zero_that_is_missing_in_some_splits_of_a_column_does_not_apply() -> None:
    content = zero_is_missing().decode()
    assert "decision_type=" in content
    numeric = re.search(r"(?m)^decision_type=(?:\d+ )*?(6|4)\b", content)
    assert numeric is not None
    mixed = content[: numeric.start(1)] + "8" + content[numeric.end(1) :]
    with pytest.raises(NotApplicable, match=r"column \d counts zero as missing in some splits"):
        Lightgbm.forest(mixed.encode())


def test_linear_leaves_do_not_apply() -> None:
    with pytest.raises(NotApplicable, match="linear models"):
        Lightgbm.forest(text("regression", linear_tree=True).encode())


@pytest.mark.parametrize("objective", xgboosters.OBJECTIVES)
def test_every_objective_of_xgboost_is_within_float32(objective: str) -> None:
    assert moved("xgboost", ubj(objective, 12), table()) < FLOAT32


@pytest.mark.parametrize(
    "parameters",
    [
        {"booster": "dart", "rate_drop": 0.5},
        {"num_parallel_tree": 3, "subsample": 0.5},
        {"max_cat_to_onehot": 64},
        {"tree_method": "exact", "gamma": 2.0, "categorical": False},
        {"max_depth": 9, "grow_policy": "lossguide"},
        {"base_score": 0.2},
    ],
    ids=str,
)
@pytest.mark.parametrize("objective", ["reg:squarederror", "multi:softprob", "binary:logistic"])
def test_every_kind_of_tree_of_xgboost_is_within_float32(objective: str, parameters: Parameters) -> None:
    assert moved("xgboost", ubj(objective, 6, **parameters), table()) < FLOAT32


@pytest.mark.parametrize("missing", [-999.0, 0.0, 0.1])
def test_a_value_that_counts_as_missing_is_missing(missing: float) -> None:
    rows = table()
    rows[::3, 2] = missing
    model = xgboost.XGBClassifier(n_estimators=5, missing=missing, n_jobs=1).fit(rows, targets(table(), "binary"))
    content = Xgboost.import_model(model).content
    assert Xgboost.forest(content).missing == np.float32(missing) and moved("xgboost", content, rows) < FLOAT32


def test_a_dense_zero_differs_from_an_absent_cell_of_a_sparse_row() -> None:
    rows = np.where(np.random.default_rng(0).random((300, 3)) < 0.5, 0.0, 1.0)
    sparse = xgboost.DMatrix(csr_matrix(rows), rows[:, 0] + 2 * rows[:, 1])
    model = xgboost.train({"objective": "reg:squarederror", "nthread": 1, "max_depth": 3}, sparse, 5)
    forest = Xgboost.forest(bytes(model.save_raw("ubj")))
    absent = np.where(rows == 0, np.nan, rows)
    dense = model.predict(xgboost.DMatrix(rows))
    np.testing.assert_allclose(answers(forest, absent)[:, 0], model.predict(sparse), rtol=1e-6)
    np.testing.assert_allclose(answers(forest, rows)[:, 0], dense, rtol=1e-6)
    assert not np.allclose(dense, model.predict(sparse))


def test_a_linear_booster_does_not_apply() -> None:
    with pytest.raises(NotApplicable, match="linear model"):
        Xgboost.forest(ubj("reg:squarederror", booster="gblinear", categorical=False))


def test_leaves_with_several_outputs_are_refused_by_name() -> None:
    params = {"objective": "multi:softprob", "num_class": 3, "multi_strategy": "multi_output_tree", "nthread": 1}
    model = xgboost.train(params, xgboost.DMatrix(table(), targets(table(), "multiclass")), 2)
    with pytest.raises(EngineError, match="multi_output_tree"):
        Xgboost.forest(bytes(model.save_raw("ubj")))


@pytest.mark.parametrize("loss", catboosters.LOSSES)
def test_every_loss_of_catboost_is_exact(loss: str) -> None:
    assert moved("catboost", cbm(loss, 12), table()) < 1e-14


@pytest.mark.parametrize(
    "parameters",
    [
        {"grow_policy": "Lossguide"},
        {"grow_policy": "Depthwise", "min_data_in_leaf": 60},
        {"nan_mode": "Max", "border_count": 400},
        {"depth": 8},
    ],
    ids=str,
)
@pytest.mark.parametrize("loss", ["RMSE", "MultiClass"])
def test_every_kind_of_tree_of_catboost_is_exact(loss: str, parameters: Parameters) -> None:
    assert moved("catboost", cbm(loss, 6, **parameters), table()) < 1e-14


@settings(max_examples=25, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["normal", "zeros", "tiny", "gaps", "category"]), min_size=1, max_size=4),
    objective=st.sampled_from(["binary", "multiclass", "regression"]),
    leaves=st.integers(2, 30),
    seed=st.integers(0, 1000),
)
def test_models_of_lightgbm_with_zero_as_missing_are_exact(
    kinds: list[str], objective: str, leaves: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    columns = {
        "normal": random.normal(size=250),
        "zeros": np.where(random.random(250) < 0.5, 0.0, random.normal(size=250)),
        "tiny": random.choice([-1e-30, -1e-35, 0, 1e-36, 1e-35, 1e-30, np.nan], 250),
        "gaps": np.where(random.random(250) < 0.3, np.nan, random.normal(size=250)),
        "category": random.integers(0, 12, 250).astype(np.float64),
    }
    rows = np.column_stack([columns[kind] for kind in kinds])
    given_to = {**QUIET, "objective": objective, "num_leaves": leaves, "zero_as_missing": True}
    given_to |= {"num_class": 3} if objective == "multiclass" else {}
    goal = boosters.in_range(np.nan_to_num(rows).sum(axis=1) + random.normal(size=250), objective)
    categorical = [index for index, kind in enumerate(kinds) if kind == "category"]
    data = lightgbm.Dataset(rows, goal, categorical_feature=categorical, params=given_to)
    content = str(lightgbm.train(given_to, data, 4).model_to_string()).encode()
    assert moved("lightgbm", content, rows) < 1e-14
