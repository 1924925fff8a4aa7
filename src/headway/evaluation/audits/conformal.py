"""Coverage and size of conformal prediction sets, by month and by slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import replace as replaced

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats, Ints
from headway.core.contracts import SliceColumn
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.conformal import (
    AdaptiveConformal,
    adaptive_limits,
    aps_scores,
    aps_sets,
    lac_scores,
    lac_sets,
    two_class_probabilities,
)
from headway.evaluation.context import AuditContext, Comparison
from headway.evaluation.quality.multiclass import class_answers
from headway.evaluation.statistics.intervals import SHARE, UNBOUNDED, exact_measurement
from headway.evaluation.statistics.subsets import RowStatistic, subset_mean
from headway.evaluation.statistics.tables import Blocks, binary_answers, build_blocks

PLAN = AdaptiveConformal()
_FEWEST = 7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Form:
    """One kind of prediction set.

    `values` (n,) are the nonconformity scores. `told` maps limits (n,) to the size of each set, and whether it covers.
    """

    name: str
    values: Floats
    evaluate_sets: Callable[[Floats], tuple[Floats, Bools]]
    size: str
    max_size: float
    blocks: Blocks


def plugin(subject: Comparison, context: AuditContext) -> list[Measurement]:
    """Measure the coverage and size of adaptive conformal sets with a target of 90 %.

    Measures, over all rows, by month and by slice:

    - `conformal.coverage`, and `conformal.size` (classes in a set).
    - `conformal.aps.coverage` and `.size` for several classes: sets that adapt to the row.
    - `conformal.width` for a regression, in units of the target, over rows with a finite interval; `conformal.endless`
      counts the other rows.

    Limits come from earlier groups, as if labels arrived one group late; the first 8 groups only calibrate. Each slice has
    limits of its own (Mondrian).

    Raises
    ------
    NotApplicable
        For another task, and if there are no more than 8 groups.
    """
    found = [measurement for form in _forms(subject) for measurement in _measured(form, subject, context)]
    if not found:
        raise NotApplicable(
            f"conformal sets are evaluated from group {_FEWEST + PLAN.delay + 1} on, there are {len(np.unique(subject.groups))} groups"
        )
    return found


def _forms(subject: Comparison) -> list[_Form]:
    if subject.variant.task == "regression":
        return [_distances(subject)]
    if subject.variant.task == "multiclass":
        several = class_answers(subject)
        chance = np.random.default_rng(0).random(len(several.labels))
        drawn = aps_scores(several.scores, several.labels, chance)
        plain = _classes(several.scores, several.labels, several.blocks)
        evaluate_sets = _set_evaluator(several.scores, several.labels, aps_sets)
        return [plain, replaced(plain, name="conformal.aps", values=drawn, evaluate_sets=evaluate_sets)]
    answers = binary_answers(subject)
    return [_classes(two_class_probabilities(answers.scores), answers.labels.astype(np.int64), answers)]


def _classes(scores: Floats, labels: Ints, blocks: Blocks) -> _Form:
    return _Form(
        name="conformal",
        values=lac_scores(scores, labels),
        evaluate_sets=_set_evaluator(scores, labels, lac_sets),
        size="size",
        max_size=float(scores.shape[1]),
        blocks=blocks,
    )


def _set_evaluator(
    scores: Floats, labels: Ints, sets: Callable[[Floats, Floats], Bools]
) -> Callable[[Floats], tuple[Floats, Bools]]:
    def evaluate_sets(limits: Floats) -> tuple[Floats, Bools]:
        found = sets(scores, limits)
        return found.sum(axis=1).astype(np.float64), found[np.arange(len(labels)), labels]

    return evaluate_sets


def _distances(subject: Comparison) -> _Form:
    blocks = build_blocks(subject)
    values = np.abs(subject.scores[:, 0] - subject.labels)
    return _Form(
        name="conformal",
        values=values,
        evaluate_sets=lambda limits: (2 * limits, values <= limits),
        size="width",
        max_size=UNBOUNDED[1],
        blocks=blocks,
    )


def _measured(form: _Form, subject: Comparison, context: AuditContext) -> list[Measurement]:
    all_rows = np.ones(len(form.values), dtype=np.bool_)
    limits, eligible = _limits(form, all_rows)
    months = {} if context.months is None else {"month": context.months}
    parts = [("", all_rows), *_parts(months)]
    found = [measurement for label, inside in parts for measurement in _of(form, limits, eligible & inside, label)]
    for label, inside in _parts(subject.slices):
        found += _of(form, *_limits(form, inside), label)
    return found


def _parts(columns: Mapping[str, SliceColumn]) -> Iterator[tuple[str, Bools]]:
    for name, column in columns.items():
        for code in np.unique(column.codes).tolist():
            yield f"{name}={column.values[code]}", column.codes == code


def _limits(form: _Form, inside: Bools) -> tuple[Floats, Bools]:
    """Return a limit for each row inside, computed from the rows inside alone, and the evaluated rows; both (n,)."""
    groups = np.unique(form.blocks.groups[inside], return_inverse=True)[1]
    limits, eligible = np.full(len(inside), np.inf), np.zeros(len(inside), dtype=np.bool_)
    limits[inside] = adaptive_limits(form.values[inside], groups, PLAN)
    eligible[inside] = groups >= _FEWEST + PLAN.delay
    return limits, eligible


def _of(form: _Form, limits: Floats, eligible: Bools, label: str) -> list[Measurement]:
    """Return coverage and size over the evaluated rows; nothing if there are none."""
    if not eligible.any():
        return []
    sizes, held = form.evaluate_sets(limits)
    ends = eligible & np.isfinite(sizes)
    coverage = RowStatistic(
        name=f"{form.name}.coverage", values=held.astype(np.float64), among=eligible, bounds=SHARE, blocks=form.blocks
    )
    found = [subset_mean(coverage, eligible)]
    if ends.any():
        known = np.where(ends, sizes, 0.0)
        size = replaced(coverage, name=f"{form.name}.{form.size}", values=known, bounds=(0.0, form.max_size))
        found.append(subset_mean(size, ends))
    endless = int((eligible & ~ends).sum())
    if endless:
        method = "rows with an infinite interval, since recent ones missed too often"
        found.append(
            exact_measurement(f"{form.name}.endless", float(endless), n_rows=int(eligible.sum()), method=method)
        )
    return [replace(measurement, slice=label) for measurement in found]
