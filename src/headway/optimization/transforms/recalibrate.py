"""Probabilities set right by Platt's two numbers, offered only where they help on later rows that they did not see."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.numerics import sigmoid
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.trees import Forest, TreeEngine
from headway.optimization.context import TransformContext
from headway.optimization.logistic import fit_logistic, platt_targets

STAGE = "restructure"

Floats = NDArray[np.float64]

_TINY = 1e-12
_MIN_ROWS = 1_000


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """The model as it came with its margin m made `slope` * m + `shift`, folded into the trees of engine `trees`.

    The two numbers are fitted on the earlier half of the groups of `choose` (Platt 1999), and must lower the Brier
    score of the later half. Raises NotApplicable where they do not, and for what is no binary model of trees.
    """
    engine = load_engine(variant.engine)
    if not isinstance(engine, TreeEngine) or variant.task != "binary":
        raise NotApplicable("shifts the margin of a binary model of trees")
    if variant.steps:
        raise NotApplicable("sets the model as it came right, and no other")
    if context.validation is None or len(context.validation.rows) < _MIN_ROWS:
        raise NotApplicable(f"fewer than {_MIN_ROWS:,} labelled rows to set probabilities by")
    load_engine("trees")
    forest = engine.forest(context.read(variant))
    if forest.link != "sigmoid":
        raise NotApplicable(f"its scores are no sigmoid of a margin, but {forest.link}")
    slope, shift = _fit_if_helpful(
        engine(context.read(variant), {}).predict(context.validation.rows)[:, 0], context.validation
    )
    step = Step(transform="recalibrate", settings={"slope": round(slope, 4), "shift": round(shift, 4)})
    artifact = context.save(compile_forest(_shifted(forest, slope, shift)), "forest")
    return [variant.remade(step, artifact, engine="trees")]


def _fit_if_helpful(scores: Floats, lesson: LabeledData) -> tuple[float, float]:
    """Slope and shift by the earlier groups; raises NotApplicable where they do not help on the later ones."""
    early = lesson.groups < (lesson.groups.max() + 1) // 2
    weights = np.ones(len(scores)) if lesson.weights is None else lesson.weights
    if len(np.unique(lesson.labels[early])) < 2 or early.all():
        raise NotApplicable("the earlier half of the rows has one class alone")
    margin = np.log(np.clip(scores, _TINY, 1 - _TINY)) - np.log1p(-np.clip(scores, _TINY, 1 - _TINY))
    slope, shift = fit_platt(margin[early], lesson.labels[early], weights[early])
    later = ~early
    before = np.average((scores[later] - lesson.labels[later]) ** 2, weights=weights[later])
    after = np.average((sigmoid(slope * margin[later] + shift) - lesson.labels[later]) ** 2, weights=weights[later])
    if after >= before:
        raise NotApplicable(
            f"set by the earlier half of the rows it does not help on the later: Brier {before:.5f} becomes {after:.5f}"
        )
    return slope, shift


def fit_platt(margin: Floats, labels: Floats, weights: Floats) -> tuple[float, float]:
    """Slope and shift of the logistic regression of labels, drawn in as Platt does, on a margin [n]."""
    design = np.column_stack([margin, np.ones(len(margin))])
    slope, shift = fit_logistic(design, platt_targets(labels), start=np.array([1.0, 0.0]), weights=weights)
    return float(slope), float(shift)


def _shifted(forest: Forest, slope: float, shift: float) -> Forest:
    trees = tuple(dataclasses.replace(tree, leaf=tree.leaf * slope) for tree in forest.trees)
    return dataclasses.replace(forest, trees=trees, base=forest.base * slope + shift, sum_dtype="float64")
