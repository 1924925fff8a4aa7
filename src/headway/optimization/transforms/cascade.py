"""Cascade: let the first trees of a model answer alone where the rest would rarely change the decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.record import Scalar
from headway.core.variant import DECIDES, Step, Variant
from headway.engines.cascade import MARGIN, is_changed, is_deferred, top_margins
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.engines.formats.trees import TreeEngine
from headway.optimization.context import TransformContext, median_seconds

STAGE = "restructure"
COST = {"rows": 20_000, "calls": 100, "opens": 3}

MAX_DISAGREEMENT = 0.005
"""Largest share of decisions that may change."""
MIN_COST_RATIO, MAX_DEFERRED = 10.0, 0.3
_ALPHA = 0.05
_SLICE_ROWS, _SLICE_GROUPS = 1_000, 20
_SHARE = 20
_BANDS = 40
_TIMED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Scores of the first stage at which a row is deferred to the full model, and the share of such rows.

    `limits` are those of `engines.cascade.is_deferred`.
    """

    limits: Mapping[str, float]
    deferred: float


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the baseline behind its first twentieth of rounds, which decide alone outside a band of scores.

    Of several classes, they decide where the two most probable ones are far enough apart.

    The band is the narrowest whose upper 5 % bound on changed decisions, resampled by group, is at most 0.5 % over all
    rows and in every slice with enough rows (risk control, Bates et al. 2021).

    Raises
    ------
    NotApplicable
        If the model is not a forest for classes, costs less than ten times its first trees, or 30 % of the rows or more
        would be deferred.
    """
    engine = load_engine(variant.engine)
    if not isinstance(engine, TreeEngine) or variant.task not in DECIDES or variant.steps:
        raise NotApplicable("applies to a binary or multiclass tree model without other steps")
    if context.validation is None or not len(context.validation.rows):
        raise NotApplicable("there are no validation rows to bound the disagreement on")
    content = context.read(variant)
    first = engine.truncate(content, max(1, engine.rounds(content) // _SHARE))
    quick, full = engine(first, variant.settings), context.open(variant)
    rows = context.validation.rows
    ratio = median_seconds(full.predict, rows, _TIMED) / median_seconds(quick.predict, rows, _TIMED)
    if ratio < MIN_COST_RATIO:
        raise NotApplicable(
            f"the model costs {ratio:.1f} times its first trees; a cascade pays from {MIN_COST_RATIO:g} on"
        )
    band = narrowest_band(
        quick.predict(context.validation.rows),
        full.predict(context.validation.rows),
        context.validation,
        context.threshold,
    )
    if band is None or band.deferred > MAX_DEFERRED:
        deferred = "every row" if band is None else f"{band.deferred:.0%} of the rows"
        raise NotApplicable(f"{deferred} would be deferred to the full model; a cascade pays below {MAX_DEFERRED:.0%}")
    models = tuple(
        NestedModel(engine=variant.engine, settings=variant.settings, size_bytes=len(stage))
        for stage in (first, content)
    )
    artifact = pack_models(NestedHeader(models=models, numbers=dict(band.limits)), first, content)
    settings: dict[str, Scalar] = {"asks": round(band.deferred, 3)}
    step = Step(transform="cascade", settings=settings)
    return [variant.remade(step, context.save(artifact, "cascade"), engine="cascade")]


def narrowest_band(quick: Floats, full: Floats, data: LabeledData, threshold: float) -> Band | None:
    """Return the narrowest band around the threshold that keeps the bound; None if none does.

    Parameters
    ----------
    quick, full : ndarray of shape (n, k)
        Scores of the first stage and of the full model on the same rows.
    data
        Labeled rows, with their groups and slices.
    threshold
        Decision threshold.
    """
    differs = is_changed(quick, full, threshold)
    parts = _row_masks(data)
    level = NormalDist().inv_cdf(1 - _ALPHA / len(parts))
    for share in np.linspace(0, 1, _BANDS)[:-1]:
        limits = _margin(quick, share) if quick.shape[1] > 1 else _ends(quick[:, 0], threshold, share)
        inside = is_deferred(quick, limits)
        wrong = differs & ~inside
        if all(_error_upper_bound(wrong[part], data.groups[part], level) <= MAX_DISAGREEMENT for part in parts):
            return Band(limits=limits, deferred=float(inside.mean()))
    return None


def _margin(scores: Floats, share: float) -> dict[str, float]:
    """Return the margin that a share of the rows does not exceed."""
    return {MARGIN: float(np.quantile(top_margins(scores), share))}


def _ends(scores: Floats, threshold: float, share: float) -> dict[str, float]:
    """Return the band with a share of the scores on each side of the threshold."""
    below, above = scores[scores < threshold], scores[scores >= threshold]
    return {
        "low": float(np.quantile(below, 1 - share)) if len(below) else threshold,
        "high": float(np.quantile(above, share)) if len(above) else threshold,
    }


def _row_masks(data: LabeledData) -> list[Bools]:
    """Return masks of all rows, and of each slice with enough rows and groups."""
    parts = [np.ones(len(data.rows), bool)]
    for column in data.slices.values():
        parts += [column.codes == code for code in range(len(column.values))]
    return [
        part
        for index, part in enumerate(parts)
        if not index or (part.sum() >= _SLICE_ROWS and len(np.unique(data.groups[part])) >= _SLICE_GROUPS)
    ]


def _error_upper_bound(wrong: Bools, groups: Ints, level: float) -> float:
    """Return an upper bound of the share of wrong rows (n,): a linearized ratio of whole groups, at `level` errors."""
    _, index, rows = np.unique(groups, return_inverse=True, return_counts=True)
    if len(rows) < 2:
        return 1.0
    counts = np.bincount(index, weights=wrong, minlength=len(rows))
    share = counts.sum() / rows.sum()
    errors = counts - share * rows
    se = np.sqrt(len(rows) / (len(rows) - 1) * float((errors**2).sum())) / rows.sum()
    rule_of_three = 3.0 / rows.sum()  # no error in n rows is compatible with a rate of 3 / n
    return float(share + level * se + rule_of_three)
