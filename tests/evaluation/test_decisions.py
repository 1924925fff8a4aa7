"""Metric `decisions`: the cost of the threshold on rows that did not choose it, and its confidence set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics
from tests.evaluation.conftest import days, subject_from

from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.metrics.decisions import plugin
from headway.evaluation.statistics.tables import binary_answers
from headway.evaluation.threshold import choose_threshold, threshold_confidence_set

COSTS = (1.0, 4.0)


def measured(subject):
    return {measurement.name: measurement for measurement in plugin(subject) if isinstance(measurement, Measurement)}


def test_rates_are_those_of_scikit_learn(make_subject):
    subject = make_subject(count=25)
    found, decided = measured(subject), subject.scores[:, 0] >= subject.threshold
    assert found["recall"].value == pytest.approx(metrics.recall_score(subject.labels, decided))
    assert found["precision"].value == pytest.approx(metrics.precision_score(subject.labels, decided))
    assert found["false_positive_rate"].value == pytest.approx(
        1 - metrics.recall_score(subject.labels, decided, pos_label=0)
    )


def test_the_cost_is_that_of_the_matrix(make_subject):
    subject = replace(make_subject(count=25), costs=COSTS)
    decided = subject.scores[:, 0] >= subject.threshold
    matrix = metrics.confusion_matrix(subject.labels, decided)
    assert measured(subject)["cost"].value == pytest.approx((matrix[0, 1] + 4 * matrix[1, 0]) / len(decided))


def test_weights_count_a_row_as_often_as_they_say(make_subject):
    subject = make_subject(count=25)
    twice = np.where(np.arange(len(subject.labels)) % 3 == 0, 2.0, 1.0)
    copied = np.repeat(np.arange(len(subject.labels)), twice.astype(int))
    doubled = {
        name: getattr(subject, name)[copied] for name in ("rows", "labels", "scores", "reference_scores", "groups")
    }
    weighed, copies = measured(replace(subject, weights=twice)), measured(replace(subject, **doubled))
    for name in ("cost", "cost.drop", "recall", "precision"):
        assert weighed[name].value == pytest.approx(copies[name].value)
        assert weighed[name].se == pytest.approx(copies[name].se, rel=0.01)


@pytest.mark.slow
def test_the_range_holds_the_threshold_that_is_best_in_truth_in_nearly_all_worlds():
    held = []
    for seed in range(60):
        labels, scores, reference, day = days(np.random.default_rng(seed), count=60, harm=0.0)
        answers = binary_answers(subject_from(labels, scores, reference, day))
        low, high = threshold_confidence_set(answers, choose_threshold(labels, scores, costs=COSTS), COSTS)
        held.append(low <= TRUE_BEST <= high)
    assert np.mean(held) >= 0.9


def _best_in_truth() -> float:
    """Return the best threshold of a sample so large that chance does not matter."""
    labels, scores, _, _ = days(np.random.default_rng(99), count=20_000, harm=0.0)
    return choose_threshold(labels, scores, costs=COSTS)


TRUE_BEST = _best_in_truth()


def test_more_days_know_the_threshold_better():
    widths = []
    for count in (30, 300):
        labels, scores, reference, day = days(np.random.default_rng(5), count=count, harm=0.0)
        answers = binary_answers(subject_from(labels, scores, reference, day))
        low, high = threshold_confidence_set(answers, choose_threshold(labels, scores, costs=COSTS), COSTS)
        widths.append(high - low)
    assert widths[1] < widths[0]


def test_with_few_groups_the_threshold_is_known_to_be_anywhere(make_subject):
    assert (measured(make_subject(count=19))["threshold"].low, measured(make_subject(count=19))["threshold"].high) == (
        0,
        1,
    )


def test_a_single_class_has_one_kind_of_error(make_subject):
    subject = make_subject(count=20)
    with pytest.raises(NotApplicable, match="rates of errors are undefined"):
        plugin(replace(subject, labels=np.zeros_like(subject.labels)))


@pytest.mark.parametrize(
    ("threshold", "names"),
    [(1.5, "f1.drop, recall.drop, precision.drop"), (-0.5, "false_positive_rate.drop")],
    ids=["nothing is positive", "everything is"],
)
def test_a_drop_that_no_variant_can_show_is_not_measured_and_says_so(make_subject, threshold, names):
    subject = replace(make_subject(count=25), threshold=threshold)
    [reason] = [found for found in plugin(subject) if isinstance(found, NotApplicable)]
    assert f"a rule on {names} cannot fail" in reason.what and reason.hint
    assert not set(names.split(", ")) & measured(subject).keys() and "accuracy.drop" in measured(subject)


def test_decisions_of_the_library_count_and_not_those_of_the_scores(make_subject):
    subject = make_subject(count=25)
    known = replace(
        subject, decisions=subject.labels.astype(np.int64), reference_decisions=1 - subject.labels.astype(int)
    )
    found = measured(known)
    assert (found["recall"].value, found["accuracy"].value, found["false_positive_rate"].value) == (1, 1, 0)
    assert found["accuracy.drop"].value == -1 if "accuracy.drop" in found else True
