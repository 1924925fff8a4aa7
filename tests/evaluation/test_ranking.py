"""Rankings: values equal scikit-learn's for each query, drops are positive if the variant orders worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from tests.evaluation.conftest import subject_from

from headway.core.errors import NotApplicable
from headway.evaluation.metrics import parity, quality
from headway.evaluation.statistics.intervals import jackknife_error

LISTS = 24


def ranking(seed: int, *, ties: bool = False, harm: float = 0.3):
    """Return queries of 2 to 15 rows with relevance 0 to 3, two queries a day."""
    rng = np.random.default_rng(seed)
    lists = np.repeat(np.arange(LISTS), rng.integers(2, 16, LISTS))
    labels = rng.integers(0, 4, len(lists)).astype(float)
    reference = labels + rng.normal(size=len(lists))
    scores = reference + harm * rng.normal(size=len(lists))
    if ties:
        scores, reference = np.round(scores), np.round(reference)
    subject = subject_from(labels, scores, reference, lists // 2, task="ranking")
    return replace(subject, query_ids=lists, weights=rng.uniform(0.5, 3, len(lists)))


def measured(probe, subject):
    return {(measurement.name, measurement.slice): measurement for measurement in probe.plugin(subject)}


def by_hand(subject, scores):
    """Return NDCG, MRR and MAP of each query whose rows differ, with the weight and day of the query."""
    found = []
    for number in np.unique(subject.query_ids):
        inside = subject.query_ids == number
        labels, predicted = subject.labels[inside], scores[inside]
        if labels.min() == labels.max():
            continue
        first = min((predicted >= value).sum() for value in predicted[labels > 0])
        ndcg = metrics.ndcg_score([2**labels - 1], [predicted], k=10)
        average = metrics.average_precision_score(labels > 0, predicted)
        found.append((ndcg, 1 / first, average, subject.weights[inside].mean(), subject.groups[inside][0]))
    return np.array(found)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), ties=st.booleans())
def test_queries_are_measured_as_by_scikit_learn(seed, ties):
    subject = ranking(seed, ties=ties)
    found = measured(quality, subject)
    own, before = (by_hand(subject, score[:, 0]) for score in (subject.scores, subject.reference_scores))
    for index, name in enumerate(("ndcg10", "mrr", "map")):
        values = [np.average(item[:, index], weights=item[:, 3]) for item in (own, before)]
        assert found[name, ""].value == pytest.approx(values[0])
        assert found[f"{name}.drop", ""].value == pytest.approx(values[1] - values[0])


def test_the_measures_of_a_query_worked_by_hand():
    """Relevances 1, 0, 3, 0 in this order: DCG 1/1 + 7/2, ideal 7 + 1/log2(3)."""
    labels = np.tile([1.0, 0.0, 3.0, 0.0], 25)
    scores = np.tile([4.0, 3.0, 2.0, 1.0], 25)
    found = measured(quality, subject_from(labels, scores, scores, np.arange(100) // 4, task="ranking"))
    assert found["ndcg10", ""].value == pytest.approx((1 + 7 / 2) / (7 + 1 / np.log2(3)))
    assert found["map", ""].value == pytest.approx((1 + 2 / 3) / 2) and found["mrr", ""].value == 1
    assert (found["mrr", ""].n_groups, found["mrr", ""].n_rows) == (25, 100)


def test_the_interval_is_that_of_leaving_groups_out():
    subject = of_many_days()
    lists = by_hand(subject, subject.scores[:, 0])
    remaining = [lists[lists[:, 4] != day] for day in np.unique(lists[:, 4])]
    without_each = np.array([np.average(item[:, 0], weights=item[:, 3]) for item in remaining])
    found = measured(quality, subject)["ndcg10", ""]
    assert (found.n_groups, found.se) == (len(without_each), pytest.approx(float(jackknife_error(without_each))))


def of_many_days():
    """Return queries with a day each."""
    subject = ranking(4)
    return replace(subject, groups=subject.query_ids)


def test_two_queries_a_day_on_twelve_days_give_no_interval():
    assert measured(quality, ranking(3))["ndcg10", ""].n_groups == 12
    assert measured(quality, ranking(3))["ndcg10", ""].se is None


def test_without_query_ids_the_groups_are_the_queries():
    subject = of_many_days()
    assert measured(quality, replace(subject, query_ids=None)) == measured(quality, subject)


def test_a_variant_that_ranks_worse_has_a_drop_and_churn():
    subject = replace(ranking(5, harm=4.0), weights=None)
    subject = replace(subject, groups=subject.query_ids)
    assert measured(quality, subject)["ndcg10.drop", ""].low > 0
    found = measured(parity, subject)
    changed = [
        np.argmax(subject.scores[inside]) != np.argmax(subject.reference_scores[inside])
        for inside in (subject.query_ids == number for number in range(LISTS))
    ]
    assert found["decision_churn", ""].value == pytest.approx(np.mean(changed))
    assert ("decision_churn.near", "") not in found and found["max_change.relative", ""].value > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda subject: {"labels": -subject.labels}, "relevances from 0 to 31"),
        (
            lambda subject: {"query_ids": np.arange(len(subject.labels))},
            "no query of .* has rows of different relevance",
        ),
        (lambda subject: {"groups": np.arange(len(subject.labels))}, "belong to several groups"),
    ],
)
def test_queries_that_cannot_be_judged_are_rejected_with_a_reason(change, message):
    subject = ranking(6)
    with pytest.raises(NotApplicable, match=message):
        quality.plugin(replace(subject, **change(subject)))
