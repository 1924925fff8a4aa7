"""Distil from models that never saw the row they answer, so that the student learns no single row by heart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from headway.core.arrays import Floats
from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.variant import Step, Variant
from headway.optimization.context import TransformContext
from headway.optimization.transforms.distil import predict_student, train_student

STAGE = "train"
COST = {"rows": 20_000, "seconds": 10}
REQUIRES = ("private",)
COMES_FIRST = True

FOLDS, TREES, LEAVES = 5, 100, 31


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return a booster of 100 trees that learned out-of-fold answers (Tang et al. 2022) in place of labels.

    Each training row is answered by a booster of the same size that was trained on the other groups.

    Raises
    ------
    NotApplicable
        If the training rows are unknown, are of fewer than five groups, or the model is not binary or reads texts.
    """
    if variant.steps:
        raise NotApplicable("only the baseline is distilled")
    if variant.task != "binary":
        raise NotApplicable(f"a student predicts one probability, and the task is {variant.task!r}")
    if variant.signature.texts:
        raise NotApplicable(f"no model here learns from texts, such as '{variant.signature.texts[0]}'")
    data = context.train()
    if data is None:
        raise NotApplicable("the rows that the model was trained on are not available")
    categorical = [index for index, field in enumerate(variant.signature.inputs) if field.datatype == "BYTES"]
    answers = out_of_fold_answers(data, categorical)
    text = train_student(data, answers, {"objective": "cross_entropy", "num_leaves": LEAVES}, (TREES, categorical))
    step = Step(transform="self_distil", settings={"trees": TREES, "leaves": LEAVES, "folds": FOLDS})
    return [variant.remade(step, context.save(text, "lightgbm"), engine="lightgbm")]


def out_of_fold_answers(data: LabeledData, categorical: list[int]) -> Floats:
    """Return the answers (n,) of boosters that were trained on the groups of the other folds."""
    fold = data.groups % FOLDS
    if len(np.unique(fold)) < FOLDS:
        raise NotApplicable(f"the training rows are of fewer than {FOLDS} groups")
    answers = np.empty(len(data.labels))
    for number in range(FOLDS):
        other, own = fold != number, fold == number
        weights = None if data.weights is None else data.weights[other]
        part = replace(
            data, rows=data.rows[other], labels=data.labels[other], groups=data.groups[other], weights=weights
        )
        shape = (TREES, categorical)
        booster = train_student(part, part.labels, {"objective": "binary", "num_leaves": LEAVES}, shape)
        answers[own] = predict_student(booster, data.rows[own])
    return answers
