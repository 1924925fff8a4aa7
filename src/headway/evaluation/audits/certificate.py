"""Robustness certificates: the share of rows whose decision no change below a radius can flip."""

from __future__ import annotations

from time import monotonic

import numpy as np
from msgspec.structs import replace as named

from headway.core.arrays import Bools, Floats
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.plugins import load_engine
from headway.core.variant import DECIDES
from headway.engines.formats.trees import Forest, TreeEngine
from headway.evaluation.certificates import TreeCertifier, certify_rows
from headway.evaluation.comparison import subsample
from headway.evaluation.context import AuditContext, Comparison, MetricResults
from headway.evaluation.decision_attack import attackable_columns
from headway.evaluation.quality.row_errors import decide_class
from headway.evaluation.statistics.intervals import SHARE
from headway.evaluation.statistics.percentiles import percentile_interval
from headway.evaluation.statistics.subsets import mean_measurement
from headway.evaluation.statistics.tables import build_blocks

ON_REQUEST = ("evasion.certified", "certificate.")
RADII = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
MAX_ROWS = 200


def plugin(subject: Comparison, context: AuditContext) -> MetricResults:
    """Certify decisions of trees against all changes of numbers within a radius.

    The distance of a change is the largest move of a column, in interquartile ranges times `[attack] cost`. All numbers
    outside of `[attack] fixed` may change at once and take any value; categories, flags and missing values stay.
    Branch and bound over the boxes of the leaves finds the smallest change that flips a decision; if a row needs too
    many boxes, the distance proven until then is certified.

    Measures, over at most 200 rows:

    - `evasion.certified`: share of rows whose decision no change below `[attack] radius` flips; also at other
      radii, one slice for each (`radius 0.1`).
    - `certificate.distance`: median certified distance.
    - `certificate.exact`: share of rows whose distance is exact, and not a lower bound.

    The trees are those of the variant, or those of the baseline if the variant decides as they do on these rows. Other
    models are refused.
    """
    until = context.until()
    if subject.variant.task not in DECIDES:
        raise NotApplicable(f"a {subject.variant.task} model makes no decisions")
    some = subsample(subject, min(context.attack.rows, MAX_ROWS))
    columns = [column for column in attackable_columns(subject, context.attack) if column.among is None]
    if not columns:
        raise NotApplicable("no number may change", where="[attack] fixed", hint="remove numbers from it")
    forest, whose = _forest(some, context)
    certifier = TreeCertifier(forest, columns, subject.threshold)
    distances, exact = certify_rows(certifier, some.rows, proceed=lambda: monotonic() < until)
    return _measurements(some, distances, exact, whose, radius=context.attack.radius)


def _forest(subject: Comparison, context: AuditContext) -> tuple[Forest, str]:
    """Return the trees behind the decisions of the variant, and whose they are."""
    variants = {"the variant": subject.variant, "the baseline": context.baseline}
    for whose, variant in variants.items():
        engine = load_engine(variant.engine) if variant else None
        if variant is None or not isinstance(engine, TreeEngine):
            continue
        forest = engine.forest(context.blobs.get(variant.artifact.digest))
        if variant is not subject.variant:
            known = decide_class(subject.reference.predict(subject.rows), subject.threshold)
            if not np.array_equal(known, decide_class(subject.scores, subject.threshold)):
                raise NotApplicable("the variant does not decide as the trees of the baseline")
        if forest.width != len(subject.names):
            raise NotApplicable(f"its trees read {forest.width} columns, the rows have {len(subject.names)}")
        return forest, whose
    raise NotApplicable(
        f"certifies trees, and engine {subject.variant.engine!r} does not expose trees",
        hint="the audit evasion searches flips of any model",
    )


def _measurements(
    subject: Comparison, distances: Floats, exact: Bools, whose: str, *, radius: float
) -> list[Measurement | NotApplicable]:
    blocks, found = build_blocks(subject), list[Measurement | NotApplicable]()
    for name, limit in {"": radius, **{f"radius {known:g}": known for known in RADII}}.items():
        share = mean_measurement("evasion.certified", (distances >= limit).astype(np.float64), blocks, SHARE)
        how = f"{share.method}; by the trees of {whose}" + ("" if name else f"; radius {limit:g}")
        found.append(named(share, slice=name, method=how))
    try:
        words = ("rows", "groups")
        finite = np.minimum(distances, np.finfo(np.float64).max)
        found.append(percentile_interval("certificate.distance", finite, subject.groups, 0.5, of=words))
    except NotApplicable as error:
        found.append(error)
    return [*found, mean_measurement("certificate.exact", exact.astype(np.float64), blocks, SHARE)]
