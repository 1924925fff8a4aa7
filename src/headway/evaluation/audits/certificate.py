"""Robustness certificates: the share of rows whose decision no change below a radius can flip."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

import numpy as np
from msgspec.structs import replace as named

from headway.core.arrays import Bools, Floats
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.variant import DECIDES
from headway.engines.formats.graph import GraphEngine
from headway.engines.formats.trees import TreeEngine
from headway.evaluation.certificates import Certifier, LinearCertifier, TreeCertifier, certify_rows
from headway.evaluation.comparison import check_width, subsample, tree_artifact
from headway.evaluation.context import AuditContext, Comparison, MetricResults
from headway.evaluation.decision_attack import AttackColumn, attackable_columns
from headway.evaluation.quality.decision_changes import decision_margins
from headway.evaluation.quality.row_errors import decide_class
from headway.evaluation.statistics.intervals import SHARE
from headway.evaluation.statistics.percentiles import percentile_interval
from headway.evaluation.statistics.subsets import mean_measurement
from headway.evaluation.statistics.tables import build_blocks

ON_REQUEST = ("evasion.certified", "certificate.")
RADII = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
MAX_ROWS = 200
_HINT = "the audit evasion searches flips of any model"


def plugin(subject: Comparison, context: AuditContext) -> MetricResults:
    """Certify decisions of trees and linear models against all changes of numbers within a radius.

    The distance of a change is the largest move of a column, in interquartile ranges times `[attack] cost`. All numbers
    outside of `[attack] fixed` may change at once and take any value; categories, flags and missing values stay.
    Branch and bound over the boxes of the leaves finds the smallest change that flips a decision; if a row needs too
    many boxes, the distance proven until then is certified. That of a linear model has a closed form.

    Measures, over at most 200 rows:

    - `evasion.certified`: share of rows whose decision no change below `[attack] radius` flips; also at other
      radii, one slice for each (`radius 0.1`).
    - `certificate.distance`: median certified distance.
    - `certificate.exact`: share of rows whose distance is exact, and not a lower bound.

    The model is the variant, or the baseline if all steps of the variant keep decisions. It must decide as the variant
    on these rows. Other models are refused.
    """
    until = context.until()
    if subject.variant.task not in DECIDES:
        raise NotApplicable(f"a {subject.variant.task} model makes no decisions")
    some = subsample(subject, min(context.attack.rows, MAX_ROWS))
    columns = [column for column in attackable_columns(subject, context.attack) if column.among is None]
    if not columns:
        raise NotApplicable("no number may change", where="[attack] fixed", hint="remove numbers from it")
    engine, content, whose = tree_artifact(some, context)
    certifier = _certifier_of(engine, content, some, columns)
    decisions, distances, exact = certify_rows(certifier, some.rows, proceed=lambda: monotonic() < until)
    certified = distances > 0  # a row at a tie is certified nothing: a library may round it to either side
    differ = int((decisions != decide_class(some.scores, some.threshold))[certified].sum())
    if differ:
        raise NotApplicable(
            f"the variant does not decide as the trees or weights of {whose}: {differ} of {len(decisions)} rows differ"
        )
    return _measurements(some, distances, exact, whose, radius=context.attack.radius)


def _certifier_of(
    engine: TreeEngine, content: bytes, subject: Comparison, columns: Sequence[AttackColumn]
) -> Certifier:
    """Return what certifies the trees of an artifact, or its linear model."""
    try:
        forest = engine.forest(content)
    except NotApplicable as no_trees:
        if not isinstance(engine, GraphEngine):
            raise
        try:
            graph = engine.graph(content)
            check_width(graph.width, subject)
            return LinearCertifier(graph, columns, subject.threshold)
        except NotApplicable as not_linear:
            raise NotApplicable(f"{no_trees.what}; {not_linear.what}", hint=_HINT) from not_linear
    check_width(forest.width, subject)
    return TreeCertifier(forest, columns, subject.threshold)


def _measurements(
    subject: Comparison, distances: Floats, exact: Bools, whose: str, *, radius: float
) -> list[Measurement | NotApplicable]:
    blocks, margins = build_blocks(subject), decision_margins(subject)
    found: list[Measurement | NotApplicable] = []
    for name, limit in {"": radius, **{f"radius {known:g}": known for known in RADII}}.items():
        share = mean_measurement(
            "evasion.certified", (distances >= limit).astype(np.float64), blocks, SHARE, related=margins
        )
        how = f"{share.method}; by the trees or weights of {whose}" + ("" if name else f"; radius {limit:g}")
        found.append(named(share, slice=name, method=how))
    try:
        words = ("rows", "groups")
        finite = np.minimum(distances, np.finfo(np.float64).max)
        found.append(percentile_interval("certificate.distance", finite, subject.groups, 0.5, of=words))
    except NotApplicable as error:
        found.append(error)
    return [*found, mean_measurement("certificate.exact", exact.astype(np.float64), blocks, SHARE, related=margins)]
