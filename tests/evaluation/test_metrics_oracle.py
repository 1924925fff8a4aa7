"""Every metric against scikit-learn: weights, ties, zeros and ones, constants, missing classes, groups left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from tests.evaluation.conftest import subject_from

from headway.core.evidence import Measurement
from headway.evaluation.metrics import decisions, quality
from headway.evaluation.statistics import subsets
from headway.evaluation.statistics.intervals import jackknife_error

pytestmark = pytest.mark.slow

ROWS, GROUPS, THRESHOLD = 60, 20, 0.3
LESS = {"brier", "log_loss", "false_positive_rate"}
SEEDS = st.integers(0, 2**32 - 1)


KINDS = st.sampled_from(["distinct", "tied", "zeros and ones", "constant"])


def probabilities(rng, kind: str, width: int):
    """Return probabilities of `width` classes for each row; their sums are 1."""
    found = rng.dirichlet(np.ones(width), ROWS)
    if kind == "tied":
        found = rng.permuted(np.tile([0.4, 0.4, 0.2, 0, 0] if width == 5 else [0.2, 0.8], (ROWS, 1)), axis=1)
    if kind == "zeros and ones":
        found = np.eye(width)[rng.integers(0, width, ROWS)]
    return np.tile(found[0], (ROWS, 1)) if kind == "constant" else found


def drawn(seed: int, *, kind: str, width: int = 1):
    """Return scores of two models of a kind, and weights; groups of three rows."""
    rng = np.random.default_rng(seed)
    scores, reference = (probabilities(rng, kind, max(width, 2))[:, :width] for _ in range(2))
    return rng, scores, reference, rng.uniform(0.2, 5, ROWS)


def measured(probe, subject):
    found = (result for result in probe.plugin(subject) if isinstance(result, Measurement))
    return {measurement.name: measurement for measurement in found}


def of_two(seed: int, *, kind: str, share: float):
    rng, scores, reference, weights = drawn(seed, kind=kind)
    labels = (rng.random(ROWS) < share).astype(float)
    labels[:2] = 0, 1
    groups = np.repeat(np.arange(GROUPS), ROWS // GROUPS)
    return replace(subject_from(labels, scores[:, 0], reference[:, 0], groups), weights=weights)


def known(subject, scores):
    """Return the measures of a binary model by scikit-learn."""
    labels, weights, yes = subject.labels, subject.weights, scores >= THRESHOLD
    options = {"sample_weight": weights}
    return {
        "roc_auc": metrics.roc_auc_score(labels, scores, **options),
        "average_precision": metrics.average_precision_score(labels, scores, **options),
        "brier": metrics.brier_score_loss(labels, scores, **options),
        "log_loss": metrics.log_loss(labels, scores, **options),
        "accuracy": metrics.accuracy_score(labels, yes, **options),
        "f1": metrics.f1_score(labels, yes, zero_division=np.nan, **options),
        "recall": metrics.recall_score(labels, yes, **options),
        "precision": metrics.precision_score(labels, yes, zero_division=np.nan, **options),
        "false_positive_rate": 1 - metrics.recall_score(labels, yes, pos_label=0, **options),
    }


@settings(max_examples=25)
@given(seed=SEEDS, kind=KINDS, share=st.sampled_from([0.05, 0.5, 0.95]))
def test_binary_measures_equal_scikit_learn(seed, kind, share):
    subject = of_two(seed, kind=kind, share=share)
    found = measured(quality, subject) | measured(decisions, subject)
    own, before = known(subject, subject.scores[:, 0]), known(subject, subject.reference_scores[:, 0])
    expected = own | {f"{name}.drop": (before[name] - own[name]) * (-1 if name in LESS else 1) for name in own}
    worst = dict.fromkeys(("accuracy", "f1", "recall", "precision"), 0.0) | {"false_positive_rate": 1.0}
    hopeless = {f"{name}.drop" for name, value in worst.items() if before[name] == value}
    there = {
        name: pytest.approx(value, abs=1e-9)
        for name, value in expected.items()
        if np.isfinite(value) and name not in hopeless
    }
    assert {name: measurement.value for name, measurement in found.items() if name in expected} == there


def without_each(subject, metric):
    """Return a metric with each group left out in turn."""
    values = []
    for group in range(GROUPS):
        remaining = subject.groups != group
        values.append(metric(subject.labels[remaining], subject.scores[remaining], subject.weights[remaining]))
    return np.array(values)


def test_the_interval_of_average_precision_is_that_of_leaving_groups_out():
    subject = of_two(5, kind="distinct", share=0.3)
    without = without_each(subject, lambda y, s, w: metrics.average_precision_score(y, s[:, 0], sample_weight=w))
    assert measured(quality, subject)["average_precision"].se == pytest.approx(float(jackknife_error(without)))


def test_the_interval_of_f1_is_that_of_leaving_groups_out_and_of_what_was_not_seen(monkeypatch):
    subject = of_two(6, kind="tied", share=0.4)
    without = without_each(subject, lambda y, s, w: metrics.f1_score(y, s[:, 0] >= THRESHOLD, sample_weight=w))
    known_error = float(jackknife_error(without))
    assert measured(decisions, subject)["f1"].se > known_error
    monkeypatch.setattr(subsets, "UNSEEN", 0.0)
    assert measured(decisions, subject)["f1"].se == pytest.approx(known_error)


def of_several(seed: int, *, kind: str, there: int):
    """Return five classes, of which `there` occur among the labels."""
    rng, scores, reference, weights = drawn(seed, kind=kind, width=5)
    labels = rng.integers(0, there, ROWS).astype(float)
    groups = np.repeat(np.arange(GROUPS), ROWS // GROUPS)
    subject = subject_from(labels, scores[:, 0], reference[:, 0], groups, task="multiclass")
    return replace(subject, scores=scores, reference_scores=reference, weights=weights)


def known_of_several(labels, scores, weights):
    options = {"sample_weight": weights}
    named, classes = scores.argmax(1), np.arange(5)
    return {
        "accuracy": metrics.accuracy_score(labels, named, **options),
        "macro_f1": metrics.f1_score(labels, named, average="macro", zero_division=0, **options),
        "log_loss": metrics.log_loss(labels, scores, labels=classes, **options),
        "brier": metrics.brier_score_loss(labels, scores, labels=classes, scale_by_half=False, **options),
        "top3_accuracy": metrics.top_k_accuracy_score(labels, scores, k=3, labels=classes, **options),
    }


@settings(max_examples=25)
@given(seed=SEEDS, kind=KINDS, there=st.integers(1, 5))
def test_multiclass_measures_equal_scikit_learn(seed, kind, there):
    subject = of_several(seed, kind=kind, there=there)
    found = measured(quality, subject)
    own, before = (
        known_of_several(subject.labels, scores, subject.weights)
        for scores in (subject.scores, subject.reference_scores)
    )
    for name, value in own.items():
        assert found[name].value == pytest.approx(value, abs=1e-9)
        sign = -1 if name in LESS else 1
        assert found[f"{name}.drop"].value == pytest.approx(sign * (before[name] - value), abs=1e-9)


def test_the_interval_of_macro_f1_is_that_of_leaving_groups_out_and_of_what_was_not_seen(monkeypatch):
    subject = of_several(7, kind="distinct", there=4)
    without = without_each(subject, lambda y, s, w: known_of_several(y, s, w)["macro_f1"])
    known_error = float(jackknife_error(without))
    assert measured(quality, subject)["macro_f1"].se > known_error
    monkeypatch.setattr(subsets, "UNSEEN", 0.0)
    assert measured(quality, subject)["macro_f1"].se == pytest.approx(known_error)


def test_a_rare_class_that_is_never_named_costs_macro_f1_and_hardly_any_accuracy():
    labels = np.where(np.arange(ROWS) < 3, 2.0, np.arange(ROWS) % 2)
    scores = np.zeros((ROWS, 4))
    scores[np.arange(ROWS), np.arange(ROWS) % 2] = 1.0
    subject = of_several(0, kind="distinct", there=3)
    subject = replace(subject, labels=labels, scores=scores, reference_scores=scores, weights=None)
    found = measured(quality, subject)
    assert found["accuracy"].value == pytest.approx(57 / 60)
    assert found["macro_f1"].value == pytest.approx((2 * 28 / 58 + 2 * 29 / 59.0 + 0) / 3, abs=0.02)


@given(seed=SEEDS, kind=KINDS)
def test_regression_measures_equal_scikit_learn(seed, kind):
    rng, scores, _, weights = drawn(seed, kind=kind)
    truth = rng.normal(size=ROWS)
    groups = np.repeat(np.arange(GROUPS), ROWS // GROUPS)
    subject = replace(subject_from(truth, scores[:, 0], scores[:, 0], groups, task="regression"), weights=weights)
    found = measured(quality, subject)
    oracles = {"rmse": metrics.root_mean_squared_error, "mae": metrics.mean_absolute_error, "r2": metrics.r2_score}
    for name, oracle in oracles.items():
        assert found[name].value == pytest.approx(oracle(truth, scores[:, 0], sample_weight=weights))
    assert found["mean_error"].value == pytest.approx(np.average(scores[:, 0] - truth, weights=weights))
