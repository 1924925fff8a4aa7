"""Multiclass and regression: values equal scikit-learn's, drops are positive if the variant is worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics
from tests.evaluation.conftest import subject_from

from headway.core.contracts import SliceColumn
from headway.core.errors import NotApplicable
from headway.evaluation.context import Comparison
from headway.evaluation.metrics import calibration, parity, quality, slices
from headway.evaluation.statistics.intervals import jackknife_error

GROUPS, ROWS = 30, 40


def classes(*, harm: float = 0.3) -> Comparison:
    """Return three classes; the variant's probabilities are the baseline's with noise on their logarithms."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(GROUPS * ROWS, 3))
    reference, scores = (
        item / item.sum(1, keepdims=True)
        for item in (np.exp(logits), np.exp(logits + harm * rng.normal(size=logits.shape)))
    )
    labels = np.array([rng.choice(3, p=row) for row in reference], dtype=np.float64)
    return comparison_of(labels, scores, reference, "multiclass")


def numbers(*, harm: float = 0.3) -> Comparison:
    """Return a regression whose errors share a shift by day; the variant has larger errors."""
    rng = np.random.default_rng(1)
    truth, day = rng.normal(10, 3, GROUPS * ROWS), np.repeat(rng.normal(size=GROUPS), ROWS)
    reference = truth + day + rng.normal(size=len(truth))
    scores = reference + harm * rng.normal(size=len(truth))
    return comparison_of(truth, scores[:, None], reference[:, None], "regression")


def comparison_of(labels: np.ndarray, scores: np.ndarray, reference: np.ndarray, task: str) -> Comparison:
    groups = np.repeat(np.arange(GROUPS), ROWS)
    subject = subject_from(labels, scores[:, 0], reference[:, 0], groups, task=task)
    return replace(subject, scores=scores, reference_scores=reference)


def measured(probe, subject: Comparison) -> dict[str, object]:
    return {measurement.name + measurement.slice: measurement for measurement in probe.plugin(subject)}


def test_classes_are_measured_as_scikit_learn_does():
    subject = classes()
    found = measured(quality, subject)
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(subject.labels, subject.scores.argmax(1)))
    assert found["log_loss"].value == pytest.approx(metrics.log_loss(subject.labels, subject.scores))
    assert found["brier"].value == pytest.approx(
        metrics.brier_score_loss(subject.labels, subject.scores, scale_by_half=False)
    )


def test_a_regression_is_measured_as_scikit_learn_does():
    subject = numbers()
    found, answers = measured(quality, subject), subject.scores[:, 0]
    assert found["rmse"].value == pytest.approx(metrics.root_mean_squared_error(subject.labels, answers))
    assert found["mae"].value == pytest.approx(metrics.mean_absolute_error(subject.labels, answers))
    assert found["r2"].value == pytest.approx(metrics.r2_score(subject.labels, answers))


def test_weights_are_honoured_as_scikit_learn_does():
    subject = numbers()
    weights = np.random.default_rng(2).uniform(0.5, 3, len(subject.labels))
    found, answers = measured(quality, replace(subject, weights=weights)), subject.scores[:, 0]
    assert found["rmse"].value == pytest.approx(
        metrics.root_mean_squared_error(subject.labels, answers, sample_weight=weights)
    )
    assert found["r2"].value == pytest.approx(metrics.r2_score(subject.labels, answers, sample_weight=weights))


@pytest.mark.parametrize(
    ("make", "name"),
    [(classes, "log_loss.drop"), (classes, "brier.drop"), (numbers, "rmse.drop"), (numbers, "r2.drop")],
)
def test_a_variant_that_is_worse_shows_a_loss_above_nothing(make, name):
    assert measured(quality, make(harm=1.5))[name].low > 0


@pytest.mark.parametrize("make", [classes, numbers])
def test_equal_answers_lose_exactly_nothing(make):
    found = measured(quality, replace(make(harm=0.0), keeps_answers=True))
    losses = [value for name, value in found.items() if name.endswith(".drop")]
    assert len(losses) >= 3 and {(measurement.low, measurement.value, measurement.high) for measurement in losses} == {
        (0, 0, 0)
    }


def test_a_regression_interval_is_by_day_and_not_by_row():
    found = measured(quality, numbers())["rmse"]
    by_row = np.std(np.square(numbers().scores[:, 0] - numbers().labels)) / 2 / found.value / np.sqrt(GROUPS * ROWS)
    assert found.n_groups == GROUPS and found.se > 2 * by_row


def test_a_class_that_became_another_is_a_flipped_decision():
    subject = classes(harm=0.0)
    scores = subject.scores.copy()
    scores[5] = np.roll(scores[5], 1)
    found = measured(parity, replace(subject, scores=scores))
    assert found["decision_churn"].value == pytest.approx(1 / len(scores))
    assert found["max_change"].value == pytest.approx(np.abs(scores[5] - subject.scores[5]).max())


def test_answers_of_several_numbers_that_turn_lose_cosine_and_those_that_grow_do_not():
    subject = classes(harm=0.0)
    scores = 3 * subject.reference_scores
    assert measured(parity, replace(subject, scores=scores))["cosine.drop"].value == pytest.approx(0, abs=1e-12)
    scores[4] = scores[4, ::-1]
    known = subject.reference_scores[4]
    expected = 1 - known @ known[::-1] / (known @ known)
    assert measured(parity, replace(subject, scores=scores))["cosine.drop"].value == pytest.approx(expected)


def test_the_change_of_a_regression_is_also_relative_to_its_largest_answer():
    subject = numbers(harm=0.0)
    scores = subject.scores.copy()
    scores[7] += 0.5
    found = measured(parity, replace(subject, scores=scores))
    assert found["max_change"].value == pytest.approx(0.5)
    assert found["max_change.relative"].value == pytest.approx(0.5 / np.abs(subject.reference_scores).max())


@pytest.mark.parametrize(("make", "name"), [(classes, "brier.drop"), (numbers, "mse.drop")])
def test_errors_within_one_slice_are_a_drop_of_that_slice(make, name):
    clean, subject = make(harm=0.0), make(harm=1.5)
    inside = np.arange(len(subject.labels)) % 2 == 0
    scores = np.where(inside[:, None], subject.scores, clean.scores)
    column = SliceColumn(codes=inside.astype(np.int64), values=("right", "wrong"))
    found = measured(slices, replace(clean, scores=scores, slices={"side": column}))
    assert found[f"{name}side=wrong"].low > 0 and found[f"{name}side=right"].value == 0


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        (replace(classes(), labels=np.full(GROUPS * ROWS, 3.0)), "class numbers from 0 to 2"),
        (replace(numbers(), labels=np.full(GROUPS * ROWS, 3.0)), "all 1200 labels are 3"),
        (replace(numbers(), scores=np.full((GROUPS * ROWS, 1), np.inf)), "1200 answers of the variant are not finite"),
        (replace(numbers(), labels=np.full(GROUPS * ROWS, np.nan)), "some labels are not finite"),
    ],
)
def test_rows_that_cannot_be_judged_are_rejected_with_a_reason(subject, message):
    with pytest.raises(NotApplicable, match=message):
        quality.plugin(subject)


def many(count: int, *, rows: int = 3_000, missing: int = 5) -> Comparison:
    """Return a softmax over many classes, of which the last few do not occur on the rows."""
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(rows, count)) * 2
    reference, scores = (
        item / item.sum(1, keepdims=True)
        for item in (np.exp(logits), np.exp(logits + 0.3 * rng.normal(size=logits.shape)))
    )
    seen = reference[:, : count - missing]
    labels = (seen.cumsum(1) / seen.sum(1, keepdims=True) < rng.random((rows, 1))).sum(1).astype(np.float64)
    subject = subject_from(labels, scores[:, 0], reference[:, 0], np.arange(rows) // 20, task="multiclass")
    return replace(subject, scores=scores, reference_scores=reference)


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 77, 150])
def test_the_area_of_many_classes_is_the_mean_over_those_that_occur(count):
    subject = many(count, missing=0 if count == 3 else 5)
    found = measured(quality, subject)
    occurring = np.unique(subject.labels).astype(int)
    areas = [metrics.roc_auc_score(subject.labels == code, subject.scores[:, code]) for code in occurring]
    assert found["roc_auc"].value == pytest.approx(np.mean(areas))
    assert found["roc_auc"].low < found["roc_auc"].value < found["roc_auc"].high
    assert found["roc_auc.drop"].low > 0


def test_the_intervals_of_the_area_are_those_of_leaving_out_a_group():
    subject = many(3, rows=400, missing=0)
    found = measured(quality, subject)["roc_auc"]
    groups = np.unique(subject.groups)
    without = [
        metrics.roc_auc_score(
            subject.labels[subject.groups != group], subject.scores[subject.groups != group], multi_class="ovr"
        )
        for group in groups
    ]
    assert found.se == pytest.approx(jackknife_error(np.array(without)), rel=1e-6)


def test_the_calibration_of_several_classes_is_that_of_the_predicted_class():
    subject = many(77)
    found = measured(calibration, subject)
    sharp = measured(calibration, replace(subject, scores=np.eye(77)[subject.scores.argmax(1)]))
    assert (
        found["ece"].value
        < 0.1
        < sharp["ece"].value
        == pytest.approx(1 - (subject.scores.argmax(1) == subject.labels).mean())
    )
    assert sharp["ece.drop"].low > 0


def test_answers_that_are_no_probabilities_are_rejected():
    subject = classes()
    with pytest.raises(NotApplicable, match="not probabilities"):
        quality.plugin(replace(subject, scores=subject.scores * 9 - 4))
