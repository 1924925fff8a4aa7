"""A small booster that learned what the model answers; beside it the same one that learned the labels themselves.

Without the second nobody could say whether the model taught anything: on the flights a student of hard labels did as
well as a distilled one (docs/decisions/0023-students-and-second-thoughts.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import NUMBERS, Step, Variant
from headway.optimization.context import TransformContext

STAGE = "train"

Floats = NDArray[np.float64]

STUDENTS = ((100, 31), (30, 15))
_OBJECTIVES = {("binary", "model"): "cross_entropy", ("binary", "labels"): "binary"}
_RATE = 10.0  # so that 100 trees take steps of 0.1


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Students of 100 trees of 31 leaves, and of 30 of 15, each taught by the `model` and by the `labels`.

    Raises NotApplicable where nobody knows what the model learned from, for a model of more than two classes, and for
    one that is no larger than its student.
    """
    if variant.steps:
        raise NotApplicable("the model as it came teaches alone")
    if variant.task not in ("binary", *NUMBERS):
        raise NotApplicable(f"a student learns one number, and the task is {variant.task!r}")
    lesson = context.train()
    if lesson is None:
        raise NotApplicable("a student learns on the rows that the model learned from, and none are at hand")
    content = context.read(variant)
    answers = load_engine(variant.engine)(content, {}).predict(lesson.rows)[:, 0]
    if variant.task == "binary" and not ((answers >= 0) & (answers <= 1)).all():
        raise NotApplicable("its answers are no probabilities that a student could learn")
    places = [place for place, field in enumerate(variant.signature.inputs) if field.datatype == "BYTES"]
    students = []
    for trees, leaves in STUDENTS:
        for teacher, target in (("model", answers), ("labels", lesson.labels)):
            objective = _OBJECTIVES.get((variant.task, teacher), "regression")
            text = _train_student(lesson, target, {"objective": objective, "num_leaves": leaves}, (trees, places))
            if len(text) < len(content):
                settings: dict[str, Any] = {"trees": trees, "leaves": leaves, "taught_by": teacher}
                students.append((Step(transform="distil", settings=settings), text))
    if not students:
        raise NotApplicable(f"the model has {len(content):,} bytes, no more than a student")
    return [variant.remade(step, context.save(text, "lightgbm"), engine="lightgbm") for step, text in students]


def _train_student(lesson: LabeledData, target: Floats, recipe: dict[str, Any], shape: tuple[int, list[int]]) -> bytes:
    """The text of a booster of so many trees, with these columns as categories; the same lesson gives the same."""
    trees, places = shape
    data = lightgbm.Dataset(lesson.rows, target, weight=lesson.weights, categorical_feature=places)
    settings = {"learning_rate": _RATE / trees, "verbose": -1, "seed": 0, "deterministic": True, "force_row_wise": True}
    booster = lightgbm.train(recipe | settings, data, num_boost_round=trees)
    text: str = booster.model_to_string()
    return text.encode("utf-8")
