"""Error and decision of each row, of the variant and of the baseline, for any task."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.variant import MULTILABEL
from headway.evaluation.context import Comparison
from headway.evaluation.quality.decision_changes import DecisionChanges, clustering
from headway.evaluation.quality.multiclass import brier_scores, class_answers
from headway.evaluation.quality.multilabel import decided_labels, label_answers
from headway.evaluation.quality.ranking import is_first, query_codes
from headway.evaluation.statistics.intervals import CHANGE, SHARE, UNBOUNDED
from headway.evaluation.statistics.subsets import RowStatistic
from headway.evaluation.statistics.tables import Blocks, binary_answers, block_fields, build_blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class RowErrors:
    """`brier` of a classifier or `mse` of a regression, float64 (n,) of both models; differences lie in `bounds`."""

    name: str
    variant: Floats
    reference: Floats
    bounds: tuple[float, float]
    blocks: Blocks

    @property
    def increase(self) -> Floats:
        """Error of the variant minus that of the baseline, float64 (n,)."""
        return self.variant - self.reference


def compute_row_errors(subject: Comparison) -> RowErrors:
    """Compute the squared error of each row; raises NotApplicable if answers or labels do not fit the task."""
    if subject.variant.task == "regression":
        variant, reference = (
            np.square(scores[:, 0] - subject.labels) for scores in (subject.scores, subject.reference_scores)
        )
        return RowErrors(
            name="mse", variant=variant, reference=reference, bounds=UNBOUNDED, blocks=build_blocks(subject)
        )
    if subject.variant.task == MULTILABEL:
        labels = label_answers(subject)
        variant, reference = (
            np.square(scores - labels.labels).mean(axis=1) for scores in (labels.scores, labels.reference)
        )
        return RowErrors(name="brier", variant=variant, reference=reference, bounds=CHANGE, blocks=labels.blocks)
    if subject.variant.task == "multiclass":
        several = class_answers(subject)
        variant, reference = (brier_scores(scores, several.labels) for scores in (several.scores, several.reference))
        return RowErrors(name="brier", variant=variant, reference=reference, bounds=(-2.0, 2.0), blocks=several.blocks)
    answers = binary_answers(subject)
    variant, reference = (np.square(scores - answers.labels) for scores in (answers.scores, answers.reference))
    return RowErrors(name="brier", variant=variant, reference=reference, bounds=CHANGE, blocks=answers)


def decision_churn(subject: Comparison, blocks: Blocks) -> RowStatistic:
    """Return the statistic `decision_churn`: 1 for a row whose decision differs from the baseline's, else 0.

    A decision is made at the threshold, or for the most probable class; of several labels a row, it is the set of them.
    For a ranking it is which row of a query comes first, over the rows that did for the baseline.
    """
    before = decided_classes(subject)[1]
    among = before == 1 if subject.variant.task == "ranking" else np.ones(blocks.n_rows, dtype=np.bool_)
    changes = decision_changes(subject, blocks)
    return RowStatistic(
        name="decision_churn",
        values=changes.changed.astype(np.float64),
        among=among,
        bounds=SHARE,
        blocks=blocks,
        related=changes.related,
        exact=changes.exact,
    )


def with_unlabeled(subject: Comparison, turned: RowStatistic) -> RowStatistic:
    """Return `decision_churn` over the rows of the period with and without a label."""
    more, without_labels = subject.unlabeled, subject.without_labels
    if more is None or without_labels is None:
        return turned
    weights = None if subject.weights is None else np.concatenate([subject.weights, more.weights])
    blocks = Blocks(**block_fields(more.groups, weights))
    added = decision_changes(without_labels, blocks)
    return replace(
        turned,
        values=np.concatenate([turned.values, added.changed.astype(np.float64)]),
        among=np.ones(blocks.n_rows, dtype=np.bool_),
        blocks=blocks,
        related=clustering(subject, without_labels),
        exact=turned.exact if added.exact else "",
    )


def decision_changes(subject: Comparison, blocks: Blocks) -> DecisionChanges:
    """Return the rows that the variant decides otherwise than the baseline."""
    own, before = decided_classes(subject)
    return DecisionChanges.of(subject, own, before, blocks)


def decided_classes(subject: Comparison) -> tuple[Ints, Ints]:
    """Return the decisions of the variant and of the baseline, int64 (n,); for a ranking 1 for the first of a query.

    Of several labels a row, they are indicator matrices (n, k).
    """
    if subject.variant.task == MULTILABEL:
        return decided_labels(subject)
    if subject.variant.task == "ranking":
        queries = query_codes(subject)
        own, before = (
            is_first(scores[:, 0], queries).astype(np.int64) for scores in (subject.scores, subject.reference_scores)
        )
        return own, before
    own, before = (
        decide_class(scores, subject.threshold) if decided is None else decided
        for scores, decided in (
            (subject.scores, subject.decisions),
            (subject.reference_scores, subject.reference_decisions),
        )
    )
    return own, before


def decide_class(scores: Floats, threshold: float) -> Ints:
    """Return the decisions for scores (n, k): 1 from the threshold on, or the first of the most probable classes.

    >>> decide_class(np.array([[0.2], [0.5]]), 0.5).tolist(), decide_class(np.array([[0.2, 0.8]]), 0.5).tolist()
    ([0, 1], [1])
    """
    if scores.shape[1] == 1:
        return (scores[:, 0] >= threshold).astype(np.int64)
    return np.asarray(np.argmax(scores, axis=1), dtype=np.int64)
