"""Parity with the baseline: changes of answers and decisions, overall, near the threshold and by slice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats
from headway.core.evidence import Measurement
from headway.core.variant import MULTILABEL, NUMBERS
from headway.core.verdict import QUANTILES
from headway.evaluation.context import Comparison
from headway.evaluation.quality.decision_changes import decision_margins, score_changes
from headway.evaluation.quality.multilabel import LABEL, label_answers
from headway.evaluation.quality.row_errors import decision_churn, with_unlabeled
from headway.evaluation.statistics.intervals import exact_measurement
from headway.evaluation.statistics.subsets import RowStatistic, subset_mean
from headway.evaluation.statistics.tables import build_blocks

NEAREST = 0.1


def plugin(subject: Comparison) -> list[Measurement]:
    """Measure how far the answers moved from the baseline's, and how many decisions changed.

    - `max_change` and the quantiles `change.p50` to `change.p999` of the change of a probability, or of a predicted
      number.
    - `max_change.relative`: largest change over the largest answer (regression and ranking).
    - `decision_churn`: share of rows with another decision, at the threshold or by the most probable class; for a
      ranking, share of queries with another first row. `decision_churn.near` is that share among the tenth of the rows
      nearest to the baseline's decision boundary.
      Of several labels a row, another decision is another set of labels, and `decision_churn` of `label=NAME` is the
      share of the rows to which the variant or the baseline gives the label, and the other does not.
    - `cosine.drop`: one minus the smallest cosine between both answers, for several outputs.

    `decision_churn` is 0 without an interval where that is known of every row: of the baseline itself, if a step proved
    it, or if every step keeps the answers and no answer that moved is near another decision. Over all rows it counts
    those without a label as well.

    `max_change` and `decision_churn` are measured by slice as well, and on rows with a missing value or an unseen
    category.
    """
    blocks = build_blocks(subject)
    changes = score_changes(subject)
    found = [_largest(changes, "largest over all rows"), *_quantiles(changes)]
    if subject.variant.task in NUMBERS:
        found.append(_relative(changes, subject.reference_scores))
    if subject.scores.shape[1] > 1:
        found.append(_turned(subject.scores, subject.reference_scores))
    task = subject.variant.task
    turned = None if task in ("regression", "embedding") else decision_churn(subject, blocks)
    if turned and task == "ranking":
        found.append(subset_mean(turned, turned.among))
    elif turned:
        found += [_churn(with_unlabeled(subject, turned)), _near(subject, turned)]
    if turned and task == MULTILABEL:
        found += _by_label(subject, turned)
    for label, inside in _parts(subject):
        found.append(replace(_largest(changes[inside], "largest of these"), slice=label))
        found += [replace(subset_mean(turned, inside), slice=label)] if turned and (turned.among & inside).any() else []
    return found


def _largest(changes: Floats, method: str) -> Measurement:
    return exact_measurement("max_change", float(changes.max()), n_rows=len(changes), method=method)


def _quantiles(changes: Floats) -> list[Measurement]:
    """Return quantiles of the changes on the rows at hand."""
    values = np.quantile(changes, list(QUANTILES.values()), method="inverted_cdf")
    return [
        exact_measurement(name, float(value), n_rows=len(changes), method="quantile over all rows")
        for name, value in zip(QUANTILES, values, strict=True)
    ]


def _churn(turned: RowStatistic) -> Measurement:
    if turned.exact:
        return exact_measurement(turned.name, 0.0, n_rows=turned.blocks.n_rows, method=turned.exact)
    return subset_mean(turned, turned.among)


def _near(subject: Comparison, turned: RowStatistic) -> Measurement:
    """Return the churn among the rows nearest to the decision boundary, ties included."""
    margins = decision_margins(subject)
    near = margins <= np.quantile(margins, NEAREST, method="inverted_cdf")
    return replace(subset_mean(turned, near), name=f"{turned.name}.near")


def _by_label(subject: Comparison, turned: RowStatistic) -> list[Measurement]:
    """Return the churn of each label that the variant or the baseline gives to a row."""
    answers = label_answers(subject)
    found = []
    for name, new, old in zip(answers.names, answers.decided.T, answers.reference_decided.T, strict=True):
        either: Bools = (new + old) > 0
        if either.any():
            of_label = dataclasses.replace(turned, values=(new != old).astype(np.float64), among=either)
            found.append(replace(subset_mean(of_label, either), slice=f"{LABEL}={name}"))
    return found


def _parts(subject: Comparison) -> Iterator[tuple[str, Bools]]:
    """Yield each slice, and the rows that conversions most often get wrong, if there are any."""
    for name, column in subject.slices.items():
        for code in np.unique(column.codes).tolist():
            yield f"{name}={column.values[code]}", column.codes == code
    missing = np.asarray(np.isnan(subject.rows).any(axis=1))
    if missing.any():
        yield "rows with a missing value", missing
    if subject.unseen is not None and subject.unseen.any():
        yield "rows with an unseen category", subject.unseen


def _turned(scores: Floats, reference: Floats) -> Measurement:
    lengths = np.linalg.norm(scores, axis=1) * np.linalg.norm(reference, axis=1)
    cosines = np.where(lengths > 0, (scores * reference).sum(axis=1) / np.where(lengths > 0, lengths, 1.0), 1.0)
    value = max(0.0, 1.0 - float(cosines.min()))
    return exact_measurement("cosine.drop", value, n_rows=len(cosines), method="1 - smallest cosine of two answers")


def _relative(changes: Floats, reference: Floats) -> Measurement:
    largest = float(np.abs(reference).max())
    value = float(changes.max()) / largest if largest else float(changes.max())
    return exact_measurement(
        "max_change.relative", value, n_rows=len(changes), method="largest change over largest answer"
    )
