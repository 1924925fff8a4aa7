"""Distil a model into a smaller booster, and train the same booster on the labels for comparison.

A model answers its own training rows too well, so the student learns the answers of refits that did not see a row,
where the model can be refitted. The student of the labels shows whether the model taught anything
(docs/decisions/0140-students-of-slow-teachers.md).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.contracts import Engine, LabeledData
from headway.core.errors import EngineError, NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import NUMBERS, Step, Variant
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.trees import TreeEngine
from headway.optimization.context import TransformContext, median_seconds
from headway.optimization.refit import refitted_answers
from headway.optimization.transforms._students import (
    FOLDS,
    cross_answers,
    folds_of,
    label_targets,
    labeled_subset,
    rows_to_learn,
    train_student,
)

STAGE = "train"
COST = {"rows": 2_000, "seconds": 10}

STUDENTS = ((100, 31), (30, 15))
LIMIT_S = 120.0
"""Seconds in which a teacher must answer; it is refitted only within half of them."""
_TIMED_ROWS, _LEAST_ROWS = 100, 500
_CALLS = 20


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return students of 100 trees of 31 leaves, and of 30 of 15, each trained on the model's answers and on labels.

    The setting `taught_by` is `out_of_fold` for answers of refits on other groups, `in_sample` for the answers of a
    model that cannot be refitted in time, to the rows it was trained on, and `labels` for the comparison.

    Raises
    ------
    NotApplicable
        If the training rows are unknown, or the model is not larger (of trees) or slower (others) than a student.
    """
    data, content = rows_to_learn(variant, context), context.read(variant)
    model, limit_s = context.open(variant), min(LIMIT_S, context.limit_s)
    chosen = answered_rows(len(data.rows), _seconds_a_row(model, data.rows), limit_s / 2)
    some = labeled_subset(data, chosen)
    taught_by, answers = _teach(variant, context, some, chosen, limit_s / 2)
    if variant.task not in NUMBERS:
        if not ((answers >= 0) & (answers <= 1)).all():
            raise NotApplicable("its answers are not probabilities")
        if variant.task == "multiclass":
            answers = answers / answers.sum(axis=1, keepdims=True)
    labels = label_targets(some.labels, answers.shape[1])
    compares_bytes = _has_trees(variant, content)
    students = []
    for trees, leaves in STUDENTS:
        for teacher, target in ((taught_by, answers), ("labels", labels)):
            text = train_student(some, target, variant, trees=trees, leaves=leaves)
            if compares_bytes and len(text) >= len(content):
                continue
            settings: dict[str, Any] = {"trees": trees, "leaves": leaves, "taught_by": teacher}
            if len(some.rows) < len(data.rows):
                settings["rows"] = len(some.rows)
            students.append((Step(transform="distil", settings=settings), text))
    if not students:
        raise NotApplicable(f"the model has {len(content):,} bytes, no more than a student")
    if not compares_bytes:
        _require_slower(model, students[-1][1], data.rows)
    return [variant.remade(step, context.save(text, "lightgbm"), engine="lightgbm") for step, text in students]


def _seconds_a_row(model: Engine, rows: Floats) -> float:
    """Return the time that a model takes to answer a row of a batch, after a first call."""
    model.predict(rows[:1])
    began = time.perf_counter()
    model.predict(rows[:_TIMED_ROWS])
    return (time.perf_counter() - began) / len(rows[:_TIMED_ROWS])


def answered_rows(count: int, row_s: float, limit_s: float) -> Ints:
    """Return the indices of the rows that are answered in time: all, or each second, third, ...

    >>> answered_rows(2_000, 1e-4, 1.0).shape, answered_rows(2_000, 1e-3, 1.0).tolist()[:3]
    ((2000,), [0, 2, 4])
    """
    step = max(math.ceil(count * row_s / limit_s), 1)
    if step > 1 and count // step < _LEAST_ROWS:
        raise NotApplicable(f"the model takes {row_s:.2g} s a row, too long to teach in {limit_s:.3g} s")
    return np.arange(0, count, step)


def _teach(
    variant: Variant, context: TransformContext, data: LabeledData, chosen: Ints, limit_s: float
) -> tuple[str, Floats]:
    """Return who answers the rows, and the answers (n, k): refits that did not see a row, else the model itself."""
    try:
        folds = folds_of(data, ordered=context.ordered)
        if context.refit is None:
            answers = refitted_answers(variant.engine, context.read(variant), data, folds, limit_s=limit_s)
        else:
            answers = _answers_of_refits(context.refit, chosen, folds, limit_s)
    except (EngineError, NotApplicable):
        return "in_sample", context.open(variant).predict(data.rows)
    return "out_of_fold", answers


def _answers_of_refits(refit: Any, chosen: Ints, folds: Ints, limit_s: float) -> Floats:
    """Return the answers of refits by the project's training function, if the first shows that all end in time."""
    began = time.monotonic()

    def answers(learned: Ints, own: Ints) -> Floats:
        found: Floats = refit(chosen[learned], chosen[own])
        if time.monotonic() - began > limit_s / FOLDS and folds[own[0]] == 0:
            raise NotApplicable(f"the refits take more than {limit_s:.3g} s")
        return found

    return cross_answers(folds, answers)


def _has_trees(variant: Variant, content: bytes) -> bool:
    """Return whether a model is made of trees, whose time its size shows."""
    engine = load_engine(variant.engine)
    try:
        return isinstance(engine, TreeEngine) and bool(engine.forest(content).trees)
    except NotApplicable:
        return False


def _require_slower(model: Engine, student: bytes, rows: Floats) -> None:
    """Raise NotApplicable if a model answers a row faster than the compiled student."""
    compiled = load_engine("trees")(compile_forest(load_engine("lightgbm").forest(student)), {})  # type: ignore[attr-defined]
    own_s, student_s = (median_seconds(engine.predict, rows, _CALLS) for engine in (model, compiled))
    if own_s <= student_s:
        raise NotApplicable(f"the model takes {own_s * 1e6:.1f} us a row, and a student {student_s * 1e6:.1f} us")
