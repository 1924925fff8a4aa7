"""Recalibrate probabilities by Platt scaling, offered only where it helps on later rows that it was not fitted on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from headway.core.arrays import Floats, fit_logistic, platt_targets, sigmoid
from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.trees import Forest, TreeEngine
from headway.optimization.context import TransformContext

STAGE = "restructure"
COST = {"rows": 20_000}


_TINY = 1e-12
_MIN_ROWS = 1_000


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the baseline with its margin m replaced by `slope` * m + `shift`, folded into trees of engine `trees`.

    Both numbers are fitted on the earlier half of the validation groups (Platt 1999), and must lower the Brier score of
    the later half.

    Raises
    ------
    NotApplicable
        If they do not, or the model is not a binary forest.
    """
    engine = load_engine(variant.engine)
    if not isinstance(engine, TreeEngine) or variant.task != "binary":
        raise NotApplicable("applies to a binary tree model")
    if variant.steps:
        raise NotApplicable("applies to the baseline only")
    if context.validation is None or len(context.validation.rows) < _MIN_ROWS:
        raise NotApplicable(f"fewer than {_MIN_ROWS:,} labeled rows to fit on")
    load_engine("trees")
    forest = engine.forest(context.read(variant))
    if forest.link != "sigmoid":
        raise NotApplicable(f"its scores are not a sigmoid of a margin, but {forest.link}")
    slope, shift = _fit_if_helpful(context.open(variant).predict(context.validation.rows)[:, 0], context.validation)
    step = Step(transform="recalibrate", settings={"slope": round(slope, 4), "shift": round(shift, 4)})
    artifact = context.save(compile_forest(_shifted(forest, slope, shift)), "forest")
    return [variant.remade(step, artifact, engine="trees")]


def _fit_if_helpful(scores: Floats, data: LabeledData) -> tuple[float, float]:
    """Fit slope and shift on the earlier groups; raise NotApplicable if they do not help on the later ones."""
    early = data.groups < (data.groups.max() + 1) // 2
    weights = np.ones(len(scores)) if data.weights is None else data.weights
    if len(np.unique(data.labels[early])) < 2 or early.all():
        raise NotApplicable("the earlier half of the rows has a single class")
    margin = np.log(np.clip(scores, _TINY, 1 - _TINY)) - np.log1p(-np.clip(scores, _TINY, 1 - _TINY))
    slope, shift = fit_slope_and_shift(margin[early], data.labels[early], weights[early])
    later = ~early
    before = np.average((scores[later] - data.labels[later]) ** 2, weights=weights[later])
    after = np.average((sigmoid(slope * margin[later] + shift) - data.labels[later]) ** 2, weights=weights[later])
    if after >= before:
        raise NotApplicable(
            f"fitted on the earlier half of the rows, it does not lower the Brier score of the later: {before:.5f} to "
            f"{after:.5f}"
        )
    return slope, shift


def fit_slope_and_shift(margin: Floats, labels: Floats, weights: Floats) -> tuple[float, float]:
    """Fit the slope and shift of Platt scaling on a margin (n,), with smoothed labels."""
    design = np.column_stack([margin, np.ones(len(margin))])
    slope, shift = fit_logistic(design, platt_targets(labels), start=np.array([1.0, 0.0]), weights=weights)
    return float(slope), float(shift)


def _shifted(forest: Forest, slope: float, shift: float) -> Forest:
    trees = tuple(dataclasses.replace(tree, leaf=tree.leaf * slope) for tree in forest.trees)
    return dataclasses.replace(forest, trees=trees, base=forest.base * slope + shift, sum_dtype="float64")
