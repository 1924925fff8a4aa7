"""Model inversion: how much of a training row is rebuilt from the answer to it, and from the trees of the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from msgspec.structs import replace as changed

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.evidence import AttackEffort, Measurement
from headway.engines.formats.trees import goes_left, read_cells
from headway.evaluation.comparison import check_width, tree_artifact
from headway.evaluation.context import AuditContext, Comparison, MetricResults
from headway.evaluation.statistics.intervals import Sample, jackknife_interval
from headway.evaluation.statistics.tables import block_fields, tally

ON_REQUEST = ("privacy.inversion.",)
MAX_ROWS, CANDIDATES, NEAREST, MIN_ROWS = 2_000, 4_000, 40, 100
_SEED = 0


def plugin(subject: Comparison, context: AuditContext) -> MetricResults:
    """Measure how well a row is rebuilt by a caller who knows the answer to it, and how each column is spread.

    The search is bounded: 4,000 rows are drawn with the values of each column independent of the others, and the mean
    of the 40 whose answers are nearest is the rebuilt row. The error is that of numbers, squared and in units of the
    variance of each column; it is divided by that of a guess with the mean of each column. Categories and texts are
    left out.

    Measures:

    - `privacy.inversion.error`: the ratio over rows of `train` (of the evaluation if `train` is not known): 1 if the
      answer does not help, 0 if rows are rebuilt exactly. Also for each column, as a slice.

    - `privacy.inversion.trees`: the same ratio for a caller who holds the trees as well, and reads from exact answers
      in which leaves the row lies. Its columns are between the thresholds of all these leaves, and the mean of the
      known values there is the rebuilt one: the probabilistic reconstruction from the structure of a tree (Ferry et al.
      2024, arXiv 2308.15099), for an ensemble. A solver rebuilds most training rows of random forests without any
      answer (Ferry et al. 2024, arXiv 2402.19232), so the leaves are taken as known. Models without trees are refused.

    An attacker who knows parts of a row may rebuild more.

    Raises
    ------
    NotApplicable
        If the model reads no numbers, or there are too few rows.
    """
    data = context.train()
    rows, groups = (subject.rows, subject.groups) if data is None else (data.rows, data.groups)
    some = np.arange(0, len(rows), max(1, -(-len(rows) // MAX_ROWS)))
    rows, groups = rows[some], groups[some]
    answers = subject.model.predict(rows) if len(rows) else np.empty((0, 1))
    is_answered = np.isfinite(answers).all(axis=1)
    rows, groups, answers = rows[is_answered], groups[is_answered], answers[is_answered]
    if len(rows) < MIN_ROWS:
        raise NotApplicable(f"there are {len(rows)} rows with an answer, and {MIN_ROWS} are needed")
    columns = [
        at
        for at, field in enumerate(subject.fields)
        if field.datatype != "BYTES" and np.nanstd(np.where(np.isfinite(rows[:, at]), rows[:, at], np.nan)) > 0
    ]
    if not columns:
        raise NotApplicable("the model reads no column of numbers with several values")
    answer_based = _from_answers(subject, answers)
    effort = AttackEffort(
        attack="nearest answers",
        done=0 if data is None else len(rows),
        registered=len(rows),
        unit="training rows",
        hint="" if data is not None else "declare the rows that the model was trained on: [split] train",
    )
    by_answers = [
        changed(ratio, effort=effort)
        for ratio in _ratios("privacy.inversion.error", subject, rows, groups, columns, answer_based)
    ]
    try:
        boxes, whose = _boxes(subject, context, rows)
    except NotApplicable as reason:
        return [*by_answers, NotApplicable(f"no reconstruction from trees: {reason.what}")]
    by_trees = _ratios("privacy.inversion.trees", subject, rows, groups, columns, partial(_inside, boxes))
    effort = changed(effort, attack="leaves of the trees")
    by_trees = [changed(ratio, method=f"{ratio.method}; by the trees of {whose}", effort=effort) for ratio in by_trees]
    return [*by_answers, *by_trees]


def _ratios(
    name: str,
    subject: Comparison,
    rows: Floats,
    groups: Ints,
    columns: Sequence[int],
    rebuild: Callable[[int, Floats], Floats],
) -> list[Measurement]:
    """Return the error over all columns, and of each; `rebuild` gets a column and its known values in rising order."""
    found = []
    total = np.zeros((2, len(rows)))
    for at in columns:
        known = np.sort(subject.rows[np.isfinite(subject.rows[:, at]), at])
        if not len(known):
            continue
        errors = _errors(rows[:, at], rebuild(at, known), float(known.mean()))
        total += errors
        found.append(_ratio(name, errors, groups, subject.names[at]))
    return [_ratio(name, total, groups, ""), *found]


def _from_answers(subject: Comparison, answers: Floats) -> Callable[[int, Floats], Floats]:
    """Return what rebuilds a column of rows from the answers to them."""
    candidates = _draw(subject.rows)
    drawn = subject.model.predict(candidates)
    is_answered = np.isfinite(drawn).all(axis=1)
    candidates, drawn = candidates[is_answered], drawn[is_answered]
    if len(drawn) <= NEAREST:
        raise NotApplicable("the model answers hardly any row that has the values of several rows")
    nearest = _nearest(answers, drawn)

    def rebuild(at: int, known: Floats) -> Floats:
        values = candidates[:, at]
        rebuilt: Floats = np.where(np.isfinite(values), values, known.mean())[nearest].mean(1)
        return rebuilt

    return rebuild


def _boxes(subject: Comparison, context: AuditContext, rows: Floats) -> tuple[tuple[Floats, Floats], str]:
    """Return the ends (low, high] that the leaves of all trees set to each value of rows (n, d), and whose they are.

    Raises
    ------
    NotApplicable
        If the model has no trees.
    """
    engine, content, whose = tree_artifact(subject, context)
    forest = engine.forest(content)
    check_width(forest.width, subject)
    cells = read_cells(forest, rows)
    low, high = np.full(rows.shape, -np.inf), np.full(rows.shape, np.inf)
    for tree in forest.trees:
        node = np.full(len(rows), 0 if len(tree.feature) else ~0)
        while (inside := np.flatnonzero(node >= 0)).size:
            here = node[inside]
            column, threshold = tree.feature[here], tree.threshold[here]
            values = cells[inside, column]
            is_left = goes_left(forest, tree, here, values)
            is_bound = ~tree.categorical[here] & ~np.isnan(values)
            upper, lower = is_bound & is_left, is_bound & ~is_left
            above, below = (inside[upper], column[upper]), (inside[lower], column[lower])
            high[above] = np.minimum(high[above], threshold[upper])
            low[below] = np.maximum(low[below], threshold[lower])
            node[inside] = np.where(is_left, tree.left[here], tree.right[here])
    return (low, high), whose


def _inside(boxes: tuple[Floats, Floats], at: int, known: Floats) -> Floats:
    """Return the mean of the known values of a column in the box of each row, or its centre if there are none."""
    low, high = (ends[:, at] for ends in boxes)
    first, last = (np.searchsorted(known, ends, side="right") for ends in (low, high))
    sums = np.concatenate([[0.0], np.cumsum(known)])
    centre = (np.clip(low, known[0], known[-1]) + np.clip(high, known[0], known[-1])) / 2
    return np.where(last > first, (sums[last] - sums[first]) / np.maximum(last - first, 1), centre)


def _draw(rows: Floats) -> Floats:
    """Return rows whose columns are drawn independently from those of others."""
    rng = np.random.default_rng(_SEED)
    return np.stack([rng.choice(column, CANDIDATES) for column in rows.T], axis=1)


def _nearest(answers: Floats, drawn: Floats) -> Ints:
    """Return the candidates whose answers are nearest to each answer, int64 (n, NEAREST), ties in random order."""
    found = np.empty((len(answers), NEAREST), dtype=np.int64)
    for index, answer in enumerate(answers):
        found[index] = np.argpartition(np.abs(drawn - answer).max(1), NEAREST)[:NEAREST]
    return found


def _errors(truth: Floats, rebuilt: Floats, mean: float) -> Floats:
    """Return the squared errors of the rebuilt value and of the mean, float64 (2, n), over the variance of the column.

    Both are 0 where the value is missing.
    """
    is_known: Bools = np.isfinite(truth)
    scale = float(np.var(truth[is_known])) or 1.0
    squares = np.stack([np.square(rebuilt - truth), np.square(mean - truth)]) / scale
    return np.where(is_known, squares, 0.0)


def _ratio(name: str, errors: Floats, groups: Ints, slice: str) -> Measurement:
    """Return the error of the rebuilt rows divided by that of the guess, with its jackknife interval by group."""
    blocks = block_fields(groups, None)
    own, guess = (tally(blocks["blocks"], blocks["n_blocks"], values) for values in errors)
    tiny = np.finfo(np.float64).tiny
    value = float(own.sum() / max(guess.sum(), tiny))
    without = (own.sum() - own) / np.maximum(guess.sum() - guess, tiny)
    sample = Sample(n_rows=len(groups), n_groups=blocks["n_groups"], bounds=(0.0, math.floor(1e6)))
    return changed(jackknife_interval(name, value, without, sample), slice=slice)
