"""Decisions of a variant that differ from those of the baseline, and whether it is known that no row has another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats, Ints
from headway.core.evidence import Measurement
from headway.core.variant import LIBRARY_THRESHOLD, MULTILABEL, NUMBERS
from headway.evaluation.context import Comparison
from headway.evaluation.quality.ranking import query_codes
from headway.evaluation.statistics.subsets import unseen_error
from headway.evaluation.statistics.tables import Blocks
from headway.optimization.parity import TOLERANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionChanges:
    """Rows that the variant decides otherwise than the baseline, bool (n,), and their `clustering`, float64 (n,).

    `exact` says why every row, and not these alone, is decided as by the baseline; empty if that is not known.
    """

    changed: Bools
    related: Floats
    blocks: Blocks
    exact: str

    @classmethod
    def of(cls, subject: Comparison, own: Ints, before: Ints, blocks: Blocks) -> DecisionChanges:
        """Return the differences of decisions (n,), or of the labels that are given (n, k)."""
        changed: Bools = (own != before).reshape(len(own), -1).any(axis=1)
        exact = "" if changed.any() else _exactness(subject)
        return cls(changed=changed, related=clustering(subject), blocks=blocks, exact=exact)

    def unseen(self, among: Bools | None = None, *, step: float = 1.0) -> float:
        """Return the `unseen_error` of a drop among some rows, by default all; 0 if no row can change."""
        among = np.ones(self.blocks.n_rows, dtype=np.bool_) if among is None else among
        return 0.0 if self.exact else unseen_error(self.changed, among, self.blocks, related=self.related, step=step)

    def explained(self, drop: Measurement) -> Measurement:
        """Return the drop of a measure of decisions, with the reason why it is 0 if no row can change."""
        return replace(drop, method=self.exact) if self.exact else drop


def score_changes(subject: Comparison) -> Floats:
    """Return the largest change of an answer of each row, float64 (n,)."""
    changes: Floats = np.abs(subject.scores - subject.reference_scores).max(axis=1)
    return changes


def _exactness(subject: Comparison) -> str:
    """Return why no row has another decision: known of the baseline itself, and of steps that proved it.

    Of steps that keep the answers it is known if parity is shown on these rows, and no answer that moved at all is
    within it of another decision.
    """
    if subject.keeps_decisions:
        return "certified for every row, as a step proved it"
    if not subject.keeps_answers:
        return ""
    moved = score_changes(subject)
    if not subject.variant.steps and not moved.any():
        return "exact: it is the baseline"
    largest = float(np.abs(subject.reference_scores).max()) if subject.variant.task in NUMBERS else 1.0
    allowed = TOLERANCE * largest
    if moved.max() > allowed or ((moved > 0) & (decision_margins(subject) <= 2 * allowed)).any():
        return ""
    return f"exact: every step keeps the answers, and none that moved is within {allowed:.2g} of another decision"


def clustering(*subjects: Comparison) -> Floats:
    """Return a continuous quantity of each row, whose clustering in groups stands for that of changed decisions.

    It is how far the answer moved, or the distance from another decision where no answer moved.
    """
    moved = np.concatenate([score_changes(subject) for subject in subjects])
    if moved.any():
        return moved
    margins = np.concatenate([decision_margins(subject) for subject in subjects])
    finite: Floats = np.where(np.isfinite(margins), margins, 0.0)
    return finite


def decision_margins(subject: Comparison) -> Floats:
    """Return how far each answer of the baseline is from another decision, float64 (n,).

    For a ranking it is the distance between the first two rows of the query.
    """
    reference = subject.reference_scores
    if subject.variant.task == "ranking":
        return _leads(reference[:, 0], query_codes(subject))
    if subject.variant.task == MULTILABEL:
        margins: Floats = np.abs(reference - LIBRARY_THRESHOLD).min(axis=1)
    elif reference.shape[1] == 1:
        margins = np.abs(reference[:, 0] - subject.threshold)
    else:
        first, second = np.sort(reference, axis=1)[:, :-3:-1].T
        margins = first - second
    return margins


def _leads(scores: Floats, queries: Ints) -> Floats:
    """Return for each row by how much the first row of its query leads, infinite for a query of one row."""
    order = np.lexsort((-scores, queries))
    starts = np.flatnonzero(np.diff(queries[order], prepend=-1))
    seconds = np.minimum(starts + 1, len(order) - 1)
    has_two = np.diff(starts, append=len(order)) > 1
    leads: Floats = np.where(has_two, scores[order[starts]] - scores[order[seconds]], np.inf)
    return leads[np.searchsorted(queries[order[starts]], queries)]
