"""Tables of counts: exact up to their bins, and errors for answers that are not binary."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as changed
from sklearn.metrics import roc_auc_score

from headway.core.errors import NotApplicable
from headway.evaluation.statistics import tables
from headway.evaluation.statistics.tables import (
    auc,
    bin_table,
    binary_answers,
    exact_auc,
    leave_one_out_auc,
    leave_one_out_mean,
    quantile_edges,
    score_table,
)

answered = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.9, 1.0]), st.booleans()), min_size=2).filter(
    lambda rows: len({label for _, label in rows}) == 2
)


@pytest.mark.slow
@given(answered)
@settings(deadline=None)
def test_the_area_under_the_curve_is_that_of_scikit_learn_ties_included(rows):
    scores, labels = np.array([score for score, _ in rows]), np.array([float(label) for _, label in rows])
    assert exact_auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_the_binned_area_is_near_the_exact_one(make_subject):
    answers = binary_answers(make_subject(count=40, rows=300))
    table = score_table(answers.scores, answers)
    binned = float(auc(table.positives.sum(0), table.negatives.sum(0)))
    assert binned == pytest.approx(exact_auc(answers.scores, answers.labels), abs=1e-5)


def test_leaving_a_block_out_is_computing_without_its_rows(make_subject):
    answers = binary_answers(make_subject(count=6, rows=40))
    rest = answers.groups != 3
    without = leave_one_out_auc(score_table(answers.scores, answers))
    assert without[3] == pytest.approx(exact_auc(answers.scores[rest], answers.labels[rest]), abs=1e-3)
    means = leave_one_out_mean(answers.per_block(answers.labels), answers.rows)
    assert means[3] == pytest.approx(answers.labels[rest].mean(), abs=1e-12)


@given(st.lists(st.floats(0, 1, width=16), min_size=1), st.integers(1, 20))
def test_edges_cut_into_few_bins_and_never_an_empty_one(values, bins):
    scores = np.array(values)
    edges = quantile_edges(scores, bins)
    filled = np.unique(np.searchsorted(edges, scores, side="right"))
    assert len(filled) == len(edges) + 1 <= bins


def test_bins_hold_every_row_positive_and_score(make_subject):
    answers = binary_answers(make_subject(count=10))
    table = bin_table(answers, 15)
    assert table.rows.shape == (10, 15)
    totals = [table.rows.sum(), table.positives.sum(), table.scores.sum()]
    assert totals == pytest.approx([answers.n_rows, answers.labels.sum(), answers.scores.sum()])
    assert table.rows.sum(0).max() - table.rows.sum(0).min() <= 1


def test_numbers_of_groups_that_no_row_has_do_not_count(make_subject):
    subject = make_subject(count=5)
    answers = binary_answers(replace(subject, groups=subject.groups * 7 + 2))
    assert (answers.n_groups, answers.n_blocks) == (5, 5)
    assert np.array_equal(answers.groups, subject.groups)


def test_more_groups_than_a_table_holds_fall_into_blocks_of_neighbours(make_subject, monkeypatch):
    monkeypatch.setattr(tables, "MAX_BLOCKS", 4)
    answers = binary_answers(make_subject(count=10))
    assert (answers.n_groups, answers.n_blocks) == (10, 4)
    assert np.unique(answers.blocks).tolist() == [0, 1, 2, 3]
    assert (np.diff(answers.blocks) >= 0).all()


def test_rows_without_common_groups_are_put_into_a_thousand_blocks(make_subject):
    subject = make_subject(count=40)
    answers = binary_answers(replace(subject, groups=np.arange(len(subject.labels))))
    assert answers.n_blocks == 1000 < answers.n_groups == answers.n_rows


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda s: replace(s, variant=changed(s.variant, task="regression")), "not for 'regression'"),
        (lambda s: replace(s, labels=s.labels + 1), "labels must be 0 or 1"),
        (lambda s: replace(s, labels=s.labels[:0]), "labels must be 0 or 1"),
        (lambda s: replace(s, scores=s.scores * 3 - 1), "answers of the variant are not probabilities"),
        (lambda s: replace(s, reference_scores=s.scores * np.nan), "of the baseline are not probabilities"),
    ],
)
def test_answers_that_are_not_binary_are_refused_with_a_reason(make_subject, change, what):
    with pytest.raises(NotApplicable, match=what):
        binary_answers(change(make_subject(count=3)))


def test_probabilities_beyond_one_by_rounding_are_clipped(make_subject):
    subject = make_subject(count=3)
    answers = binary_answers(replace(subject, scores=np.full_like(subject.scores, 1 + 1e-7)))
    assert answers.scores.max() == 1
