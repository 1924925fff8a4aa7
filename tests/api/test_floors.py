"""What a stranger may pass: a destroyed model, a constant one, one class, one row, training rows. None is a pass."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import xgboost
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import headway as hw
from headway.core.contracts import ModelFile, newer_library
from headway.core.errors import ConfigError, DataError, HeadwayError
from headway.core.plugins import load_engine
from headway.engines.xgboost import Xgboost
from headway.optimization.importers.models import find_training_rows, import_fitted_model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(800, 5))
Y = (RNG.random(800) < 1 / (1 + np.exp(-X[:, 0] - 0.5 * X[:, 1]))).astype(int)
NUMBERS = X[:, 0] + RNG.normal(size=800)
CLASSES = np.digitize(NUMBERS, [-0.5, 0.5])
SEEN, NEW = slice(0, 400), slice(400, 800)


def codes(found):
    return {finding.code for finding in found.evidence.findings}


@pytest.mark.slow
def test_one_tree_on_permuted_labels_is_not_a_pass_and_a_sound_model_is(tmp_path):
    broken = DecisionTreeClassifier(max_depth=4, random_state=0).fit(X[SEEN], RNG.permutation(Y[SEEN]))
    refused = hw.optimize(broken, X[NEW], Y[NEW], transforms=["truncate"], folder=tmp_path)
    assert refused.verdict.answer != "pass"
    floor = {result.rule.measure: result.answer for result in refused.verdict.rule_results}
    assert floor["gain_over_constant"] != "pass"
    with pytest.raises(HeadwayError, match="nothing is released"):
        refused.release(who="ada")
    sound = hw.optimize(LogisticRegression().fit(X[SEEN], Y[SEEN]), X[NEW], Y[NEW], transforms=["truncate"])
    assert sound.verdict.answer == "pass", str(sound)
    assert "quality: ranking (AUC)" in str(sound) and "gain over a constant prediction" in str(sound)


@pytest.mark.slow
def test_a_policy_in_python_says_which_floor_it_has():
    model = LogisticRegression().fit(X[SEEN], Y[SEEN])

    def answer(**policy):
        return hw.optimize(model, X[NEW], Y[NEW], transforms=["truncate"], policy=policy).verdict

    relative = {"roc_auc.drop": 0.01}
    assert answer(**relative).answer == "undecided"
    assert 'floor = "data"' in answer(**relative).rule_results[-1].message
    assert answer(**relative, floor="none").answer == "pass"
    assert [result.rule.measure for result in answer(**relative, floor="data").rule_results][
        -1
    ] == "gain_over_reference"


@pytest.mark.parametrize("policy", [{"floor": "sea"}, {"roc_auc.drop": "low"}])
def test_a_policy_with_a_wrong_word_is_refused_with_the_words_that_it_may_have(policy):
    with pytest.raises(ConfigError) as refused:
        hw.optimize(LogisticRegression().fit(X[SEEN], Y[SEEN]), X[NEW], Y[NEW], policy=policy)
    assert '"floor": "data"' in refused.value.hint


CONSTANT = {
    "binary": (DummyClassifier(), Y),
    "multiclass": (DummyClassifier(), CLASSES),
    "regression": (DummyRegressor(), NUMBERS),
    "one class": (LGBMClassifier(n_estimators=2, min_child_samples=9999, verbose=-1, n_jobs=1), Y),
    "one leaf": (LGBMRegressor(n_estimators=2, min_child_samples=9999, verbose=-1, n_jobs=1), NUMBERS),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CONSTANT)
def test_a_constant_model_is_a_finding_everywhere_and_never_a_crash(case):
    model, labels = CONSTANT[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = model.fit(X[SEEN], labels[SEEN])
    found = hw.evaluate(model, X[NEW], labels[NEW])
    assert "E005" in codes(found) and "to all 400 rows" in str(found)
    best = hw.optimize(model, X[NEW], labels[NEW], budget="1s", transforms=["truncate"])
    assert best.verdict.answer == "fail"
    assert "E005" in codes(best.search.winner)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "rows", "groups"),
    [("binary", 2, None), ("multiclass", 40, "one"), ("regression", 40, "two")],
)
def test_too_few_rows_or_groups_are_undecided_or_an_error_with_a_hint(task, rows, groups):
    labels = {"binary": Y, "multiclass": CLASSES, "regression": NUMBERS}[task]
    model = (LGBMRegressor if task == "regression" else LGBMClassifier)(n_estimators=5, verbose=-1, n_jobs=1)
    model.fit(X[SEEN], labels[SEEN])
    new = slice(400, 400 + rows)
    days = {None: None, "one": np.zeros(rows), "two": np.arange(rows) % 2}[groups]
    try:
        best = hw.optimize(model, X[new], labels[new], groups=days, budget="1s", transforms=["truncate"])
    except DataError as error:
        assert error.hint
    else:
        assert best.verdict.answer != "pass"


@pytest.mark.slow
def test_columns_without_information_are_measured():
    rows = np.column_stack([X[NEW, :2], np.full(400, np.nan), np.ones(400), np.full(400, np.inf)])
    model = LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(X[SEEN], Y[SEEN])
    assert hw.evaluate(model, rows, Y[NEW])["roc_auc"].value > 0.6


def test_labels_of_one_class_are_an_error_with_a_hint():
    model = LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(X[SEEN], Y[SEEN])
    for call in (hw.evaluate, hw.optimize):
        with pytest.raises(DataError, match="one class only") as refused:
            call(model, X[NEW], np.ones(400, dtype=int))
        assert refused.value.hint


SEEN_MODELS = {
    "lightgbm": LGBMClassifier(n_estimators=10, verbose=-1, n_jobs=1),
    "decision tree": DecisionTreeClassifier(max_depth=4),
    "extra rounds": GradientBoostingRegressor(n_estimators=5),
    "forest without bootstrap": RandomForestClassifier(5, bootstrap=False, max_depth=5, n_jobs=1),
}


@pytest.mark.parametrize("name", SEEN_MODELS)
def test_the_leaves_of_the_first_tree_recognize_the_training_rows(name):
    imported = import_fitted_model(SEEN_MODELS[name].fit(X[SEEN], Y[SEEN]))
    engine = load_engine(imported.engine)(imported.content, {})
    [finding] = find_training_rows(engine, lambda: X[SEEN][::-1].copy(), n_rows=400)
    assert finding.code == "E007" and "400 rows are those that the model was trained on" in finding.message
    assert not find_training_rows(engine, lambda: X[NEW], n_rows=400)
    assert not find_training_rows(engine, lambda: X, n_rows=800)


def test_models_without_a_first_tree_say_nothing_about_training_rows():
    for model in (LogisticRegression(), RandomForestClassifier(3, max_depth=4, n_jobs=1)):
        imported = import_fitted_model(model.fit(X[SEEN], Y[SEEN]))
        engine = load_engine(imported.engine)(imported.content, {})
        assert not find_training_rows(engine, lambda: X[SEEN], n_rows=400)


@pytest.mark.slow
def test_training_rows_given_as_new_ones_are_a_finding():
    model = LGBMClassifier(n_estimators=10, verbose=-1, n_jobs=1).fit(X[SEEN], Y[SEEN])
    found = hw.evaluate(model, X[SEEN][::-1], Y[SEEN][::-1])
    assert [finding.severity for finding in found.evidence.findings if finding.code == "E007"] == ["undecided"]
    assert "was trained on" in str(found)


@pytest.mark.slow
def test_a_model_scored_on_its_training_rows_is_undecided_at_best():
    model = LGBMClassifier(n_estimators=10, verbose=-1, n_jobs=1).fit(X[SEEN], Y[SEEN])
    best = hw.optimize(
        model, X[SEEN], Y[SEEN], policy={"brier": 0.9}, transforms=["trees"], budget="3s", callback=lambda _: None
    )
    verdict = best.search.winner.verdict
    assert verdict.answer == "undecided" and "was trained on" in verdict.rule_results[0].message


@pytest.mark.slow
def test_rows_copied_ten_times_count_once_and_coarse_rows_that_repeat_count_each():
    model = LogisticRegression().fit(X[SEEN], Y[SEEN])
    copied, labels = np.tile(X[NEW][:200], (10, 1)), np.tile(Y[NEW][:200], 10)
    brier = hw.evaluate(model, copied, labels)["brier"]
    assert (brier.n_rows, brier.n_groups) == (2_000, 200)

    coarse = np.round(X[NEW][:200])
    brier = hw.evaluate(model, coarse, np.random.default_rng(0).integers(0, 2, 200))["brier"]
    assert (brier.n_rows, brier.n_groups) == (200, 200)


def test_a_model_of_a_newer_library_is_a_finding():
    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(X[SEEN], NUMBERS[SEEN]), 2)
    content = json.loads(bytes(booster.save_raw("json")))
    own = content["version"]
    found = Xgboost.import_model(ModelFile(content=json.dumps(content).encode(), suffix=".json"))
    assert not found.findings
    [finding] = newer_library("XGBoost", (own[0], own[1] + 1, 0), own)
    assert finding.code == "E008" and finding.severity == "warn" and "pip install --upgrade xgboost" in finding.hint


@pytest.mark.parametrize("labels", ["one class", "one row"])
def test_a_learning_curve_of_rows_that_say_nothing_ends_without_a_conclusion(labels):
    rows = slice(400, 401) if labels == "one row" else NEW
    y = np.ones(400, dtype=int) if labels == "one class" else Y[rows]
    curve = hw.learning_curve(X[rows], y, task="binary")
    LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(X[SEEN], Y[SEEN], callbacks=[curve.lightgbm])
    assert str(curve)
