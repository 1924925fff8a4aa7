"""Distil from boosters that never saw the row they answer, so that the student learns no single row by heart."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.arrays import Floats, Ints
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.optimization.context import TransformContext
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
COST = {"rows": 20_000, "seconds": 10}
REQUIRES = ("private",)
COMES_FIRST = True

TREES, LEAVES = 100, 31


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return a booster of 100 trees that learned out-of-fold answers (Tang et al. 2022) in place of labels.

    Each training row is answered by a booster of the same size that was trained on the other groups.

    Raises
    ------
    NotApplicable
        If the training rows are unknown, are of fewer than five groups, or the model answers vectors or reads texts.
    """
    data = rows_to_learn(variant, context)
    outputs = context.open(variant).predict(data.rows[:1]).shape[1]
    targets = label_targets(data.labels, outputs)

    def answers(learned: Ints, own: Ints) -> Floats:
        text = train_student(labeled_subset(data, learned), targets[learned], variant, trees=TREES, leaves=LEAVES)
        return load_engine("lightgbm")(text, {}).predict(data.rows[own])

    found = cross_answers(folds_of(data, ordered=context.ordered), answers)
    text = train_student(data, found, variant, trees=TREES, leaves=LEAVES)
    step = Step(transform="self_distil", settings={"trees": TREES, "leaves": LEAVES, "folds": FOLDS})
    return [variant.remade(step, context.save(text, "lightgbm"), engine="lightgbm")]
