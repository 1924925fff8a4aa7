"""Oracles: Krippendorff (2011), sections A and C; the table of Fleiss (1971); for Cohen (1960) scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from headway.monitoring.labeling.agreement import (
    MISSING_LABEL,
    cohen_kappa,
    coincidences,
    fleiss_kappa,
    fleiss_tables,
    krippendorff_alpha,
    label_counts,
    leave_one_group_out,
    pair_tables,
)

OBSERVERS = (
    np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
            [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
        ]
    ).T
    - 1
)
SUBJECTS = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ],
    dtype=np.float64,
)


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_four_observers_with_gaps_matches_the_paper(level, alpha):
    tables = coincidences(label_counts(OBSERVERS, 5)).sum(axis=0)
    assert tables.sum() == 40
    assert krippendorff_alpha(tables, level) == pytest.approx(alpha, abs=5e-4)


def test_alpha_of_two_observers_matches_a_calculation_by_hand():
    """Ten items, two classes: 6 of 10 agree, 14 zeros and 6 ones; 1 - 19 * 8 / (2 * 14 * 6) = 0.095."""
    labels = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]).T
    assert krippendorff_alpha(coincidences(label_counts(labels, 2)).sum(axis=0)) == pytest.approx(0.095, abs=5e-4)


def test_kappa_of_fourteen_raters_matches_the_published_value():
    assert fleiss_kappa(fleiss_tables(SUBJECTS).sum(axis=0)) == pytest.approx(0.210, abs=5e-4)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=5, max_size=60))
def test_cohens_kappa_matches_scikit_learn(pairs):
    one, other = np.array(pairs).T
    ours = cohen_kappa(pair_tables(one, other, 4).sum(axis=0))
    if len(set(one) | set(other)) > 1:
        assert ours == pytest.approx(cohen_kappa_score(one, other), abs=1e-9)
    else:
        assert np.isnan(ours)


def test_an_item_skipped_by_an_annotator_does_not_count():
    one, other = np.array([0, MISSING_LABEL, 1]), np.array([0, 1, MISSING_LABEL])
    assert pair_tables(one, other, 2).sum() == 1
    assert fleiss_tables(label_counts(np.array([[0, MISSING_LABEL]]), 2)).sum() == 0
    assert coincidences(label_counts(np.array([[0, MISSING_LABEL]]), 2)).sum() == 0


def test_alpha_is_1_for_equal_labels_and_near_0_for_random_ones():
    draw = np.random.default_rng(0)
    true = draw.integers(0, 3, 3000)
    same = coincidences(label_counts(np.column_stack([true, true]), 3)).sum(axis=0)
    chance = coincidences(label_counts(draw.integers(0, 3, (3000, 2)), 3)).sum(axis=0)
    assert krippendorff_alpha(same) == 1
    assert abs(krippendorff_alpha(chance)) < 0.05


def test_leaving_out_a_group_equals_removing_its_items():
    draw = np.random.default_rng(1)
    labels, groups = draw.integers(0, 3, (60, 3)), np.repeat(np.arange(12), 5)
    tables = coincidences(label_counts(labels, 3))
    alpha = krippendorff_alpha(leave_one_group_out(tables, groups))
    assert alpha[4] == pytest.approx(krippendorff_alpha(coincidences(label_counts(labels[groups != 4], 3)).sum(axis=0)))
