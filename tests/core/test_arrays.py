"""Sigmoid, logit and softmax are accurate and do not overflow; logistic regression finds the maximum."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from scipy import sparse, special

from headway.core.arrays import copy_rows, fit_logistic, logit, sigmoid, softmax, sparse_to_dense

X = np.array([-800.0, -30.0, -1.0, 0.0, 1.0, 30.0, 800.0])


def test_sigmoid_equals_scipy_without_overflow() -> None:
    assert np.allclose(sigmoid(X), special.expit(X), atol=1e-15)
    assert sigmoid(X, limit=30).min() == special.expit(-30.0)


@pytest.mark.parametrize("p", [0.0, 1e-3, 0.5, 1.0])
def test_logit_is_the_inverse_of_sigmoid_within_epsilon(p: float) -> None:
    found = logit(np.array([p]), epsilon=1e-6)
    assert np.allclose(sigmoid(found), np.clip(p, 1e-6, 1 - 1e-6))


def test_softmax_equals_scipy_for_large_values() -> None:
    rows = np.array([[1.0, 2.0, 3.0], [1000.0, 0.0, -1000.0]])
    assert np.allclose(softmax(rows), special.softmax(rows, axis=1))


def test_logistic_regression_finds_the_log_odds_of_a_constant() -> None:
    labels = np.repeat([1.0, 0.0], [3, 1])
    assert np.allclose(fit_logistic(np.ones((4, 1)), labels, start=np.zeros(1)), logit(np.array([0.75]), epsilon=1e-12))


def test_separable_labels_end_with_finite_coefficients() -> None:
    found = fit_logistic(np.array([[-1.0], [1.0]]), np.array([0.0, 1.0]), start=np.zeros(1))
    assert np.isfinite(found).all() and found[0] > 5


def test_cells_that_a_sparse_row_does_not_store_are_absent_and_values_of_one_cell_are_summed() -> None:
    plain = sparse.csr_matrix(np.array([[0.0, 2.0], [3.0, 0.0]]))
    assert np.array_equal(sparse_to_dense(plain, np.nan), [[np.nan, 2.0], [3.0, np.nan]], equal_nan=True)
    twice = sparse.csr_matrix(([1.0, 4.0, 0.0], [1, 1, 0], [0, 2, 3]), shape=(2, 2))
    assert np.array_equal(sparse_to_dense(twice, -1.0), [[-1.0, 5.0], [0.0, -1.0]])
    assert twice.nnz == 3


@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_are_copied_from_the_pieces_of_columns(order: Literal["C", "F"]) -> None:
    values = np.arange(20.0).reshape(10, 2)
    pieces = [[values[:3, 0], values[3:4, 0], values[4:, 0]], [values[:, 1]]]
    for start, stop in ((0, 10), (3, 4), (5, 9), (4, 4)):
        rows = copy_rows(pieces, start, stop, order=order)
        assert np.array_equal(rows, values[start:stop])
        assert rows.flags[f"{order}_CONTIGUOUS"]
