"""Train boosters on soft targets, and compute soft targets out of fold: shared by `distil` and `self_distil`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lightgbm
import numpy as np

from headway.core.arrays import Floats, Ints, sigmoid, softmax
from headway.core.contracts import LabeledData
from headway.core.errors import EngineError, NotApplicable
from headway.core.variant import MULTILABEL, NUMBERS, Variant
from headway.data.labels.out_of_fold import group_folds
from headway.engines.formats.lightgbm import read_lightgbm
from headway.optimization.context import TransformContext

FOLDS = 5
_RATE = 10.0  # so that the learning rate of 100 trees is 0.1
_FLOOR = 1e-9  # of a mean probability


def rows_to_learn(variant: Variant, context: TransformContext) -> LabeledData:
    """Return the rows that a student learns from.

    Raises
    ------
    NotApplicable
        If the variant is not the baseline, answers vectors or reads texts, or its training rows are unknown.
    """
    if variant.steps:
        raise NotApplicable("only the baseline is distilled")
    if variant.task == "embedding":
        raise NotApplicable("a student predicts classes or one number, and the task is 'embedding'")
    if variant.signature.texts:
        raise NotApplicable(f"no model here learns from texts, such as '{variant.signature.texts[0]}'")
    data = context.train()
    if data is None:
        raise NotApplicable("the rows that the model was trained on are not available")
    return with_listed_categories(data, variant)


def with_listed_categories(data: LabeledData, variant: Variant) -> LabeledData:
    """Return rows in which a category that no list has is missing.

    Its code is a hash of up to 32 bits, and LightGBM allocates memory for each category up to the largest code.
    """
    hashed = [(index, field) for index, field in enumerate(variant.signature.inputs) if field.unseen == "hashed"]
    if not hashed:
        return data
    rows = data.rows.copy()
    for index, field in hashed:
        rows[rows[:, index] >= len(field.categories), index] = np.nan
    return replace(data, rows=rows)


def label_targets(labels: Floats, outputs: int) -> Floats:
    """Return the labels as targets (n, outputs): those of several classes as probabilities 0 and 1."""
    if labels.ndim == 1 and outputs > 1:
        return np.eye(outputs)[labels.astype(np.int64)]
    return labels.reshape(len(labels), outputs)


def train_student(data: LabeledData, targets: Floats, variant: Variant, *, trees: int, leaves: int) -> bytes:
    """Train a booster on targets and return its text; the same rows and targets give the same text.

    Probabilities are fitted by cross-entropy, numbers by squared error. Targets of several classes that are 0 and 1
    give the booster of LightGBM's own objective `multiclass`.

    Parameters
    ----------
    data : LabeledData
        Training rows, whose labels are not read.
    targets : ndarray of shape (n, k)
        Probabilities of k classes or labels, or of the second class, or numbers.
    variant : Variant
        The model whose task and columns the student has.
    trees : int
        Trees of each output.
    leaves : int
        Most leaves of a tree.

    Raises
    ------
    EngineError
        If LightGBM cannot learn from these rows.
    """
    outputs = targets.shape[1]
    settings: dict[str, Any] = {"learning_rate": _RATE / trees, "num_leaves": leaves, "verbose": -1, "seed": 0}
    settings |= {"deterministic": True, "force_row_wise": True}
    start: Floats | None = None
    target = targets[:, 0]
    if outputs > 1:
        several = variant.task == MULTILABEL
        mean = np.clip(np.average(targets, axis=0, weights=data.weights), _FLOOR, 1 - _FLOOR)
        start = np.log(mean / (1 - mean)) if several else np.log(mean)
        settings |= {"objective": _soft_objective(targets, data.weights, several=several), "num_class": outputs}
        target = np.zeros(len(targets))
    else:
        settings["objective"] = "regression" if variant.task in NUMBERS else "cross_entropy"
    rows = lightgbm.Dataset(
        data.rows,
        target,
        weight=data.weights,
        init_score=None if start is None else np.tile(start, (len(targets), 1)),
        categorical_feature=_categorical(variant),
    )
    try:
        booster = lightgbm.train(settings, rows, num_boost_round=trees)
    except lightgbm.basic.LightGBMError as error:
        raise EngineError(f"LightGBM cannot learn from these rows: {error}") from error
    text: str = booster.model_to_string()
    return text.encode() if start is None else _with_start(booster, start, several=variant.task == MULTILABEL)


def _categorical(variant: Variant) -> list[int]:
    return [index for index, field in enumerate(variant.signature.inputs) if field.datatype == "BYTES"]


def _soft_objective(
    targets: Floats, weights: Floats | None, *, several: bool
) -> Callable[[Floats, lightgbm.Dataset], tuple[Floats, Floats]]:
    """Return gradient and Hessian of the cross-entropy with targets (n, k), scaled as LightGBM scales them."""
    outputs, scale = targets.shape[1], 1.0 if weights is None else weights[:, None]
    link, factor = (sigmoid, 1.0) if several else (softmax, outputs / (outputs - 1))

    def gradients(scores: Floats, _: lightgbm.Dataset) -> tuple[Floats, Floats]:
        answers = link(scores)
        return scale * (answers - targets), scale * factor * answers * (1 - answers)

    return gradients


def _with_start(booster: lightgbm.Booster, start: Floats, *, several: bool) -> bytes:
    """Return the text of a booster with the start of its sums in the first trees, and with its link.

    LightGBM writes neither for an objective that is a Python function.
    """
    for output, tree in enumerate(booster.dump_model(num_iteration=1)["tree_info"]):
        for leaf in range(tree["num_leaves"]):
            booster.set_leaf_output(output, leaf, booster.get_leaf_output(output, leaf) + start[output])
    model = read_lightgbm(booster.model_to_string().encode())
    objective = f"{'multiclassova' if several else 'multiclass'} num_class:{len(start)}" + " sigmoid:1" * several
    return replace(model, header={**model.header, "objective": objective}).text().encode()


def folds_of(data: LabeledData, *, ordered: bool) -> Ints:
    """Return the fold of each row, of whole groups: blocks in the order of the codes if `ordered`, else at random.

    Raises
    ------
    NotApplicable
        If there are fewer than five groups.
    """
    if len(np.unique(data.groups)) < FOLDS:
        raise NotApplicable(f"the training rows are of fewer than {FOLDS} groups")
    return group_folds(data.groups, FOLDS, seed=None if ordered else 0)


def cross_answers(folds: Ints, answers: Callable[[Ints, Ints], Floats]) -> Floats:
    """Return out-of-fold answers (n, k), given the answers of a model trained on rows to other rows, by their indices.

    Raises
    ------
    NotApplicable
        If a model answers another number of values than the others.
    """
    rows = [(np.flatnonzero(folds != number), np.flatnonzero(folds == number)) for number in np.unique(folds)]
    parts = [answers(learned, own) for learned, own in rows]
    if len({part.shape[1] for part in parts}) > 1:
        raise NotApplicable("the rows of a fold lack a class")
    return np.concatenate(parts)[np.argsort(np.concatenate([own for _, own in rows]))]


def labeled_subset(data: LabeledData, chosen: Ints) -> LabeledData:
    """Return some rows of labeled data, by their indices, without slices."""
    weights = None if data.weights is None else data.weights[chosen]
    return LabeledData(rows=data.rows[chosen], labels=data.labels[chosen], groups=data.groups[chosen], weights=weights)
