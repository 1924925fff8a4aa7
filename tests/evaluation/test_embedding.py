"""Embeddings: neighbours, against an exhaustive search by scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors
from tests.evaluation.conftest import subject_from

from headway.core.errors import NotApplicable
from headway.evaluation.metrics import parity, quality

ROWS, GROUPS = 600, 30


def vectors(*, harm: float):
    """Return forty kinds of rows, each around its own direction.

    The variant's answers lie around those of the baseline.
    """
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 40, ROWS).astype(float)
    labels[0] = 99
    reference = rng.normal(size=(100, 16))[labels.astype(int)] + 0.8 * rng.normal(size=(ROWS, 16))
    scores = reference + harm * rng.normal(size=reference.shape)
    groups = np.repeat(np.arange(GROUPS), ROWS // GROUPS)
    subject = subject_from(labels, scores[:, 0], reference[:, 0], groups, task="embedding")
    return replace(subject, scores=scores, reference_scores=reference)


def measured(subject):
    return {measurement.name: measurement for measurement in quality.plugin(subject)}


def nearest(answers):
    search = NearestNeighbors(n_neighbors=11, metric="cosine", algorithm="brute").fit(answers)
    return search.kneighbors(answers, return_distance=False)[:, 1:]


def test_recall_and_neighbours_are_those_of_a_search_by_scikit_learn():
    subject = vectors(harm=1.0)
    found = measured(subject)
    own, before = nearest(subject.scores), nearest(subject.reference_scores)
    paired = subject.labels != 99
    for depth in (1, 10):
        now, then = (
            (subject.labels[item[:, :depth]] == subject.labels[:, None]).any(axis=1)[paired].mean()
            for item in (own, before)
        )
        assert found[f"recall{depth}"].value == pytest.approx(now)
        assert found[f"recall{depth}.drop"].value == pytest.approx(then - now)
    others = np.mean([len(set(a) - set(b)) / 10 for a, b in zip(own, before, strict=True)])
    assert found["neighbours.drop"].value == pytest.approx(others)


@pytest.mark.slow
def test_answers_that_only_grow_lose_nothing_and_those_that_turn_do():
    subject = vectors(harm=0.0)
    grown = measured(replace(subject, scores=3 * subject.reference_scores))
    assert grown["mean_cosine.drop"].high < 1e-6
    for name in ("recall1.drop", "recall10.drop", "neighbours.drop"):
        assert grown[name].value == 0 and grown[name].high < 0.02, "about 4 of 600 rows that were not seen to change"
    same = measured(replace(subject, scores=subject.reference_scores))
    assert all(same[f"{name}.drop"].high == 0 for name in ("recall1", "recall10", "neighbours")), "it is the baseline"
    turned = measured(vectors(harm=2.0))
    assert all(turned[f"{name}.drop"].low > 0 for name in ("recall1", "recall10", "neighbours", "mean_cosine"))
    assert turned["recall1.drop"].n_groups == GROUPS


def test_parity_of_embeddings_has_no_decisions():
    assert "decision_churn" not in {measurement.name for measurement in parity.plugin(vectors(harm=1.0))}


@pytest.mark.slow
def test_large_tables_are_measured_on_a_sample_of_queries():
    subject = vectors(harm=1.0)
    many = {name: np.tile(getattr(subject, name), (40, 1)) for name in ("scores", "reference_scores")}
    found = measured(replace(subject, labels=np.arange(24_000) % 7.0, groups=np.arange(24_000) // 800, **many))
    assert found["neighbours.drop"].n_rows == 1_000 and found["mean_cosine.drop"].n_rows == 24_000


def test_there_is_no_recall_if_every_row_has_its_own_label():
    subject = vectors(harm=1.0)
    assert "recall1" not in measured(replace(subject, labels=np.arange(ROWS).astype(float)))


def test_a_single_number_is_not_an_embedding():
    subject = vectors(harm=1.0)
    one = replace(subject, scores=subject.scores[:, :1], reference_scores=subject.reference_scores[:, :1])
    with pytest.raises(NotApplicable, match="not 1 outputs of 600 rows"):
        quality.plugin(one)
