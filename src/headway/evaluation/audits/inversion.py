"""Model inversion: how much of a training row is rebuilt from the answer to it."""

from __future__ import annotations

import math

import numpy as np
from msgspec.structs import replace as changed

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
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

    An attacker who holds the file of the model, or knows parts of a row, may rebuild more.

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
    candidates = _draw(subject.rows)
    drawn = subject.model.predict(candidates)
    is_answered = np.isfinite(drawn).all(axis=1)
    candidates, drawn = candidates[is_answered], drawn[is_answered]
    if len(drawn) <= NEAREST:
        raise NotApplicable("the model answers hardly any row that has the values of several rows")
    nearest = _nearest(answers, drawn)
    found: list[Measurement | NotApplicable] = []
    total = np.zeros((2, len(rows)))
    for at in columns:
        errors = _errors(rows[:, at], candidates[:, at], nearest)
        total += errors
        found.append(_ratio(errors, groups, subject.names[at]))
    return [_ratio(total, groups, ""), *found]


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


def _errors(truth: Floats, drawn: Floats, nearest: Ints) -> Floats:
    """Return the squared errors of the rebuilt value and of the mean, float64 (2, n), over the variance of the column.

    Both are 0 where the value is missing.
    """
    is_known: Bools = np.isfinite(truth)
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return np.zeros((2, len(truth)))
    mean = float(known.mean())
    values = np.where(np.isfinite(drawn), drawn, mean)[nearest]
    scale = float(np.var(truth[is_known])) or 1.0
    squares = np.stack([np.square(values.mean(1) - truth), np.square(mean - truth)]) / scale
    return np.where(is_known, squares, 0.0)


def _ratio(errors: Floats, groups: Ints, slice: str) -> Measurement:
    """Return the error of the rebuilt rows divided by that of the guess, with its jackknife interval by group."""
    blocks = block_fields(groups, None)
    own, guess = (tally(blocks["blocks"], blocks["n_blocks"], values) for values in errors)
    tiny = np.finfo(np.float64).tiny
    value = float(own.sum() / max(guess.sum(), tiny))
    without = (own.sum() - own) / np.maximum(guess.sum() - guess, tiny)
    sample = Sample(n_rows=len(groups), n_groups=blocks["n_groups"], bounds=(0.0, math.floor(1e6)))
    return changed(jackknife_interval("privacy.inversion.error", value, without, sample), slice=slice)
