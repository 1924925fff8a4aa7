from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from headway.monitoring.labeling.selection import GROUP_FACTOR, next_rows_to_label

DRAW = np.random.default_rng(0)


def two(chance: np.ndarray) -> np.ndarray:
    return np.column_stack([1 - chance, chance])


def test_the_most_uncertain_row_is_first():
    chance = np.linspace(0.5, 0.99, 100)
    rows = DRAW.normal(size=(100, 3)).clip(-1, 1)
    assert next_rows_to_label(two(chance), rows, np.arange(100), 5)[0] in range(3)


def test_similar_rows_are_not_selected_before_different_ones():
    positions = np.repeat([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], 25, axis=0)
    found = next_rows_to_label(two(np.full(100, 0.5)), positions, np.arange(100), 20)
    assert sorted(found[:4] // 25) == [0, 1, 2, 3]


def test_no_group_gives_more_than_three_times_its_share():
    groups = np.repeat(np.arange(10), 100)
    chance = np.where(groups == 0, 0.5, 0.6)
    found = next_rows_to_label(two(chance), DRAW.normal(size=(1000, 2)), groups, 100)
    assert np.bincount(groups[found]).max() <= GROUP_FACTOR * 100 / 3


def test_an_outlier_is_left_out():
    rows = np.vstack([DRAW.normal(size=(99, 2)), [[1e6, 1e6]]])
    assert 99 not in next_rows_to_label(two(np.full(100, 0.5)), rows, np.arange(100), 20)


def test_fewer_rows_than_requested_are_returned_once_and_missing_values_are_accepted():
    rows = np.full((30, 2), np.nan)
    rows[:, 0] = np.arange(30)
    found = next_rows_to_label(two(np.full(30, 0.4)), rows, np.arange(30), 100)
    assert len(set(found.tolist())) == len(found) == 28


@pytest.mark.slow
def test_a_hundred_selected_digits_improve_a_model_more_than_a_hundred_random_ones():
    pixels, digit = load_digits(return_X_y=True)
    gains = []
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(len(digit))
        test, known, rest = order[:700], order[700:750], order[750:]
        model = SVC(gamma=0.001).fit(pixels[known], digit[known])
        probabilities = np.exp(model.decision_function(pixels[rest]))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        chosen = rest[next_rows_to_label(probabilities, pixels[rest], np.arange(len(rest)), 100)]
        accuracies = [
            (SVC(gamma=0.001).fit(pixels[train], digit[train]).predict(pixels[test]) == digit[test]).mean()
            for train in (np.r_[known, chosen], np.r_[known, rest[:100]])
        ]
        gains.append(accuracies[0] - accuracies[1])
    assert np.mean(gains) > 0.01
