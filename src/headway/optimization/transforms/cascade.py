"""The first trees of a model answer alone where the rest would hardly change a decision, with a bound on how often."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import Engine, LabeledData
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.record import Scalar
from headway.core.variant import Step, Variant
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.engines.formats.trees import TreeEngine
from headway.optimization.context import TransformContext

STAGE = "restructure"

Floats = NDArray[np.float64]

MAX_DISAGREEMENT = 0.005
"""The most decisions that may change, as a share of the rows."""
MIN_COST_RATIO, MAX_DEFERRED = 10.0, 0.3
_ALPHA = 0.05
_SLICE_ROWS, _SLICE_GROUPS = 1_000, 20
_SHARE = 20
_BANDS = 40
_TIMED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Scores of the quick model between which it asks the other, and the share of rows that lie there."""

    low: float
    high: float
    asked: float


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """The model as it came behind its first twentieth of rounds, which decide alone outside a band of scores.

    The band is the narrowest for which the upper 5 % bound of decisions that change, over whole groups, is within half
    a percent (risk control as Bates et al. 2021), in every slice that has the rows to say so as well. Raises
    NotApplicable, with what was measured, unless the model costs ten times its first trees and fewer than 30 % of the
    rows lie in the band; for models of another form too.
    """
    engine = load_engine(variant.engine)
    if not isinstance(engine, TreeEngine) or variant.task != "binary" or variant.steps:
        raise NotApplicable("takes a binary model of trees, as it came")
    if context.validation is None or not len(context.validation.rows):
        raise NotApplicable("there are no rows to bound its disagreement by")
    content = context.read(variant)
    first = engine.truncate(content, max(1, engine.rounds(content) // _SHARE))
    quick, whole = engine(first, variant.settings), engine(content, variant.settings)
    ratio = _median_seconds(whole, context.validation.rows) / _median_seconds(quick, context.validation.rows)
    if ratio < MIN_COST_RATIO:
        raise NotApplicable(f"the model costs {ratio:.1f} times its first trees; it pays from {MIN_COST_RATIO:g} on")
    band = narrowest_band(
        quick.predict(context.validation.rows),
        whole.predict(context.validation.rows),
        context.validation,
        context.threshold,
    )
    if band is None or band.asked > MAX_DEFERRED:
        asked = "every row" if band is None else f"{band.asked:.0%} of the rows"
        raise NotApplicable(f"{asked} would have to ask the whole model; it pays below {MAX_DEFERRED:.0%}")
    models = tuple(
        NestedModel(engine=variant.engine, settings=variant.settings, size_bytes=len(each)) for each in (first, content)
    )
    artifact = pack_models(NestedHeader(models=models, numbers={"low": band.low, "high": band.high}), first, content)
    settings: dict[str, Scalar] = {"asks": round(band.asked, 3)}
    step = Step(transform="cascade", settings=settings)
    return [variant.remade(step, context.save(artifact, "cascade"), engine="cascade")]


def narrowest_band(quick: Floats, whole: Floats, lesson: LabeledData, threshold: float) -> Band | None:
    """The narrowest band around the threshold that keeps the bound; None where none does.

    quick, whole: scores float64 [n, 1] of the same rows.
    """
    fast = quick[:, 0]
    differs = (fast >= threshold) != (whole[:, 0] >= threshold)
    parts = _row_masks(lesson)
    level = NormalDist().inv_cdf(1 - _ALPHA / len(parts))
    for share in np.linspace(0, 1, _BANDS)[:-1]:
        below, above = fast[fast < threshold], fast[fast >= threshold]
        low = float(np.quantile(below, 1 - share)) if len(below) else threshold
        high = float(np.quantile(above, share)) if len(above) else threshold
        inside = (fast >= low) & (fast <= high)
        wrong = differs & ~inside
        if all(_error_upper_bound(wrong[part], lesson.groups[part], level) <= MAX_DISAGREEMENT for part in parts):
            return Band(low=low, high=high, asked=float(inside.mean()))
    return None


def _row_masks(lesson: LabeledData) -> list[NDArray[np.bool_]]:
    """All rows, and those of each slice that has rows and groups enough."""
    parts = [np.ones(len(lesson.rows), bool)]
    for column in lesson.slices.values():
        parts += [column.codes == code for code in range(len(column.values))]
    return [
        part
        for place, part in enumerate(parts)
        if not place or (part.sum() >= _SLICE_ROWS and len(np.unique(lesson.groups[part])) >= _SLICE_GROUPS)
    ]


def _error_upper_bound(wrong: NDArray[np.bool_], groups: NDArray[np.int64], level: float) -> float:
    """The upper bound of the share of wrong rows [n], groups whole: a ratio, linearised, at so many errors of it."""
    _, place, rows = np.unique(groups, return_inverse=True, return_counts=True)
    if len(rows) < 2:
        return 1.0
    counts = np.bincount(place, weights=wrong, minlength=len(rows))
    share = counts.sum() / rows.sum()
    errors = counts - share * rows
    se = np.sqrt(len(rows) / (len(rows) - 1) * float((errors**2).sum())) / rows.sum()
    return float(share + level * se + 3.0 / rows.sum())  # none seen among n leaves 3 / n possible


def _median_seconds(model: Engine, rows: Floats) -> float:
    """The median time of a row alone."""
    times = []
    for row in rows[:_TIMED]:
        one = np.ascontiguousarray(row[None, :])
        began = time.perf_counter()
        model.predict(one)
        times.append(time.perf_counter() - began)
    return float(np.median(times))
