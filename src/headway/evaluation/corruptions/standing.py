"""How a variant stands a fault: what it loses to it, and whether it stands it as well as the model as it came."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace as named

from headway.core.contracts import Comparison, Engine
from headway.core.errors import EngineError
from headway.core.evidence import Measurement
from headway.evaluation.altered import answered
from headway.evaluation.corruptions.fault import Fault
from headway.evaluation.quality.errors import errors_of
from headway.evaluation.quality.flips import flips
from headway.evaluation.quality.mean import mean
from headway.evaluation.statistics.intervals import CHANGE, Floats, Sample, jackknife
from headway.evaluation.statistics.parts import of_part
from headway.evaluation.statistics.tables import auc_without_each, binary_answers, exact_auc, score_table


def standing(subject: Comparison, fault: Fault) -> list[Measurement]:
    """`robustness.KIND` with `.excess` and `.drop` of the error; of a classifier also `.changed_decisions` and
    `.decision_churn`; of a binary one `.roc_auc.decrease`.

    `.drop` and `.decision_churn` are beside the model as it came on the same altered rows, the others beside the
    variant itself on the rows as they are.
    """
    rows = fault.rows()
    variant, reference = (_answers(engine, rows, subject) for engine in (subject.model, subject.reference))
    alone, beside = answered(subject, variant), answered(subject, variant, reference)
    found = [_error("excess", alone), _error("drop", beside)]
    if subject.variant.task != "regression":
        found += [_turned("changed_decisions", alone), _turned("decision_churn", beside)]
    if subject.variant.task == "binary" and subject.labels.min() < subject.labels.max():
        found.append(_ranking(alone))
    return [named(each, name=f"robustness.{fault.kind}.{each.name}", slice=fault.what) for each in found]


def _answers(engine: Engine, rows: Floats, subject: Comparison) -> Floats:
    """What an engine answers; rows that it refuses have no answer."""
    try:
        return engine.predict(rows)
    except EngineError:
        return np.full_like(subject.scores, np.nan)


def _error(name: str, subject: Comparison) -> Measurement:
    errors = errors_of(subject)
    return mean(name, errors.lost, errors.blocks, errors.bounds)


def _turned(name: str, subject: Comparison) -> Measurement:
    turned = flips(subject, errors_of(subject).blocks)
    return named(of_part(turned, turned.among), name=name)


def _ranking(subject: Comparison) -> Measurement:
    answers = binary_answers(subject)
    now, was = (exact_auc(scores, answers.labels, answers.weights) for scores in (answers.scores, answers.reference))
    without, before = (auc_without_each(score_table(scores, answers)) for scores in (answers.scores, answers.reference))
    sample = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=CHANGE)
    return jackknife("roc_auc.decrease", was - now, before - without, sample)
