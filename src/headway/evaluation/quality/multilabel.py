"""Quality of classifiers of several labels a row: overall and by label, with the drop against the baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from msgspec.structs import replace as named

from headway.core.arrays import Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.label_sets import decide_labels
from headway.evaluation.context import Comparison
from headway.evaluation.quality.decision_changes import DecisionChanges
from headway.evaluation.quality.multiclass import f1_step, require_probabilities
from headway.evaluation.statistics.intervals import CHANGE, SHARE, Sample, jackknife_interval, t_interval
from headway.evaluation.statistics.subsets import (
    MAX_LOG_LOSS,
    MIN_PROBABILITY,
    jackknife_estimate,
    mean_measurement,
    unseen_error,
)
from headway.evaluation.statistics.tables import Blocks, build_blocks

LABEL = "label"
"""Name of the slices by label: `label=billing`."""
MAX_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAnswers:
    """Labels 0 and 1, float64 (n, k), and the probabilities and decisions of the variant and the baseline, (n, k)."""

    names: tuple[str, ...]
    labels: Floats
    scores: Floats
    reference: Floats
    decided: Ints
    reference_decided: Ints
    blocks: Blocks


def measure_multilabel(subject: Comparison) -> list[Measurement | NotApplicable]:
    """Measure the quality of a multilabel classifier, each measure with a paired `.drop` (positive: worse).

    - `micro_f1` over all labels of all rows, and `macro_f1`, the mean over the labels that occur or were decided.
    - `exact_match`: share of rows whose labels are all right; `hamming_loss`: share of wrong labels.
    - `log_loss` and `brier`: means over labels and rows.
    - `f1` and `base_rate` of each label, as the slice `label=NAME`. Rows and groups of `f1` are those that have the
      label, or were given it. A label without such a row is not judged, and is named.
    """
    answers = label_answers(subject)
    wrong, was_wrong = (
        (decided != answers.labels).astype(np.float64) for decided in (answers.decided, answers.reference_decided)
    )
    right, was_right = (1.0 - errors.max(axis=1) for errors in (wrong, was_wrong))
    logs, were_logs = (_log_losses(scores, answers.labels) for scores in (answers.scores, answers.reference))
    brier, was_brier = (
        np.square(scores - answers.labels).mean(axis=1) for scores in (answers.scores, answers.reference)
    )
    blocks = answers.blocks
    changes = DecisionChanges.of(subject, answers.decided, answers.reference_decided, blocks)
    lost, more_wrong = was_right - right, (wrong - was_wrong).mean(axis=1)
    unseen = changes.unseen()
    return [
        *_f1(answers, changes),
        mean_measurement("exact_match", right, blocks, SHARE, related=_errors(answers)),
        changes.explained(mean_measurement("exact_match.drop", lost, blocks, CHANGE, unseen=unseen)),
        mean_measurement("hamming_loss", wrong.mean(axis=1), blocks, SHARE, related=_errors(answers)),
        changes.explained(mean_measurement("hamming_loss.drop", more_wrong, blocks, CHANGE, unseen=unseen)),
        mean_measurement("log_loss", logs, blocks, (0.0, MAX_LOG_LOSS)),
        mean_measurement("log_loss.drop", logs - were_logs, blocks, (-MAX_LOG_LOSS, MAX_LOG_LOSS)),
        mean_measurement("brier", brier, blocks, SHARE),
        mean_measurement("brier.drop", brier - was_brier, blocks, CHANGE),
        *_base_rates(answers),
    ]


def label_answers(subject: Comparison) -> LabelAnswers:
    """Return the answers of a multilabel model.

    Raises NotApplicable for labels that are no indicator matrix, and answers that are not probabilities.
    """
    blocks, count = build_blocks(subject), subject.scores.shape[1]
    if subject.labels.shape != (len(subject.scores), count) or not np.isin(subject.labels, (0.0, 1.0)).all():
        raise NotApplicable(f"labels must be an indicator matrix (n, {count}) of 0 and 1")
    require_probabilities(subject, hint="end the model in a sigmoid for each label")
    decided, reference_decided = decided_labels(subject)
    names = subject.variant.signature.classes or tuple(str(index) for index in range(count))
    return LabelAnswers(
        names=names,
        labels=subject.labels,
        scores=np.clip(subject.scores, 0.0, 1.0),
        reference=np.clip(subject.reference_scores, 0.0, 1.0),
        decided=decided,
        reference_decided=reference_decided,
        blocks=blocks,
    )


def decided_labels(subject: Comparison) -> tuple[Ints, Ints]:
    """Return the labels that the variant and the baseline give, indicator matrices int64 (n, k)."""
    own, before = (
        decide_labels(scores) if decided is None else decided
        for scores, decided in (
            (subject.scores, subject.decisions),
            (subject.reference_scores, subject.reference_decisions),
        )
    )
    return own, before


def _errors(answers: LabelAnswers) -> Floats:
    """Return the largest error of a row's probabilities, whose clustering stands for that of rare errors."""
    errors: Floats = np.abs(answers.scores - answers.labels).max(axis=1)
    return errors


def _f1(answers: LabelAnswers, changes: DecisionChanges) -> list[Measurement | NotApplicable]:
    """Measure F1 over all labels, its mean over labels, and that of each label."""
    blocks = answers.blocks
    true = _by_block(answers.labels, blocks)
    (hits, both), (was_hits, was_both) = (
        (_by_block(decided * answers.labels, blocks), _by_block(decided, blocks) + true)
        for decided in (answers.decided, answers.reference_decided)
    )
    sample = Sample(n_rows=blocks.n_rows, n_groups=blocks.n_groups, bounds=SHARE)
    rows, everywhere = float(blocks.rows.sum()), np.ones(blocks.n_rows, dtype=np.bool_)
    wrong = (answers.decided != answers.labels).any(axis=1)
    found: list[Measurement | NotApplicable] = []
    for name, mean in (("micro_f1", _micro), ("macro_f1", _macro)):
        (value, without), (was, was_without) = (
            (float(mean(h.sum(0), b.sum(0))), mean(h.sum(0) - h, b.sum(0) - b))
            for h, b in ((hits, both), (was_hits, was_both))
        )
        if not np.isfinite(value) or not np.isfinite(was):
            return [NotApplicable("no row has a label, and none is given one: F1 is undefined")]
        step = f1_step(both.sum(0) if mean is _macro else both.sum(0, keepdims=True).sum(1), rows)
        unseen = unseen_error(wrong, everywhere, blocks, related=_errors(answers), step=step)
        found.append(jackknife_interval(name, value, without, sample, unseen=unseen))
        drop, unseen = replace(sample, bounds=CHANGE), changes.unseen(step=step)
        lost = jackknife_interval(f"{name}.drop", was - value, was_without - without, drop, unseen=unseen)
        found.append(changes.explained(lost))
    silent = []
    for index, label in enumerate(answers.names):
        among = (answers.labels[:, index] + answers.decided[:, index] + answers.reference_decided[:, index]) > 0
        if not among.any():
            silent.append(label)
            continue
        counts = hits[:, index], both[:, index], was_hits[:, index], was_both[:, index]
        groups = blocks.groups[among]
        of_label = Sample(n_rows=len(groups), n_groups=len(np.unique(groups)), bounds=SHARE)
        differs = answers.decided[:, index] != np.stack([answers.labels, answers.reference_decided])[:, :, index]
        step = 2 * len(groups) / max(float(both[:, index].sum()), 1.0)
        errors = [unseen_error(rows, among, blocks, step=step) for rows in differs]
        both_errors = (errors[0], 0.0 if changes.exact else errors[1])
        measured = _f1_of_label(*counts, of_label, both_errors)
        found += [named(measurement, slice=f"{LABEL}={label}") for measurement in measured]
    if silent:
        shown = ", ".join(silent[:MAX_SHOWN]) + (f" and {len(silent) - MAX_SHOWN} more" if silent[MAX_SHOWN:] else "")
        reason = f"no row has, or was given, {len(silent)} of {len(answers.names)} labels: {shown}"
        found.append(NotApplicable(reason, hint="evaluate on rows with these labels, or leave them out of the model"))
    return found


def _f1_of_label(
    hits: Floats, both: Floats, was_hits: Floats, was_both: Floats, sample: Sample, unseen: tuple[float, float]
) -> list[Measurement]:
    """Measure F1 of one label and its drop, of sums by block (n_blocks,), where they are defined.

    `unseen` are the errors of both by rows that were not seen to be wrong, and to change.
    """
    (value, without), (was, was_without) = (
        (float(_ratio(h.sum(), b.sum())), _ratio(h.sum() - h, b.sum() - b))
        for h, b in ((hits, both), (was_hits, was_both))
    )
    found = []
    if np.isfinite(value):
        found.append(t_interval("f1", jackknife_estimate(value, without, held=both, unseen=unseen[0]), sample))
    if np.isfinite(value) and np.isfinite(was):
        drop, without_drop = was - value, was_without - without
        estimate = jackknife_estimate(drop, without_drop, held=both + was_both, unseen=unseen[1])
        found.append(t_interval("f1.drop", estimate, replace(sample, bounds=CHANGE)))
    return found


def _base_rates(answers: LabelAnswers) -> list[Measurement]:
    """Measure the share of rows that have each label."""
    return [
        named(mean_measurement("base_rate", labels, answers.blocks, SHARE, related=scores), slice=f"{LABEL}={name}")
        for name, labels, scores in zip(answers.names, answers.labels.T, answers.scores.T, strict=True)
    ]


def _by_block(values: Floats | Ints, blocks: Blocks) -> Floats:
    """Sum the columns of values (n, k) by block and weight, float64 (n_blocks, k)."""
    return np.column_stack([blocks.per_block(column.astype(np.float64)) for column in values.T])


def _ratio(hits: Floats, both: Floats) -> Floats:
    """Return F1 of hits, and predicted plus true rows, each (...); NaN without a row."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(both > 0, 2 * hits / both, np.nan)
    return found


def _micro(hits: Floats, both: Floats) -> Floats:
    return _ratio(hits.sum(-1), both.sum(-1))


def _macro(hits: Floats, both: Floats) -> Floats:
    there = both > 1e-12 * both.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(there, 2 * hits / both, 0.0).sum(-1) / there.sum(-1)
    return found


def _log_losses(scores: Floats, labels: Floats) -> Floats:
    """Return the log loss of each row, the mean over its labels, float64 (n,)."""
    likely = np.where(labels == 1, scores, 1.0 - scores)
    losses: Floats = -np.log(np.maximum(likely, MIN_PROBABILITY)).mean(axis=1)
    return losses
