from __future__ import annotations

import numpy as np
import pytest

from headway.optimization.training import balanced_indices, balanced_weights

LABELS = np.array([0.0] * 90 + [1.0] * 7 + [2.0] * 3)


def test_weights_give_all_classes_the_same_sum_and_have_mean_one():
    weights = balanced_weights(LABELS)
    assert [weights[label == LABELS].sum() for label in range(3)] == pytest.approx([100 / 3] * 3)
    assert weights.mean() == pytest.approx(1.0)


def test_rows_are_repeated_until_classes_are_equal_and_none_is_left_out():
    indices = balanced_indices(LABELS, seed=1)
    assert np.bincount(LABELS[indices].astype(int)).tolist() == [90, 90, 90]
    assert set(indices.tolist()) == set(range(100))
    counts = np.bincount(indices)[LABELS == 1]
    assert counts.max() - counts.min() <= 1
