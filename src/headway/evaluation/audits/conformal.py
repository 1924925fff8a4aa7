"""Coverage and size of conformal prediction sets, by month and by slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import replace as replaced
from functools import partial

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats, Ints
from headway.core.contracts import SliceColumn
from headway.core.errors import DataError, NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.context import AuditContext, Comparison
from headway.evaluation.quality.multiclass import class_answers
from headway.evaluation.statistics.intervals import SHARE, UNBOUNDED, exact_measurement
from headway.evaluation.statistics.subsets import RowStatistic, subset_mean
from headway.evaluation.statistics.tables import Blocks, binary_answers, build_blocks, tally

SHARED = True
_FEWEST = 7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Form:
    """One kind of prediction set.

    `values` (n,) are the nonconformity scores. `evaluate_sets` maps limits (n,) to the size of each set, and whether it
    covers the label.
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
    - `conformal.aps.coverage` and `.size` for several classes: sets that adapt to the row, randomised, some of them
      empty. A set with the most probable class in it always covers at least as often as that class is right.
    - `conformal.width` for a regression, in units of the target, over rows with a finite interval; `conformal.endless`
      counts the other rows.

    Limits come from earlier groups, as if labels arrived one group late; the first 8 groups only calibrate. Each slice
    has limits of its own (Mondrian).

    Raises
    ------
    NotApplicable
        For another task, and if there are no more than 8 groups.
    """
    found = [measurement for form in _forms(subject) for measurement in _measured(form, subject, context)]
    if not found:
        raise NotApplicable(
            f"conformal sets are evaluated from group {_FEWEST + PLAN.delay + 1} on, there are "
            f"{len(np.unique(subject.groups))} groups"
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
        evaluate_sets = _set_evaluator(several.scores, several.labels, partial(aps_sets, chance=chance))
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


def two_class_probabilities(scores: Floats) -> Floats:
    """Return probabilities of both classes (n, 2) from those of the positive class (n,)."""
    return np.column_stack([1 - scores, scores])


def lac_scores(scores: Floats, labels: Ints) -> Floats:
    """Return one minus the probability of the true class (Sadinle, Lei and Wasserman 2019), float64 (n,).

    Probabilities have shape (n, k), labels are int64 (n,) in 0..k-1.

    >>> lac_scores(np.array([[0.25, 0.75], [0.25, 0.75]]), np.array([1, 0])).tolist()
    [0.25, 0.75]
    """
    found: Floats = 1 - scores[np.arange(len(labels)), labels]
    return found


def lac_sets(scores: Floats, limits: Floats | float) -> Bools:
    """Return the classes in each set, bool (n, k), for one limit or one per row."""
    return (1 - scores) <= np.reshape(limits, (-1, 1))


def aps_scores(scores: Floats, labels: Ints, chance: Floats) -> Floats:
    """Return the probability mass above the true class plus a random part of its own (Romano, Sesia and Candes 2020).

    The part is 1 - chance, drawn for each row from [0, 1], so that limits are no larger than needed.

    >>> aps_scores(np.array([[0.5, 0.3, 0.2]]), np.array([1]), np.array([0.5])).tolist()
    [0.65]
    """
    rows = np.arange(len(labels))
    found: Floats = _mass_above(scores)[rows, labels] + (1 - chance) * scores[rows, labels]
    return found


def aps_sets(scores: Floats, limits: Floats | float, *, chance: Floats | None = None) -> Bools:
    """Return the classes in each set, bool (n, k): the most probable ones up to that which reaches the limit.

    With the `chance` (n,) of each row, as in `aps_scores`, a class is in the set if its own score is within the limit.
    The sets then cover exactly as often as was promised, and a set may be empty. Without it they cover more often: with
    many classes and a good model, nearly always.
    """
    reached = _mass_above(scores)
    if chance is not None:
        reached += (1 - chance)[:, None] * scores
    return reached <= np.reshape(limits, (-1, 1))


def _mass_above(scores: Floats) -> Floats:
    """Return the probability mass of the classes ranked above each, float64 (n, k).

    Of equal ones the later ranks first.
    """
    order = np.argsort(scores, axis=1, kind="stable")[:, ::-1]
    ordered = np.take_along_axis(scores, order, axis=1)
    found = np.empty_like(scores)
    np.put_along_axis(found, order, np.cumsum(ordered, axis=1) - ordered, axis=1)
    return found


def conformal_quantile(values: Floats, coverage: float) -> float:
    """Return the ceil((n + 1) coverage)-th smallest of values (n,); infinite if n is too small for it.

    >>> conformal_quantile(np.arange(1.0, 10.0), 0.9), conformal_quantile(np.arange(1.0, 9.0), 0.9)
    (9.0, inf)
    """
    rank = int(np.ceil((len(values) + 1) * coverage - 1e-9))
    if rank > len(values):
        return float("inf")
    return float(np.partition(values, max(rank, 1) - 1)[max(rank, 1) - 1]) if rank > 0 else float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveConformal:
    """Settings of adaptive conformal prediction.

    Attributes
    ----------
    coverage : float
        Target coverage, in (0, 1).
    rate : float
        Step size of the correction.
    window : int
        Groups whose scores give the limit.
    delay : int
        Groups that pass before the labels of one are known.
    """

    coverage: float = 0.9
    rate: float = 0.05
    window: int = 28
    delay: int = 1


PLAN = AdaptiveConformal()


def adaptive_limits(values: Floats, groups: Ints, plan: AdaptiveConformal = AdaptiveConformal()) -> Floats:
    """Return a limit for each row (n,), the same within a group, from earlier groups alone (Gibbs and Candes 2021).

    After each group the miscoverage moves by rate * (target - share of its rows missed): a group counts once, since its
    rows are dependent.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Nonconformity scores.
    groups : ndarray of shape (n,)
        Groups in order of time.
    plan : AdaptiveConformal
        Coverage, rate, window and delay.

    Returns
    -------
    ndarray of shape (n,)
        Limits; infinite for groups before which no label is known.

    Raises
    ------
    DataError
        If the lengths differ.
    """
    if len(values) != len(groups):
        raise DataError(f"{len(values)} scores, {len(groups)} groups", hint="give one group per score")
    numbers, codes = np.unique(groups, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    parts = np.split(values[order], np.cumsum(tally(codes, len(numbers)))[:-1].astype(np.int64))
    miscoverage = target = 1 - plan.coverage
    found = np.empty(len(parts))
    for index in range(len(parts)):
        known = index - plan.delay
        if known > 0:
            miscoverage += plan.rate * (target - float((parts[known - 1] > found[known - 1]).mean()))
        recent = parts[max(0, known - plan.window) : max(0, known)]
        found[index] = conformal_quantile(np.concatenate(recent), 1 - miscoverage) if recent else np.inf
    return found[codes]
