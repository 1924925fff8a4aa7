"""The result decides as the model's own `predict`, by one threshold, and refuses what the model refuses."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from catboost import CatBoostClassifier
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import headway as hw
from headway.core.errors import DataError, RowRefused
from headway.core.variant import LIBRARY_THRESHOLD

pytestmark = pytest.mark.slow

RANDOM = np.random.default_rng(3)
X = RANDOM.integers(0, 4, (1_200, 5)).astype(np.float64)
ODDS = X[:, 0] - X[:, 1] + 0.5 * X[:, 2] - 0.75
Y = (RANDOM.random(len(X)) < 1 / (1 + np.exp(-ODDS))).astype(np.int64)
KINDS = np.digitize(ODDS + RANDOM.normal(size=len(X)), [-1.0, 1.0])
OLD, NEW = slice(0, 600), slice(600, None)
LOGISTIC = make_pipeline(StandardScaler(), LogisticRegression())
MODELS = {
    "forest": RandomForestClassifier(20, random_state=0),
    "extra trees": ExtraTreesClassifier(20, random_state=0),
    "svc": SVC(probability=True, random_state=0),
    "svc without probabilities": SVC(),
    "own threshold": FixedThresholdClassifier(LOGISTIC, threshold=0.3, response_method="predict_proba"),
}


def fitted(model, labels=Y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X[OLD], labels[OLD])


def optimized(model, labels=Y, **settings):
    return hw.optimize(model, X[NEW], labels[NEW], callback=lambda _: None, **settings)


@pytest.mark.parametrize("family", MODELS)
def test_the_result_predicts_the_class_of_the_model_in_every_row(family):
    model = fitted(MODELS[family])
    best = optimized(model, transforms=["trees", "pipeline", "onnx"], policy={"brier.drop": 0.01})
    assert np.array_equal(best.predict(X), model.predict(X))
    assert best.search.winner.evidence.find("decision_churn").value == 0
    assert best.search.winner.evidence.find("threshold").value == best.threshold == best.search.baseline.threshold


@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
def test_equal_votes_of_several_classes_go_to_the_class_of_the_library(kind):
    model = fitted(kind(9, random_state=0), KINDS)
    shares = np.sort(model.predict_proba(X), axis=1)
    assert (shares[:, -1] == shares[:, -2]).any()
    best = optimized(model, KINDS, transforms=["trees"], policy={"brier.drop": 0.01})
    assert best.variant.steps and best.threshold is None
    assert np.array_equal(best.predict(X), model.predict(X))
    assert np.array_equal([best.predict(row[np.newaxis])[0] for row in X[:200]], model.predict(X[:200]))


def test_a_class_that_a_variant_changes_is_counted_against_the_predict_of_the_library():
    model = fitted(SVC(probability=True, random_state=0), KINDS)
    best = optimized(model, KINDS, transforms=["distil"], policy={"decision_churn": 1.0})
    test = best._memory.halves()["test"].table.select(list(best.feature_names_in_)).to_numpy()
    changed = (best.predict(test) != model.predict(test)).mean()
    assert best.search.winner.evidence.find("decision_churn").value == pytest.approx(changed)


def test_without_costs_a_tie_is_the_first_class_and_with_costs_the_threshold_is_chosen():
    model = fitted(MODELS["forest"])
    plain, costly = (optimized(model, transforms=["trees"], costs=costs) for costs in (None, {"false_negative": 9.0}))
    assert plain.threshold == LIBRARY_THRESHOLD and plain.search.baseline.threshold_rule == "library"
    assert costly.threshold < 0.4 and costly.search.baseline.threshold_rule == "costs"
    decided = costly.predict_proba(X)[:, 1] >= costly.threshold
    assert np.array_equal(costly.predict(X), decided.astype(int))
    assert costly.search.winner.evidence.find("threshold").value == costly.threshold


def test_a_rule_on_recall_does_not_pass_where_nothing_is_positive():
    rare = (RANDOM.random(len(X)) < 0.05).astype(np.int64)
    model = fitted(LogisticRegression(), rare)
    assert not model.predict(X).any()
    best = optimized(model, rare, transforms=["pipeline"], policy={"recall.drop": 0.01})
    assert best.verdict.answer == "undecided"
    assert "recall.drop, f1.drop, precision.drop cannot fail" in best.verdict.rule_results[0].message.replace(
        "f1.drop, recall.drop", "recall.drop, f1.drop"
    )


REFUSING = {
    "naive bayes": GaussianNB(),
    "network": make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=50, random_state=0)),
    "stacking": StackingClassifier([("a", LOGISTIC), ("b", GaussianNB())], cv=2),
    "voting": VotingClassifier([("a", LOGISTIC), ("b", GaussianNB())], voting="soft"),
    "forest": RandomForestClassifier(20, random_state=0),
}


@pytest.mark.parametrize("family", REFUSING)
def test_what_the_model_refuses_the_result_refuses(family):
    model = fitted(REFUSING[family])
    best = optimized(model, transforms=["trees", "pipeline", "onnx", "dense"], policy={"brier.drop": 0.01})
    for value in (np.nan, np.inf, -np.inf, 1e39):
        row = X[:2].copy()
        row[1, 3] = value
        if not raises(model.predict, row):
            assert np.array_equal(best.predict(row), model.predict(row))
            continue
        for call in (best.predict, best.predict_proba):
            with np.errstate(over="ignore"), pytest.raises(RowRefused, match="column 'x3'") as refusal:
                call(row)
            assert "row 1" in str(refusal.value)


def raises(call, row) -> bool:
    """Return whether a call refuses a row as scikit-learn does."""
    with np.errstate(over="ignore"):
        try:
            call(row)
        except ValueError:
            return True
    return False


@pytest.fixture(scope="module")
def logistic():
    model = fitted(LOGISTIC)
    return model, optimized(model, transforms=["pipeline"], policy={"brier.drop": 0.01})


@pytest.mark.parametrize(
    "row", [X[:1, :4], np.array([["a", "b", "c", "d", "e"]]), X[0]], ids=["columns", "strings", "one axis"]
)
def test_a_row_of_another_form_is_refused_as_the_model_does(logistic, row):
    model, best = logistic
    with pytest.raises(ValueError):
        model.predict(row)
    with pytest.raises((DataError, ValueError)):
        best.predict(row)


def test_a_threshold_stored_in_a_catboost_model_decides():
    model = CatBoostClassifier(iterations=20, thread_count=1, verbose=False, allow_writing_files=False)
    model.fit(X[OLD], np.where(Y[OLD], "late", "on time"))
    model.set_probability_threshold(0.3)
    best = hw.optimize(
        model,
        X[NEW],
        np.where(Y[NEW], "late", "on time"),
        callback=lambda _: None,
        transforms=["trees"],
        policy={"brier.drop": 0.01},
    )
    assert best.threshold == 0.3
    assert np.array_equal(best.predict(X), model.predict(X))
    assert (best.predict(X) != model.classes_[model.predict_proba(X).argmax(axis=1)]).any()
