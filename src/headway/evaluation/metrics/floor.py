"""Floor of a release: gain over the constant prediction, and over a simple reference model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from headway.core.arrays import Bools, Floats
from headway.core.calibrator import Calibrator
from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.calibration.apply import calibration_function
from headway.evaluation.calibration.methods import fit_platt
from headway.evaluation.context import Comparison, MetricResults
from headway.evaluation.quality.embedding import nearest_label_hits
from headway.evaluation.quality.multiclass import brier_scores, class_answers
from headway.evaluation.quality.multilabel import label_answers
from headway.evaluation.quality.ranking import ndcg_by_query
from headway.evaluation.reference_model import fit_reference, select_labeled
from headway.evaluation.statistics.intervals import UNBOUNDED, Sample, exact_measurement, jackknife_interval
from headway.evaluation.statistics.tables import Blocks, binary_answers, build_blocks, leave_one_out_mean

CONSTANT, REFERENCE = "gain_over_constant", "gain_over_reference"
_SAME = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Losses:
    """Losses (n,) of the variant, of the constant prediction, and of the reference model if the task has one.

    `flat` is True if the variant's scores, on their best scale, are a constant prediction.
    """

    own: Floats
    constant: Floats
    reference: Floats | None
    blocks: Blocks
    n_rows: int
    flat: bool


def plugin(subject: Comparison) -> MetricResults:
    """Measure `gain_over_constant` and `gain_over_reference`: how much less loss than a model that knows little.

    Both are differences of mean losses, as shares of the loss of the constant prediction; 0 is as good. The loss is
    the Brier score for classifiers, the squared error for regressions, 1 - NDCG for rankings and the missed nearest
    neighbours for embeddings. The constant is the mean label, the class shares or a random order; the reference is one
    tree of depth 3, and over texts naive Bayes of words. Probabilities are brought on their best scale first (Platt,
    rising), so that class weights do not count against a model, and a reversed order does. All are fitted on other
    rows: those of validation, the reference on those of train if there are any; without either, on the other half of
    the groups.

    Raises
    ------
    NotApplicable
        If the task has none, there is one group alone, or the constant prediction is always right.
    """
    if subject.variant.task not in _OF_TASK:
        raise NotApplicable(f"no floor is defined for the task {subject.variant.task!r}")
    losses = _OF_TASK[subject.variant.task](subject)
    scale = losses.blocks.mean(losses.constant)
    if not scale > 0:
        raise NotApplicable("the constant prediction is right on every row: no model can be better")
    found: list[Measurement | NotApplicable] = []
    if losses.flat:
        how = "the scores do not separate the rows, or in reverse order"
        found.append(exact_measurement(CONSTANT, 0.0, n_rows=losses.n_rows, method=how))
    else:
        found.append(_gain(CONSTANT, losses, losses.constant))
    if losses.reference is not None:
        found.append(_gain(REFERENCE, losses, losses.reference))
    else:
        found.append(NotApplicable(f"the task {subject.variant.task!r} has no reference model"))
    return found


def _gain(name: str, losses: _Losses, other: Floats) -> Measurement:
    """Measure the mean of another loss minus the variant's, divided by that of the constant prediction."""
    blocks = losses.blocks
    (own, own_without), (worse, without), (scale, scale_without) = (
        (blocks.mean(values), leave_one_out_mean(blocks.per_block(values), blocks.rows))
        for values in (losses.own, other, losses.constant)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        without_each = (without - own_without) / scale_without
    bounds = (UNBOUNDED[0], 1.0) if name == CONSTANT else UNBOUNDED
    sample = Sample(n_rows=losses.n_rows, n_groups=blocks.n_groups, bounds=bounds)
    return jackknife_interval(name, (worse - own) / scale, without_each, sample)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fold:
    """Rows to evaluate, bool (n,), and what others give: labeled rows, the variant's scores, the reference."""

    inside: Bools
    fitted: LabeledData
    scores: Floats
    reference: Callable[[Floats], Floats]


def _folds(subject: Comparison, *, n_classes: int = 0) -> list[_Fold]:
    """Return one fold with what was fitted on validation, or two halves of the groups, each fitted on the other."""
    if subject.floor is not None:
        fitted = subject.floor.validation
        everything = np.ones(len(subject.labels), dtype=np.bool_)
        scores, reference = subject.model.predict(fitted.rows), subject.floor.reference(n_classes)
        known: Bools = np.asarray(np.isfinite(scores).all(axis=1))
        return [
            _Fold(inside=everything, fitted=select_labeled(fitted, known), scores=scores[known], reference=reference)
        ]
    odd: Bools = np.unique(subject.groups, return_inverse=True)[1] % 2 == 1
    if odd.all() or not odd.any():
        raise NotApplicable("there is one group alone: nothing can be fitted on others")
    own = LabeledData(rows=subject.rows, labels=subject.labels, groups=subject.groups, weights=subject.weights)
    texts = tuple(index for index, field in enumerate(subject.fields) if field.is_text)
    halves = ((inside, select_labeled(own, ~inside)) for inside in (odd, ~odd))
    return [
        _Fold(
            inside=inside,
            fitted=fitted,
            scores=subject.scores[~inside],
            reference=fit_reference(fitted, texts=texts, n_classes=n_classes),
        )
        for inside, fitted in halves
    ]


def _binary(subject: Comparison) -> _Losses:
    answers = binary_answers(subject)
    own, constant, reference = (np.empty(len(answers.labels)) for _ in range(3))
    flat = []
    for fold in _folds(subject):
        calibrator = _rising_scale(fold.scores[:, 0], fold.fitted.labels, fold.fitted.weights)
        own[fold.inside] = calibration_function(calibrator)(answers.scores[fold.inside])
        constant[fold.inside] = np.average(fold.fitted.labels, weights=fold.fitted.weights)
        reference[fold.inside] = fold.reference(subject.rows[fold.inside])[:, 0]
        flat.append(calibrator.up == 0 or _is_flat(fold.scores))
    losses = (np.square(values - answers.labels) for values in (own, constant, reference))
    return _assembled(losses, answers, n_rows=answers.n_rows, flat=all(flat))


def _rising_scale(scores: Floats, labels: Floats, weights: Floats | None) -> Calibrator:
    return fit_platt(np.clip(scores, 0.0, 1.0), labels, weights)


def _is_flat(scores: Floats) -> bool:
    return bool((np.ptp(scores, axis=0) <= _SAME).all())


def _multiclass(subject: Comparison) -> _Losses:
    answers = class_answers(subject)
    k = answers.scores.shape[1]
    own, constant, reference = (np.empty(answers.scores.shape) for _ in range(3))
    flat = []
    for fold in _folds(subject, n_classes=k):
        labels = fold.fitted.labels.astype(np.int64)
        scales = [
            _rising_scale(fold.scores[:, number], (labels == number).astype(np.float64), fold.fitted.weights)
            for number in range(k)
        ]
        scaled = np.column_stack(
            [calibration_function(scale)(answers.scores[fold.inside, number]) for number, scale in enumerate(scales)]
        )
        own[fold.inside] = scaled / np.maximum(scaled.sum(1, keepdims=True), np.finfo(np.float64).tiny)
        constant[fold.inside] = np.bincount(labels, weights=fold.fitted.weights, minlength=k) / (
            len(labels) if fold.fitted.weights is None else fold.fitted.weights.sum()
        )
        reference[fold.inside] = fold.reference(subject.rows[fold.inside])
        flat.append(all(scale.up == 0 for scale in scales) or _is_flat(fold.scores))
    losses = (brier_scores(values, answers.labels) for values in (own, constant, reference))
    return _assembled(losses, answers.blocks, n_rows=answers.blocks.n_rows, flat=all(flat))


def _multilabel(subject: Comparison) -> _Losses:
    """Compare the labels one by one: the loss of a row is the mean over them."""
    answers = label_answers(subject)
    own, constant, reference = (np.empty(answers.scores.shape) for _ in range(3))
    flat = []
    for fold in _folds(subject):
        labels, weights = fold.fitted.labels, fold.fitted.weights
        scales = [_rising_scale(scores, of, weights) for scores, of in zip(fold.scores.T, labels.T, strict=True)]
        own[fold.inside] = np.column_stack(
            [
                calibration_function(scale)(scores)
                for scale, scores in zip(scales, answers.scores[fold.inside].T, strict=True)
            ]
        )
        constant[fold.inside] = np.average(labels, axis=0, weights=weights)
        reference[fold.inside] = fold.reference(subject.rows[fold.inside])
        flat.append(all(scale.up == 0 for scale in scales) or _is_flat(fold.scores))
    losses = (np.square(values - answers.labels).mean(axis=1) for values in (own, constant, reference))
    return _assembled(losses, answers.blocks, n_rows=answers.blocks.n_rows, flat=all(flat))


def _regression(subject: Comparison) -> _Losses:
    blocks = build_blocks(subject)
    if not np.isfinite(subject.labels).all():
        raise NotApplicable("some labels are not finite")
    constant, reference = (np.empty(len(subject.labels)) for _ in range(2))
    for fold in _folds(subject):
        constant[fold.inside] = np.average(fold.fitted.labels, weights=fold.fitted.weights)
        reference[fold.inside] = fold.reference(subject.rows[fold.inside])[:, 0]
    losses = (np.square(values - subject.labels) for values in (subject.scores[:, 0], constant, reference))
    return _assembled(losses, blocks, n_rows=blocks.n_rows, flat=_is_flat(subject.scores))


def _ranking(subject: Comparison) -> _Losses:
    """Compare with a random order, whose NDCG is that of tied scores, and with the order of the tree."""
    reference = np.empty(len(subject.labels))
    for fold in _folds(subject):
        reference[fold.inside] = fold.reference(subject.rows[fold.inside])[:, 0]
    scores = (subject.scores[:, 0], np.zeros(len(subject.labels)), reference)
    values, blocks, n_rows = ndcg_by_query(subject, scores)
    return _assembled((1 - value for value in values), blocks, n_rows=n_rows, flat=_is_flat(subject.scores))


def _embedding(subject: Comparison) -> _Losses:
    """Compare the nearest neighbours with random ones; a simple reference model does not exist."""
    hits, chance, blocks = nearest_label_hits(subject)
    return _Losses(
        own=1 - hits,
        constant=1 - chance,
        reference=None,
        blocks=blocks,
        n_rows=len(hits),
        flat=_is_flat(subject.scores),
    )


def _assembled(losses: Iterable[Floats], blocks: Blocks, *, n_rows: int, flat: bool) -> _Losses:
    own, constant, reference = losses
    return _Losses(own=own, constant=constant, reference=reference, blocks=blocks, n_rows=n_rows, flat=flat)


_OF_TASK: dict[str, Callable[[Comparison], _Losses]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "multilabel": _multilabel,
    "regression": _regression,
    "ranking": _ranking,
    "embedding": _embedding,
}
