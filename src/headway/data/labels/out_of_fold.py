"""Out-of-fold class probabilities: each row is predicted by a model trained on other groups.

The model is LightGBM, and naive Bayes of words if the table has texts.
The odds are then adjusted by the labels of the other rows in the row's group and subgroups.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import lightgbm
import numpy as np
import polars as pl
from msgspec.structs import replace as changed

from headway.core.arrays import Bools, Floats, Ints
from headway.core.dataset import Dataset, Roles
from headway.core.errors import NotApplicable
from headway.core.variant import DECIDES, MULTILABEL, Signature
from headway.data.languages import slice_values
from headway.data.matrix import dataset_signature, matrix
from headway.data.naive_bayes import fit_words

FOLDS = 5
PRIOR_STRENGTHS = (20.0, 100.0, 500.0)
"""Prior weights, in rows, of the class shares of all rows against those of a subgroup."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutOfFold:
    """Out-of-fold probabilities of labeled rows, shape (n, k).

    `rows` are row indices in the table; `labels` are indices into `classes`, the values of the target; `groups`
    are codes from 0. `confidence`, of shape (n, k), ranks the rows that are most certain to be of a class; it
    does not depend on the row's own label, not even through what remains of a subgroup without it.
    """

    rows: Ints
    labels: Ints
    probabilities: Floats
    groups: Ints
    classes: tuple[str, ...]
    confidence: Floats

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.groups.max()) + 1

    @property
    def label_probability(self) -> Floats:
        """Predicted probability of each row's label, shape (n,)."""
        return self.probabilities[np.arange(len(self.labels)), self.labels]


def group_folds(groups: Ints, count: int = FOLDS, *, seed: int | None = 0) -> Ints:
    """Assign whole groups to `count` folds of similar size, shape (n,): at random, or blocks in order if seed is None.

    >>> group_folds(np.repeat(np.arange(6), 2), 3, seed=None).tolist()
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    """
    sizes = np.bincount(groups)
    order = np.arange(len(sizes)) if seed is None else np.random.default_rng(seed).permutation(len(sizes))
    middles = np.cumsum(sizes[order]) - sizes[order] / 2
    of_group = np.empty(len(sizes), dtype=np.int64)
    of_group[order] = np.minimum(middles * count // len(groups), count - 1)
    return of_group[groups]


def adjust_by_subgroups(oof: OutOfFold, parts: Sequence[Ints]) -> Floats:
    """Adjust probabilities by the labels of the other rows in each row's subgroup.

    The odds of each class are multiplied by the ratio of its observed to its expected frequency in the rest of
    the subgroup. Both are shrunk by the prior strength with the lowest log loss. This adds what no other group
    can predict, such as a stormy day. A row's own label is left out.

    Parameters
    ----------
    oof : OutOfFold
        The probabilities to adjust.
    parts : sequence of ndarray of shape (n,)
        Divisions into subgroups, applied in turn.

    Returns
    -------
    ndarray of shape (n, k)
    """
    return _adjusted(oof, parts, _sum_of_others)


def adjust_by_half_subgroups(oof: OutOfFold, parts: Sequence[Ints]) -> Floats:
    """Adjust probabilities as `adjust_by_subgroups`, but each half of a subgroup by the other half.

    A leave-one-out sum is lower if the row's own label was of the class, so mislabeled rows would rank first
    among the most certain ones. Halves leave no such trace.
    """
    half = np.random.default_rng(0).integers(0, 2, len(oof.labels))

    def of_other_half(values: Floats, part: Ints) -> Floats:
        count = 2 * (int(part.max()) + 1)
        sums = np.column_stack([np.bincount(part * 2 + half, column, count) for column in values.T])
        found: Floats = sums[part * 2 + 1 - half]
        return found

    return _adjusted(oof, parts, of_other_half)


def _adjusted(oof: OutOfFold, parts: Sequence[Ints], rest: Callable[[Floats, Ints], Floats]) -> Floats:
    """Adjust by one division after the other, each with the best prior strength, or not at all."""
    one_hot = np.eye(len(oof.classes))[oof.labels]
    found = oof.probabilities
    for part in parts:
        seen, expected = (rest(candidate, part) for candidate in (one_hot, found))
        candidates = [found]
        for strength in PRIOR_STRENGTHS:
            prior = one_hot.mean(axis=0) * strength
            moved = found * (seen + prior) / (expected + prior)
            candidates.append(moved / moved.sum(axis=1, keepdims=True))
        found = min(candidates, key=lambda candidate: mean_log_loss(candidate, oof.labels))
    return found


def mean_log_loss(probabilities: Floats, labels: Ints) -> float:
    """Compute the mean log loss of labels, shape (n,), under probabilities, shape (n, k)."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())


def _sum_of_others(values: Floats, part: Ints) -> Floats:
    """Sum over the other rows of each row's subgroup, shape (n, k)."""
    sums = np.column_stack([np.bincount(part, column) for column in values.T])
    others: Floats = sums[part] - values
    return np.maximum(others, 0.0)


BINS, QUARTERS = 63, 4
SCREENING_ROWS = 60_000
"""Approximate number of rows that a check uses."""
LARGE_TABLE_ROWS, LARGE_TABLE_FOLDS = 50_000, 3
"""Tables of this size use fewer folds: two thirds of the rows train as well, at half the cost."""
MIN_ROWS = 50
MAX_CLASSES, MAX_CLASSES_OF_TEXTS = 50, 300


@dataclass(frozen=True, slots=True)
class TreeShape:
    """Size of a model; 2 leaves make it additive, without interactions."""

    trees: int
    leaves: int


FULL, ADDITIVE = TreeShape(60, 31), TreeShape(150, 2)
_last: dict[TreeShape, tuple[weakref.ref[pl.DataFrame], int, OutOfFold]] = {}


def out_of_fold(dataset: Dataset, *, rows: int = 0, shape: TreeShape = FULL) -> OutOfFold:
    """Return out-of-fold probabilities of the labeled rows, cached for repeated calls on the same table.

    Parameters
    ----------
    dataset : Dataset
        A binary or multiclass dataset.
    rows : int
        About how many rows to use, in whole groups drawn at random; 0 for all.
    shape : TreeShape
        The size of the models.

    Raises
    ------
    NotApplicable
        If the target has no classes, or there are too few rows or groups.
    """
    cached = _last.get(shape)
    if cached and cached[0]() is dataset.table and cached[1] == rows:
        return cached[2]
    oof = cross_fit(dataset, rows=rows, shape=shape)
    _last[shape] = (weakref.ref(dataset.table), rows, oof)
    return oof


def cross_fit(dataset: Dataset, *, rows: int = 0, shape: TreeShape = FULL) -> OutOfFold:
    """Compute out-of-fold probabilities; those of an additive model are not adjusted by subgroups."""
    learner: Learner | WordLearner
    if dataset.texts and shape == FULL:
        oof = _labeled(dataset, rows=rows, max_classes=MAX_CLASSES_OF_TEXTS)
        learner = WordLearner(dataset.table[oof.rows], dataset, oof)
    else:
        oof, learner = prepare_learner(dataset, rows=rows, shape=shape)
    count = LARGE_TABLE_FOLDS if len(oof.rows) >= LARGE_TABLE_ROWS else FOLDS
    fold_of_row = group_folds(oof.groups, count)
    for fold in range(count):
        oof.probabilities[fold_of_row == fold] = learner.fit(fold_of_row != fold).predict_proba(fold_of_row == fold)
    if shape == ADDITIVE:
        return oof
    parts = subgroups_of(dataset.table[oof.rows], dataset.roles, oof.groups)
    return replace(
        oof, probabilities=adjust_by_subgroups(oof, parts), confidence=adjust_by_half_subgroups(oof, parts[:2])
    )


def prepare_learner(dataset: Dataset, *, rows: int = 0, shape: TreeShape = FULL) -> tuple[OutOfFold, Learner]:
    """Return the labeled rows, with zero probabilities, and a learner for them; raise as `out_of_fold`."""
    oof = _labeled(dataset, rows=rows, max_classes=MAX_CLASSES)
    table = dataset.table[oof.rows]
    signature = dataset_signature(_supported_features(Dataset(name=dataset.name, table=table, roles=dataset.roles)))
    return oof, Learner(matrix(table, signature), oof, signature, shape)


def _labeled(dataset: Dataset, *, rows: int, max_classes: int) -> OutOfFold:
    """Return the labeled rows, with zero probabilities; raise as `out_of_fold`."""
    if dataset.roles.task == MULTILABEL:
        raise NotApplicable("wrong labels are estimated for one class a row, and rows have several labels here")
    if dataset.roles.task not in DECIDES:
        raise NotApplicable(f"task '{dataset.roles.task}' has no classes, so no label is wrong")
    known, groups = labeled_indices(dataset, max_rows=rows)
    table = dataset.table[known]
    classes, labels = _encode_classes(table[dataset.roles.target], max_classes)
    if len(known) < MIN_ROWS or groups.max() + 1 < FOLDS:
        raise NotApplicable(
            f"{len(known)} labelled rows in {groups.max() + 1 if len(known) else 0} groups: a model needs {MIN_ROWS}"
            f" rows and {FOLDS} groups"
        )
    silent = np.zeros((len(labels), len(classes)))
    return OutOfFold(rows=known, labels=labels, probabilities=silent, groups=groups, classes=classes, confidence=silent)


class WordLearner:
    """Naive Bayes over the words of texts and over the other features."""

    def __init__(self, table: pl.DataFrame, dataset: Dataset, oof: OutOfFold) -> None:
        features = _supported_features(Dataset(name=dataset.name, table=table, roles=dataset.roles), texts=True)
        signature = dataset_signature(features)
        self._rows, self._labels, self._n_classes = matrix(table, signature), oof.labels, len(oof.classes)
        self._texts = tuple(index for index, field in enumerate(signature.inputs) if field.is_text)

    def fit(self, chosen: Bools) -> WordLearner:
        """Train a model on the chosen rows."""
        labels = self._labels[chosen].astype(np.float64)
        self._model = fit_words(self._rows[chosen], labels, self._texts, n_classes=self._n_classes)
        return self

    def predict_proba(self, chosen: Bools) -> Floats:
        """Predict class probabilities of the chosen rows with the last model, shape (m, k)."""
        return self._model.predict(self._rows[chosen])


def _supported_features(dataset: Dataset, *, texts: bool = False) -> Dataset:
    """Ignore features that models cannot read directly, such as dates, and without `texts` also those."""
    kinds = {name: dataset.table.schema[name] for name in dataset.features}
    strings = (pl.String, pl.Categorical, pl.Enum, pl.Boolean)
    left_out = () if texts else dataset.texts
    others = [name for name, kind in kinds.items() if name in left_out or not (kind.is_numeric() or kind in strings)]
    if len(others) == len(kinds):
        raise NotApplicable(f"no feature is a number or a {'category' if dataset.texts else 'string'}")
    return replace(dataset, roles=changed(dataset.roles, ignore=(*dataset.roles.ignore, *others)))


class Learner:
    """LightGBM over rows that are binned once, for training many models."""

    def __init__(self, rows: Floats, oof: OutOfFold, signature: Signature, shape: TreeShape) -> None:
        texts = [index for index, field in enumerate(signature.inputs) if field.datatype == "BYTES"]
        several = {"objective": "multiclass", "num_class": len(oof.classes)}
        self._settings = {
            **({"objective": "binary"} if len(oof.classes) == 2 else several),
            "num_leaves": shape.leaves,
            "max_bin": BINS,
            "feature_fraction": 0.6 if shape.leaves > 2 else 1.0,
            "min_data_in_leaf": int(np.clip(len(rows) // 2000, 5, 100)),
            "seed": 0,
            "deterministic": True,
            "force_col_wise": True,
            "verbose": -1,
            "num_threads": 1,
        }
        self._rows, self._trees = rows, shape.trees
        self._names, self._texts = signature.names, frozenset(texts)
        binned = lightgbm.Dataset(
            rows, oof.labels, categorical_feature=texts, params=self._settings, free_raw_data=False
        )
        self._binned = binned.construct()

    def fit(self, chosen: Bools) -> Learner:
        """Train a model on the chosen rows."""
        rows = self._binned.subset(np.flatnonzero(chosen).tolist())
        self._model = lightgbm.train(self._settings, rows, num_boost_round=self._trees)
        return self

    def separability(self, rows: Ints, columns: Sequence[str], *, others: int = 5) -> float:
        """Return the ROC AUC, over two folds, of separating some rows, by the other columns, from a sample of the rest.

        0.5 without another column. `others` is how many rows of the rest are drawn for each row.
        """
        used = [index for index, name in enumerate(self._names) if name not in columns]
        inside = np.zeros(len(self._rows), dtype=np.bool_)
        inside[rows] = True
        draw = np.random.default_rng(0)
        rest = np.flatnonzero(~inside)
        rest = draw.permutation(rest)[: others * len(rows)]
        chosen = draw.permutation(np.concatenate([rows, rest]))
        if not used or not len(rest):
            return 0.5
        values, labels = self._rows[chosen][:, used], inside[chosen].astype(np.int64)
        texts = [index for index, column in enumerate(used) if column in self._texts]
        settings = {**self._settings, "objective": "binary", "num_leaves": 15, "min_data_in_leaf": 5}
        settings.pop("num_class", None)
        half = np.arange(len(chosen)) % 2
        scores = np.empty(len(chosen))
        for fold in (0, 1):
            part = lightgbm.Dataset(
                values[half != fold], labels[half != fold], categorical_feature=texts, params=settings
            )
            scores[half == fold] = np.asarray(
                lightgbm.train(settings, part, num_boost_round=40).predict(values[half == fold], num_threads=1)
            )
        ranks = pl.Series(scores).rank("average").to_numpy()
        n_inside = int(labels.sum())
        above = ranks[labels == 1].sum() - n_inside * (n_inside + 1) / 2
        return float(above / (n_inside * (len(labels) - n_inside)))

    def predict_proba(self, chosen: Bools) -> Floats:
        """Predict class probabilities of the chosen rows with the last model, shape (m, k)."""
        found = np.asarray(self._model.predict(self._rows[chosen], num_threads=1), dtype=np.float64)
        return np.column_stack([1 - found, found]) if found.ndim == 1 else found


def labeled_indices(dataset: Dataset, *, max_rows: int = 0) -> tuple[Ints, Ints]:
    """Return the indices of labeled rows and their group codes; with `max_rows`, of randomly drawn groups."""
    known = np.flatnonzero(dataset.table[dataset.roles.target].is_not_null().to_numpy())
    if dataset.roles.groups:
        groups = _dense_codes(dataset.table[dataset.roles.groups][known])
    else:
        groups = np.arange(len(known), dtype=np.int64)
    if not max_rows or len(known) <= max_rows:
        return known, groups
    sizes = np.bincount(groups)
    order = np.random.default_rng(0).permutation(len(sizes))
    drawn = order[: max(FOLDS, int(np.searchsorted(np.cumsum(sizes[order]), max_rows, side="right")))]
    selected = np.isin(groups, drawn)
    return known[selected], np.unique(groups[selected], return_inverse=True)[1].astype(np.int64)


def subgroups_of(table: pl.DataFrame, roles: Roles, groups: Ints) -> list[Ints]:
    """Return the divisions of rows by group, by quarter of a group in time, and by group and slice column."""
    found = [groups]
    if roles.time:
        order = np.lexsort((table[roles.time].to_physical().to_numpy(), groups))
        sizes = np.bincount(groups)
        rank = np.empty(len(groups), dtype=np.int64)
        rank[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        found.append(groups * QUARTERS + rank * QUARTERS // sizes[groups])
    for name in roles.slices:
        codes = _dense_codes(slice_values(table, roles, name).cast(pl.String).fill_null(""))
        found.append(groups * (int(codes.max()) + 1) + codes)
    return found


def _encode_classes(target: pl.Series, max_classes: int) -> tuple[tuple[str, ...], Ints]:
    values = target.unique().sort()
    if not 2 <= len(values) <= max_classes:
        raise NotApplicable(f"'{target.name}' has {len(values)} classes; 2 to {max_classes} are supported")
    return tuple(_class_name(value) for value in values), _dense_codes(target)


def _class_name(value: object) -> str:
    return str(int(value)) if isinstance(value, float) else str(value)


def _dense_codes(column: pl.Series) -> Ints:
    return column.rank("dense").cast(pl.Int64).to_numpy() - 1
