"""Rows that a cascade answers without the features that it defers, and how often its full model decides otherwise."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.engines.cascade import Cascade, is_changed
from headway.evaluation.context import Comparison
from headway.evaluation.selective import measure_risk


def plugin(subject: Comparison) -> list[Measurement]:
    """Measure `cascade.coverage` and `cascade.risk` of a variant that defers look-ups; nothing for another variant.

    The coverage is the share of rows that the first model answers. The risk is the share of them that the full model
    decides otherwise; its `high` is the bound of an exact test by group, with 95 % confidence.
    """
    model = subject.model
    if not isinstance(model, Cascade) or model.certificate is None or not len(subject.rows):
        return []
    answered = ~model.undecided(subject.rows)
    differs = is_changed(subject.scores, model.full.predict(subject.rows), subject.threshold).astype(np.float64)
    coverage, risk = measure_risk(answered, differs, groups=subject.groups)
    return [replace(coverage, name="cascade.coverage"), replace(risk, name="cascade.risk")]
