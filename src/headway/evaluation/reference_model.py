"""Simple reference models for the floor of a policy, and the rows that they are fitted on.

One tree of depth 3; over texts, naive Bayes of hashed words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.contracts import LabeledData, no_training_rows
from headway.data.naive_bayes import fit_words
from headway.evaluation.context import FloorRows
from headway.evaluation.statistics.tables import quantile_edges, tally, weighted

DEPTH, BINS, MAX_ROWS = 3, 32, 20_000
MIN_LEAF, MAX_MIN_LEAF = 5, 20
"""Rows that each leaf has at least: an eighth of all rows, within these bounds, so that small tables are split too."""
SHRINKAGE = 0.5
"""How far the answer of a leaf, or of words, goes from the mean of all rows to its own: few rows are not trusted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferenceTree:
    """A regression tree over binned columns: `edges` of each column, splits level by level, and leaves (2^depth, k).

    A split sends bins up to `cuts` to the left; a missing value is in the lowest bin.
    """

    edges: tuple[Floats, ...]
    columns: Ints
    cuts: Ints
    leaves: Floats

    def predict(self, rows: Floats) -> Floats:
        """Compute the answers (n, k) to rows (n, d): the mean label, or the share of each class."""
        node = np.zeros(len(rows), dtype=np.int64)
        for number in range(len(self.columns)):
            inside = node == number
            codes = _codes(rows[inside, self.columns[number]], self.edges[self.columns[number]])
            node[inside] = 2 * number + 1 + (codes > self.cuts[number])
        found: Floats = self.leaves[node - len(self.columns)]
        return found


def fit_reference_tree(data: LabeledData, *, n_classes: int = 0) -> ReferenceTree:
    """Fit the tree by squared error, at most `MAX_ROWS` rows evenly spread.

    Parameters
    ----------
    data : LabeledData
        At least one row.
    n_classes : int
        For labels that are class numbers; 0 for labels that are numbers.
    """
    data = spread_rows(data, MAX_ROWS)
    edges = tuple(_edges(column) for column in data.rows.T)
    codes = [_codes(column, cuts) for column, cuts in zip(data.rows.T, edges, strict=True)]
    columns, cuts = np.zeros(2**DEPTH - 1, dtype=np.int64), np.zeros(2**DEPTH - 1, dtype=np.int64)
    node = np.zeros(len(data.labels), dtype=np.int64)
    min_leaf = int(np.clip(len(data.labels) // 2**DEPTH, MIN_LEAF, MAX_MIN_LEAF))
    for depth in range(DEPTH):
        first, count = 2**depth - 1, 2**depth
        columns[first : first + count], cuts[first : first + count] = _best_splits(
            codes, node - first, count, data, n_classes, min_leaf=min_leaf
        )
        chosen = columns[node]
        bins = np.zeros(len(node), dtype=np.int64)
        for column in np.unique(chosen):
            bins[chosen == column] = codes[column][chosen == column]
        node = 2 * node + 1 + (bins > cuts[node])
    sums, rows = _totals(node - len(columns), 2**DEPTH, data, n_classes)
    mean = sums.sum(0) / rows.sum()
    own = np.where(rows[:, None] > 0, sums / np.maximum(rows, np.finfo(np.float64).tiny)[:, None], mean)
    return ReferenceTree(edges=edges, columns=columns, cuts=cuts, leaves=mean + SHRINKAGE * (own - mean))


def fit_reference(data: LabeledData, *, texts: tuple[int, ...] = (), n_classes: int = 0) -> Callable[[Floats], Floats]:
    """Fit the tree, or naive Bayes if some columns are `texts`, and return its `predict`, (n, d) to (n, k).

    For labels (n, k) of several a row, one is fitted for each.
    """
    if data.labels.ndim == 2:
        return _fit_labels(spread_rows(data, MAX_ROWS), texts)
    if not texts:
        return fit_reference_tree(data, n_classes=n_classes).predict
    data = spread_rows(data, MAX_ROWS)
    is_binary = not n_classes and bool(np.isin(data.labels, (0.0, 1.0)).all())
    n_fitted = 2 if is_binary else n_classes
    fitted = fit_words(data.rows, data.labels, texts, n_classes=n_fitted, weights=data.weights)
    mean = fitted.mean

    def predict(rows: Floats) -> Floats:
        found: Floats = mean + (SHRINKAGE if n_fitted else 1.0) * (fitted.predict(rows) - mean)
        return found[:, 1:] if is_binary else found

    return predict


def _fit_labels(data: LabeledData, texts: tuple[int, ...]) -> Callable[[Floats], Floats]:
    """Fit a reference model to each column of the labels (n, k), 0 and 1."""
    if texts:
        words = fit_words(data.rows, data.labels, texts, n_classes=data.labels.shape[1], weights=data.weights)
        return lambda rows: words.mean + SHRINKAGE * (words.predict(rows) - words.mean)
    trees = [fit_reference_tree(replace(data, labels=labels)) for labels in data.labels.T]
    return lambda rows: np.column_stack([tree.predict(rows)[:, 0] for tree in trees])


def _edges(column: Floats) -> Floats:
    known = column[np.isfinite(column)]
    return quantile_edges(known, BINS) if len(known) else np.empty(0)


def _codes(column: Floats, edges: Floats) -> Ints:
    """Return the bin of each value, int64 (n,): 0 for a missing one."""
    return np.where(np.isnan(column), 0, 1 + np.searchsorted(edges, column, side="right"))


def _best_splits(
    codes: list[Ints], node: Ints, n_nodes: int, data: LabeledData, n_classes: int, *, min_leaf: int
) -> tuple[Ints, Ints]:
    """Return the column and the cut of each node with the largest decrease of the squared error.

    A node without a split that leaves `min_leaf` rows on both sides gets one that sends all rows to the left.
    """
    best = np.zeros(n_nodes)
    columns, cuts = np.zeros(n_nodes, dtype=np.int64), np.full(n_nodes, BINS + 1, dtype=np.int64)
    shape = (n_nodes, BINS + 1)
    for number, column in enumerate(codes):
        cells = node * shape[1] + column
        sums, rows = _totals(cells, n_nodes * shape[1], data, n_classes)
        counts = np.cumsum(tally(cells, n_nodes * shape[1]).reshape(shape), 1)
        left, left_rows = np.cumsum(sums.reshape(*shape, -1), 1), np.cumsum(rows.reshape(shape), 1)
        allowed = (counts >= min_leaf) & (counts[:, -1:] - counts >= min_leaf)
        gains = np.where(allowed, _split_gains(left, left_rows), 0.0)
        cut = np.argmax(gains, axis=1)
        gain = gains[np.arange(n_nodes), cut]
        better = gain > best
        best[better], columns[better], cuts[better] = gain[better], number, cut[better]
    return columns, cuts


def _split_gains(left: Floats, left_rows: Floats) -> Floats:
    """Return the decrease of the squared error by a cut after each bin, (nodes, bins)."""
    right, right_rows = left[:, -1:] - left, left_rows[:, -1:] - left_rows
    tiny = np.finfo(np.float64).tiny

    def explained(sums: Floats, rows: Floats) -> Floats:
        found: Floats = np.square(sums).sum(-1) / np.maximum(rows, tiny)
        return found

    gains: Floats = (
        explained(left, left_rows) + explained(right, right_rows) - explained(left[:, -1:], left_rows[:, -1:])
    )
    return gains


def _totals(cells: Ints, n_cells: int, data: LabeledData, n_classes: int) -> tuple[Floats, Floats]:
    """Return the sums of the labels, or the counts of the classes, (n_cells, k), and the rows by weight (n_cells,)."""
    if n_classes:
        counts = tally(cells * n_classes + data.labels.astype(np.int64), n_cells * n_classes, data.weights)
        found = counts.reshape(n_cells, n_classes)
        return found, found.sum(1)
    sums = tally(cells, n_cells, weighted(data.labels, data.weights))
    return sums[:, None], tally(cells, n_cells, data.weights)


def spread_rows(data: LabeledData, max_rows: int) -> LabeledData:
    """Return every k-th row so that at most `max_rows` remain."""
    return select_labeled(data, np.arange(0, len(data.labels), max(1, -(-len(data.labels) // max_rows))))


def select_labeled(data: LabeledData, which: Ints | Bools) -> LabeledData:
    """Return some rows of labeled data, without its slices."""
    weights = None if data.weights is None else data.weights[which]
    return replace(
        data, rows=data.rows[which], labels=data.labels[which], groups=data.groups[which], weights=weights, slices={}
    )


def floor_rows(
    validation: Callable[[], LabeledData],
    train: Callable[[], LabeledData | None] = no_training_rows,
    *,
    texts: tuple[int, ...] = (),
) -> FloorRows:
    """Return the rows on which a floor is fitted: at most `MAX_ROWS` of validation; the reference on those of train.

    `texts` are the columns of the rows that are texts.
    """
    return FloorRows(
        validation=lambda: spread_rows(validation(), MAX_ROWS),
        train=train,
        fit=lambda data, n_classes: fit_reference(data, texts=texts, n_classes=n_classes),
    )
