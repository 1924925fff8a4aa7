"""Cross-fit the classes of a table with LightGBM, so that each row is told by a model that saw none of its group."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace

import lightgbm
import numpy as np
import polars as pl
from msgspec.structs import replace as changed
from numpy.typing import NDArray

from headway.core.dataset import Dataset, Roles
from headway.core.errors import NotApplicable
from headway.core.variant import Signature
from headway.data.labels.said import (
    FOLDS,
    Floats,
    Ints,
    OutOfFold,
    adjust_by_half_subgroups,
    adjust_by_subgroups,
    group_folds,
)
from headway.data.matrix import dataset_signature, matrix

BINS, QUARTERS = 63, 4
SCREENING_ROWS = 60_000
"""About how many rows a check asks."""
LARGE_TABLE_ROWS, LARGE_TABLE_FOLDS = 50_000, 3
"""From so many rows on, fewer folds: two thirds of them teach as well, and cost half."""
MIN_ROWS = 50
MAX_CLASSES = 50


@dataclass(frozen=True, slots=True)
class TreeShape:
    """How large a model is; `leaves` of 2 let no column depend on another."""

    trees: int
    leaves: int


FULL, ADDITIVE = TreeShape(60, 31), TreeShape(150, 2)
_last: dict[TreeShape, tuple[weakref.ref[pl.DataFrame], int, OutOfFold]] = {}


def out_of_fold(dataset: Dataset, *, rows: int = 0, shape: TreeShape = FULL) -> OutOfFold:
    """What models that learned from other groups say of the labelled rows, all or about so many in whole groups drawn.

    The last answer is kept for whoever asks again of the same table. Raises NotApplicable for a target that has no
    classes, or too few rows or groups to learn from.
    """
    kept = _last.get(shape)
    if kept and kept[0]() is dataset.table and kept[1] == rows:
        return kept[2]
    learned = cross_fit(dataset, rows=rows, shape=shape)
    _last[shape] = (weakref.ref(dataset.table), rows, learned)
    return learned


def cross_fit(dataset: Dataset, *, rows: int = 0, shape: TreeShape = FULL) -> OutOfFold:
    """As `out_of_fold`, learned anew; an additive model is told as it is, without what the rest of a group adds."""
    oof, learner = prepare_learner(dataset, rows=rows, shape=shape)
    count = LARGE_TABLE_FOLDS if len(oof.rows) >= LARGE_TABLE_ROWS else FOLDS
    place = group_folds(oof.groups, count)
    for fold in range(count):
        oof.probabilities[place == fold] = learner.fit(place != fold).predict_proba(place == fold)
    if shape == ADDITIVE:
        return oof
    parts = subgroups_of(dataset.table[oof.rows], dataset.roles, oof.groups)
    return replace(
        oof, probabilities=adjust_by_subgroups(oof, parts), confidence=adjust_by_half_subgroups(oof, parts[:2])
    )


def prepare_learner(dataset: Dataset, *, rows: int = 0, shape: TreeShape = FULL) -> tuple[OutOfFold, Learner]:
    """The labelled rows, of which nothing is said yet, and who learns of them; raises as `out_of_fold` does."""
    if dataset.roles.task not in ("binary", "multiclass"):
        raise NotApplicable(f"labels of task '{dataset.roles.task}' are no classes: none is right or wrong")
    known, groups = labeled_indices(dataset, most=rows)
    table = dataset.table[known]
    classes, labels = _encode_classes(table[dataset.roles.target])
    if len(known) < MIN_ROWS or groups.max() + 1 < FOLDS:
        raise NotApplicable(
            f"{len(known)} labelled rows in {groups.max() + 1 if len(known) else 0} groups: a model needs {MIN_ROWS}"
            f" rows and {FOLDS} groups"
        )
    signature = dataset_signature(_supported_features(Dataset(name=dataset.name, table=table, roles=dataset.roles)))
    silent = np.zeros((len(labels), len(classes)))
    oof = OutOfFold(rows=known, labels=labels, probabilities=silent, groups=groups, classes=classes, confidence=silent)
    return oof, Learner(matrix(table, signature), oof, signature, shape)


def _supported_features(dataset: Dataset) -> Dataset:
    """The dataset without the features that no model reads as they are, such as dates."""
    kinds = {name: dataset.table.schema[name] for name in dataset.features}
    texts = (pl.String, pl.Categorical, pl.Enum, pl.Boolean)
    others = [name for name, kind in kinds.items() if not (kind.is_numeric() or kind in texts)]
    if len(others) == len(kinds):
        raise NotApplicable("no feature is a number or a text to tell labels by")
    return replace(dataset, roles=changed(dataset.roles, ignore=(*dataset.roles.ignore, *others)))


class Learner:
    """Rows float64 [n, d] binned once, of which many models learn the labels."""

    def __init__(self, rows: Floats, oof: OutOfFold, signature: Signature, shape: TreeShape) -> None:
        texts = [place for place, field in enumerate(signature.inputs) if field.datatype == "BYTES"]
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
        binned = lightgbm.Dataset(
            rows, oof.labels, categorical_feature=texts, params=self._settings, free_raw_data=False
        )
        self._binned = binned.construct()

    def fit(self, chosen: NDArray[np.bool_]) -> Learner:
        """Itself, with a model of these rows."""
        rows = self._binned.subset(np.flatnonzero(chosen).tolist())
        self._model = lightgbm.train(self._settings, rows, num_boost_round=self._trees)
        return self

    def predict_proba(self, chosen: NDArray[np.bool_]) -> Floats:
        """The probabilities of these rows by the last model, float64 [m, k]."""
        found = np.asarray(self._model.predict(self._rows[chosen], num_threads=1), dtype=np.float64)
        return np.column_stack([1 - found, found]) if found.ndim == 1 else found


def labeled_indices(dataset: Dataset, *, most: int = 0) -> tuple[Ints, Ints]:
    """The places of rows with a label, int64 [n], and their groups, int64 [n]; with `most`, of groups drawn."""
    known = np.flatnonzero(dataset.table[dataset.roles.target].is_not_null().to_numpy())
    if dataset.roles.groups:
        groups = _dense_codes(dataset.table[dataset.roles.groups][known])
    else:
        groups = np.arange(len(known), dtype=np.int64)
    if not most or len(known) <= most:
        return known, groups
    sizes = np.bincount(groups)
    order = np.random.default_rng(0).permutation(len(sizes))
    drawn = order[: max(FOLDS, int(np.searchsorted(np.cumsum(sizes[order]), most, side="right")))]
    kept = np.isin(groups, drawn)
    return known[kept], np.unique(groups[kept], return_inverse=True)[1].astype(np.int64)


def subgroups_of(table: pl.DataFrame, roles: Roles, groups: Ints) -> list[Ints]:
    """The groups of rows, those in QUARTERS by time, and those by each slice column: rows that share more and more."""
    found = [groups]
    if roles.time:
        order = np.lexsort((table[roles.time].to_physical().to_numpy(), groups))
        sizes = np.bincount(groups)
        place = np.empty(len(groups), dtype=np.int64)
        place[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        found.append(groups * QUARTERS + place * QUARTERS // sizes[groups])
    for name in roles.slices:
        codes = _dense_codes(table[name].cast(pl.String).fill_null(""))
        found.append(groups * (int(codes.max()) + 1) + codes)
    return found


def _encode_classes(target: pl.Series) -> tuple[tuple[str, ...], Ints]:
    values = target.unique().sort()
    if not 2 <= len(values) <= MAX_CLASSES:
        raise NotApplicable(f"'{target.name}' has {len(values)} classes; 2 to {MAX_CLASSES} can be told apart")
    return tuple(_class_name(value) for value in values), _dense_codes(target)


def _class_name(value: object) -> str:
    return str(int(value)) if isinstance(value, float) else str(value)


def _dense_codes(column: pl.Series) -> Ints:
    numbers: Ints = column.rank("dense").cast(pl.Int64).to_numpy() - 1
    return numbers
