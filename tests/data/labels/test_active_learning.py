from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from headway.data.labels.active_learning import GROUP_FACTOR, next_rows_to_label

DRAW = np.random.default_rng(0)


def two(chance: np.ndarray) -> np.ndarray:
    return np.column_stack([1 - chance, chance])


def test_the_first_is_what_the_model_is_most_torn_about():
    chance = np.linspace(0.5, 0.99, 100)
    rows = DRAW.normal(size=(100, 3)).clip(-1, 1)
    assert next_rows_to_label(two(chance), rows, np.arange(100), 5)[0] in range(3)


def test_rows_alike_are_not_asked_twice_while_others_wait():
    places = np.repeat([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], 25, axis=0)
    found = next_rows_to_label(two(np.full(100, 0.5)), places, np.arange(100), 20)
    assert sorted(found[:4] // 25) == [0, 1, 2, 3]


def test_no_group_gives_more_than_its_part():
    groups = np.repeat(np.arange(10), 100)
    chance = np.where(groups == 0, 0.5, 0.6)
    found = next_rows_to_label(two(chance), DRAW.normal(size=(1000, 2)), groups, 100)
    assert np.bincount(groups[found]).max() <= GROUP_FACTOR * 100 / 3


def test_a_row_like_none_other_is_left_out():
    rows = np.vstack([DRAW.normal(size=(99, 2)), [[1e6, 1e6]]])
    assert 99 not in next_rows_to_label(two(np.full(100, 0.5)), rows, np.arange(100), 20)


def test_fewer_rows_than_asked_are_given_once_each_and_missing_values_are_no_trouble():
    rows = np.full((30, 2), np.nan)
    rows[:, 0] = np.arange(30)
    found = next_rows_to_label(two(np.full(30, 0.4)), rows, np.arange(30), 100)
    assert len(set(found.tolist())) == len(found) == 28


@pytest.mark.slow
def test_a_hundred_digits_it_chooses_teach_more_than_a_hundred_by_chance():
    pixels, digit = load_digits(return_X_y=True)
    gains = []
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(len(digit))
        test, known, rest = order[:700], order[700:750], order[750:]
        model = SVC(gamma=0.001).fit(pixels[known], digit[known])
        said = np.exp(model.decision_function(pixels[rest]))
        said /= said.sum(axis=1, keepdims=True)
        chosen = rest[next_rows_to_label(said, pixels[rest], np.arange(len(rest)), 100)]
        right = [
            (SVC(gamma=0.001).fit(pixels[each], digit[each]).predict(pixels[test]) == digit[test]).mean()
            for each in (np.r_[known, chosen], np.r_[known, rest[:100]])
        ]
        gains.append(right[0] - right[1])
    assert np.mean(gains) > 0.01
