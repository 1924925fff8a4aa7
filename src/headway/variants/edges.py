"""Rows at the edges of a tree model: on each threshold and one step beside it, in and beside each set, missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.engines.formats.lightgbm_text import TextModel, Tree

Floats = NDArray[np.float64]

ROUNDS = 4
MOST_EDGES = 4096
_ANYWHERE = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-35, -1e-35, 2.0**24 + 1, -(2.0**24) - 1, 1e300, -1e300])
_AROUND_A_CATEGORY = np.array([-0.5, 0.0, 0.5, 1.0])


def edge_rows(model: TextModel, sample: Floats) -> Floats:
    """Rows float64 [m, d] in which about half of the values are edges of their column, the others those of `sample`.

    Every edge stands in four rows; of a column with more than 4,096 edges, that many are drawn. The same model and
    sample give the same rows.
    """
    random = np.random.default_rng(0)
    columns = [_edges(model, column, random) for column in range(model.width)]
    height = max(len(edges) for edges in columns)
    base = sample if len(sample) else np.zeros((1, model.width))
    return np.concatenate([_round(columns, base, height, random) for _ in range(ROUNDS)])


def categorical_columns(model: TextModel) -> list[int]:
    """Columns that some tree reads as categories."""
    return sorted({int(column) for tree in model.trees for column in tree.feature[tree.categorical]})


def _round(columns: list[Floats], base: Floats, height: int, random: np.random.Generator) -> Floats:
    """Rows [2 * height, d] with each edge once, in one of two rows that share what they do not take from the edges."""
    edges = np.column_stack([random.permutation(np.resize(column, height)) for column in columns])
    kept = base[random.integers(len(base), size=height)]
    half = random.random(edges.shape) < 0.5
    return np.concatenate([np.where(half, edges, kept), np.where(half, kept, edges)])


def _edges(model: TextModel, column: int, random: np.random.Generator) -> Floats:
    at = np.unique(np.concatenate([_ANYWHERE[:0], *(_thresholds(tree, column) for tree in model.trees)]))
    members = np.unique(np.concatenate([_ANYWHERE[:0], *(_members(tree, column) for tree in model.trees)]))
    with np.errstate(over="ignore"):  # the next number above the largest is infinity
        steps = np.nextafter(at[:, None], [-np.inf, np.inf]).ravel()
    found = np.concatenate([at, steps, np.add.outer(members, _AROUND_A_CATEGORY).ravel(), _ANYWHERE])
    return found if len(found) <= MOST_EDGES else random.choice(found, MOST_EDGES, replace=False)


def _thresholds(tree: Tree, column: int) -> Floats:
    thresholds: Floats = tree.threshold[(tree.feature == column) & ~tree.categorical]
    return thresholds


def _members(tree: Tree, column: int) -> Floats:
    numbers = tree.threshold[(tree.feature == column) & tree.categorical].astype(np.int64)
    return np.concatenate([_ANYWHERE[:0], *(tree.sets[number] for number in numbers)])
