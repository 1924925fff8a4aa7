"""Defer look-ups: a first model without dear features answers the rows that it decides as the full model does."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats
from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.selective import SelectiveCertificate
from headway.core.variant import DECIDES, Step, Variant
from headway.engines.cascade import MARGIN, is_changed, is_deferred, top_margins
from headway.engines.formats.columns import column_indices
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.optimization.context import TransformContext
from headway.optimization.reduced import models_without
from headway.optimization.search import apply_transform

STAGE = "execution"
REQUIRES = ("deferred", "certify")
COST = {"seconds": 10}
COMES_FIRST = True

Limits = dict[str, float]
MIN_COVERAGE = 0.1
"""Share of rows that the first model must answer."""
_SHARES = np.linspace(0.05, 1.0, 20)
"""Shares of the limit within which the bands to test are on the rows that they were chosen on."""


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant behind a model without the features of the views in `[optimize] defer`.

    The first model answers alone outside a band of scores around the decision threshold, or, of several classes, where
    the two most probable ones are far enough apart. Bands are chosen on the earlier half of the groups of `validation`,
    and certified on the later half: of the rows that the first model
    answers, at most `[optimize] max_changed` would be decided otherwise by the full one, with 95 % confidence.

    Raises
    ------
    NotApplicable
        If the model has no classes, no band is certified, or the first model would answer few rows.
    """
    baseline = context.baseline
    if variant.task not in DECIDES or baseline is None or variant.signature != baseline.signature:
        raise NotApplicable("applies to a binary or multiclass model that reads the features to defer")
    refusing = [field.name for field in variant.signature.inputs if "missing" in field.refuses]
    if needed := [name for name in refusing if name in context.deferred]:
        raise NotApplicable(f"the model refuses rows without {needed[0]}, which a deferred row has not")
    if variant.engine in ("cache", "cascade"):
        raise NotApplicable(f"a {variant.engine} is not deferred")
    data = context.validation
    if data is None or not len(data.rows) or data.groups.max() < 1:
        raise NotApplicable("there are no two groups of labeled rows, one to choose a band on and one to certify it")
    first = _first_model(variant, baseline, context)
    quick = context.for_variant(first)
    scores = context.open(first).predict(quick.sample)
    full = context.open(variant).predict(context.sample)
    limits, certificate = _certified(scores, full, data, context)
    content, stage = context.read(variant), _on_all_columns(first, variant, context)
    models = (
        NestedModel(engine="columns", size_bytes=len(stage)),
        NestedModel(engine=variant.engine, settings=variant.settings, size_bytes=len(content)),
    )
    header = NestedHeader(
        models=models,
        numbers=limits,
        columns=tuple(column_indices(first.signature.names, variant.signature.names)),
        certificate=certificate,
    )
    step = Step(
        transform="defer",
        settings={
            "features": ",".join(name for name in variant.signature.names if name in context.deferred),
            "answers": round(certificate.coverage.value, 3),
            "limit": context.max_changed,
        },
    )
    artifact = context.save(pack_models(header, stage, content), "cascade")
    return [variant.remade(step, artifact, engine="cascade")]


def _first_model(variant: Variant, baseline: Variant, context: TransformContext) -> Variant:
    """Return the model without the features, in the form that the steps of the variant give it as far as they apply."""
    first = models_without(baseline, context, context.deferred)[0]
    for step in variant.steps:
        found = apply_transform(step.transform, first, context)
        if not isinstance(found, Finding) and found:
            first = found[0]
    return first


def _on_all_columns(first: Variant, variant: Variant, context: TransformContext) -> bytes:
    """Return the first model as one that reads the rows of the variant."""
    content = context.read(first)
    inner = NestedModel(engine=first.engine, settings=first.settings, size_bytes=len(content))
    columns = column_indices(first.signature.names, variant.signature.names)
    return pack_models(NestedHeader(models=(inner,), columns=tuple(columns)), content)


def _certified(
    scores: Floats, full: Floats, data: LabeledData, context: TransformContext
) -> tuple[Limits, SelectiveCertificate]:
    """Return the limits of the narrowest certified band, with its certificate; raise NotApplicable if there is none."""
    early = data.groups < (data.groups.max() + 1) // 2
    differs = is_changed(scores, full, context.threshold).astype(np.float64)

    def certify(bands: Sequence[Limits], rows: Bools) -> SelectiveCertificate:
        """Test the bands in their order; the confidence of a row is minus the number of those that do not answer it."""
        assert context.certify is not None
        waits = np.array([is_deferred(scores[rows], band) for band in bands]).sum(axis=0).astype(np.float64)
        return context.certify(
            -waits, differs[rows], -np.arange(float(len(bands))), context.max_changed, data.groups[rows]
        )

    bands = _bands(scores[early], differs[early], context.threshold, context.max_changed)
    alone = [certify([band], early) for band in bands]
    promising = [band for band, found in zip(bands, alone, strict=True) if found.is_certified]
    if not promising:
        nearest = min(alone, key=lambda found: found.groups_needed or np.inf)
        raise _not_certified(nearest, context.max_changed, len(np.unique(data.groups)))
    # One failure ends the sequence, so it begins with the band that is most surely within the limit.
    surest = min(promising, key=lambda band: alone[bands.index(band)].risk.high)
    tested = promising[promising.index(surest) :]
    found = certify(tested, ~early)
    if not found.is_certified:
        raise _not_certified(found, context.max_changed, len(np.unique(data.groups)))
    if found.coverage.value < MIN_COVERAGE:
        share = f"{found.coverage.value:.0%} of the rows"
        raise NotApplicable(f"the first model would answer {share} alone; deferring pays from {MIN_COVERAGE:.0%} on")
    band = tested[int(-found.threshold)]
    return band, replace(found, threshold=band.get("high", band.get(MARGIN, 0.0)))


def _bands(scores: Floats, differs: Floats, threshold: float, limit: float) -> list[Limits]:
    """Return bands of scores around the threshold, or margins of several classes, each within the one before it.

    Outside of each, on either side, at most a share of `limit` differs: one model may be sure of a class, and of the
    other never.
    """
    if scores.shape[1] > 1:
        margins = top_margins(scores)
        limits = (max(-_end(-margins, differs, share), 0.0) for share in _SHARES * limit)
        return [{MARGIN: margin} for margin in dict.fromkeys(limits)]
    first, found = scores[:, 0], list[tuple[float, float]]()
    below = first < threshold
    for share in _SHARES * limit:
        low = _end(first[below], differs[below], share)
        high = -_end(-first[~below], differs[~below], share)
        found.append((min(low, threshold), max(high, threshold)))
    return [{"low": low, "high": high} for low, high in dict.fromkeys(found)]


def _end(scores: Floats, differs: Floats, share: float) -> float:
    """Return the largest score below which at most a share differs; a score that none is below if there is none."""
    order = np.argsort(scores, kind="stable")
    rates = np.cumsum(differs[order]) / np.arange(1, len(order) + 1)
    within = np.flatnonzero(rates <= share)
    if not len(within):
        return -sys.float_info.max
    last = int(within[-1]) + 1
    return float(scores[order[last]]) if last < len(order) else sys.float_info.max


def _not_certified(found: SelectiveCertificate, limit: float, n_groups: int) -> NotApplicable:
    """Return why no band is certified, and how many groups would certify one."""
    needed = found.groups_needed
    more = (
        f"about {max(2 * needed, n_groups + 1):,} groups like these {n_groups:,} would certify it"
        if needed
        else f"more groups like these {n_groups:,} would not help"
    )
    return NotApplicable(
        f"no first model is certified to change at most {limit:.1%} of the decisions that it takes: {more}",
        hint="[optimize] max_changed allows more changes",
    )
