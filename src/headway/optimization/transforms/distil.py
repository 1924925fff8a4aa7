"""Distil a model into a smaller booster, and train the same booster on the labels for comparison.

The second shows whether the model taught anything: on the flights data a student trained on hard labels did as well as
a distilled one (docs/decisions/0023-transforms-that-change-a-model.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightgbm
import numpy as np

from headway.core.arrays import Floats
from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.variant import NUMBERS, Step, Variant
from headway.optimization.context import TransformContext

STAGE = "train"
COST = {"rows": 20_000, "seconds": 5}


STUDENTS = ((100, 31), (30, 15))
_OBJECTIVES = {("binary", "model"): "cross_entropy", ("binary", "labels"): "binary"}
_RATE = 10.0  # so that the learning rate of 100 trees is 0.1


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return students of 100 trees of 31 leaves, and of 30 of 15, each trained on the model's answers and on labels.

    Raises
    ------
    NotApplicable
        If the training rows are unknown, the model has more than two classes, or it is not larger than a student.
    """
    if variant.steps:
        raise NotApplicable("only the baseline is distilled")
    if variant.task not in ("binary", *NUMBERS):
        raise NotApplicable(f"a student predicts one number, and the task is {variant.task!r}")
    if variant.signature.texts:
        raise NotApplicable(f"no model here learns from texts, such as '{variant.signature.texts[0]}'")
    data = context.train()
    if data is None:
        raise NotApplicable("the rows that the model was trained on are not available")
    content = context.read(variant)
    answers = context.open(variant).predict(data.rows)[:, 0]
    if variant.task == "binary" and not ((answers >= 0) & (answers <= 1)).all():
        raise NotApplicable("its answers are not probabilities")
    categorical = [index for index, field in enumerate(variant.signature.inputs) if field.datatype == "BYTES"]
    students = []
    for trees, leaves in STUDENTS:
        for teacher, target in (("model", answers), ("labels", data.labels)):
            objective = _OBJECTIVES.get((variant.task, teacher), "regression")
            text = train_student(data, target, {"objective": objective, "num_leaves": leaves}, (trees, categorical))
            if len(text) < len(content):
                settings: dict[str, Any] = {"trees": trees, "leaves": leaves, "taught_by": teacher}
                students.append((Step(transform="distil", settings=settings), text))
    if not students:
        raise NotApplicable(f"the model has {len(content):,} bytes, no more than a student")
    return [variant.remade(step, context.save(text, "lightgbm"), engine="lightgbm") for step, text in students]


def train_student(data: LabeledData, target: Floats, recipe: dict[str, Any], shape: tuple[int, list[int]]) -> bytes:
    """Train a booster and return its text; the same rows and target give the same text."""
    trees, categorical = shape
    data = lightgbm.Dataset(data.rows, target, weight=data.weights, categorical_feature=categorical)
    settings = {"learning_rate": _RATE / trees, "verbose": -1, "seed": 0, "deterministic": True, "force_row_wise": True}
    booster = lightgbm.train(recipe | settings, data, num_boost_round=trees)
    text: str = booster.model_to_string()
    return text.encode("utf-8")


def predict_student(text: bytes, rows: Floats) -> Floats:
    """Return the answers (n,) of a booster from its text."""
    return np.asarray(lightgbm.Booster(model_str=text.decode("utf-8")).predict(rows), dtype=np.float64)
