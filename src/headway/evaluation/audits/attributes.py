"""Attribute inference: what the answers add to the rest of a row, for a caller who guesses a sensitive column."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace as changed

from headway.core.arrays import Floats
from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.evidence import AttackEffort, Measurement
from headway.data.split import half_of_groups
from headway.evaluation.comparison import select_rows, subsample
from headway.evaluation.context import AuditContext, Comparison, MetricResults
from headway.evaluation.reference_model import fit_reference_tree, spread_rows
from headway.evaluation.statistics.intervals import CHANGE, SHARE, exact_measurement
from headway.evaluation.statistics.subsets import mean_measurement
from headway.evaluation.statistics.tables import Blocks, block_fields

ON_REQUEST = ("privacy.attribute.",)
MAX_ROWS, MAX_VALUES, MIN_ROWS = 5_000, 12, 200
_ROUNDS, _LEARNED_ROWS = 12, 10_000
_ROUNDING = 1e-9


def plugin(subject: Comparison, context: AuditContext) -> MetricResults:
    """Measure how much better a caller guesses each sensitive column with the answer of the model than without it.

    The caller knows all other columns of a row and the answer to it. Without the answer the guess is that of boosted
    trees of depth 3, fitted on `train`, or on half of the groups where `train` is not known. With it, values whose
    answer is not the nearest to the known one are ruled out. All values count the same, however rare they are.

    Measures, one slice for each column of `[data] sensitive_features` that the model reads:

    - `privacy.attribute.advantage`: share of rows guessed right with the answer, minus that without.
    - `privacy.attribute.known`: the share without it.

    For a column that the model does not read it is 0: an answer is computed from the others, which the caller knows.

    Raises
    ------
    NotApplicable
        If no sensitive column is declared.
    """
    if not subject.sensitive_features:
        raise NotApplicable(
            "no sensitive column is declared", where="[data]", hint='sensitive_features = ["gender"] under [data]'
        )
    found: list[Measurement | NotApplicable] = []
    for name in subject.sensitive_features:
        try:
            found += _measure(name, subject, context)
        except NotApplicable as reason:
            found.append(reason)
    effort = AttackEffort(attack="nearest answer", done=_ROUNDS, registered=_ROUNDS, unit="rounds of boosted trees")
    return [changed(result, effort=effort) if isinstance(result, Measurement) else result for result in found]


def _measure(name: str, subject: Comparison, context: AuditContext) -> Iterator[Measurement]:
    """Return the measurements of one column."""
    if name not in subject.names:
        how = "the model does not read it: an answer is computed from the other columns"
        yield exact_measurement("privacy.attribute.advantage", 0.0, n_rows=len(subject.rows), method=how, slice=name)
        return
    at = subject.names.index(name)
    known = select_rows(subject, np.flatnonzero(np.isfinite(subject.rows[:, at])))
    data = context.train()
    if data is None:
        half = half_of_groups(known.groups, 0) if len(known.rows) else np.empty(0, dtype=np.bool_)
        data = LabeledData(rows=known.rows[half], labels=known.labels[half], groups=known.groups[half])
        known = select_rows(known, np.flatnonzero(~half))
    known = subsample(known, MAX_ROWS)
    values = np.unique(data.rows[np.isfinite(data.rows[:, at]), at])
    if not 2 <= len(values) <= MAX_VALUES:
        raise NotApplicable(
            f"{name!r} has {len(values)} values in the training rows; from 2 to {MAX_VALUES} are guessed",
            hint="declare a column of bands, such as age groups",
        )
    known = select_rows(known, np.flatnonzero(np.isin(known.rows[:, at], values)))
    if len(known.rows) < MIN_ROWS:
        raise NotApplicable(f"{name!r} is known in {len(known.rows)} rows, and {MIN_ROWS} are needed")
    yield from _measurements(name, known, _Guess(at, values, _fit(data, at, values)))


class _Guess(NamedTuple):
    """Guesses of a column by its number, its values, and the probability of each (n, k) from the other columns."""

    at: int
    values: Floats
    probabilities: Callable[[Floats], Floats]


def _measurements(name: str, known: Comparison, guess: _Guess) -> Iterator[Measurement]:
    """Yield the share of rows guessed right without the answers, and what they add."""
    truth = np.searchsorted(guess.values, known.rows[:, guess.at])
    shares = np.bincount(truth, minlength=len(guess.values)) / len(truth)
    likely = guess.probabilities(known.rows)
    distance = np.stack([_distance(known, guess.at, value) for value in guess.values], axis=1)
    is_nearest = distance <= distance.min(1, keepdims=True) + _ROUNDING
    without, with_answer = likely.argmax(1), np.where(is_nearest, likely, -np.inf).argmax(1)
    weights = 1 / (np.count_nonzero(shares) * shares[truth])
    blocks = Blocks(**block_fields(known.groups, weights))
    hits, unlikely = (without == truth).astype(np.float64), 1 - likely[np.arange(len(truth)), truth]
    advantage = (with_answer == truth).astype(np.float64) - hits
    yield changed(mean_measurement("privacy.attribute.advantage", advantage, blocks, CHANGE), slice=name)
    yield changed(mean_measurement("privacy.attribute.known", hits, blocks, SHARE, related=unlikely), slice=name)


def _distance(known: Comparison, at: int, value: float) -> Floats:
    """Return how far the answer to each row with this value is from the answer that the caller knows."""
    rows = known.rows.copy()
    rows[:, at] = value
    largest: Floats = np.abs(known.model.predict(rows) - known.scores).max(1)
    return np.where(np.isfinite(largest), largest, np.inf)


def _fit(data: LabeledData, at: int, values: Floats) -> Callable[[Floats], Floats]:
    """Fit boosted trees that guess a column from the others, with the same weight for each of its values."""
    data = spread_rows(data, _LEARNED_ROWS)
    codes = np.searchsorted(values, data.rows[:, at]).clip(0, len(values) - 1)
    inside = np.isin(data.rows[:, at], values)
    rows, codes = np.delete(data.rows[inside], at, axis=1), codes[inside]
    counts = np.bincount(codes, minlength=len(values))
    weights = 1 / counts[codes]
    weights /= weights.mean()
    some = LabeledData(rows=rows, labels=np.zeros(len(rows)), groups=data.groups[inside], weights=weights)
    members = [_boost(some, (codes == code).astype(np.float64)) for code in range(len(values))]

    def predict(full: Floats) -> Floats:
        rest = np.delete(full, at, axis=1)
        return np.stack([member(rest) for member in members], axis=1)

    return predict


def _boost(data: LabeledData, target: Floats) -> Callable[[Floats], Floats]:
    """Fit trees one after the other to what those before leave of the target."""
    rest, trees = target.copy(), []
    for _ in range(_ROUNDS):
        tree = fit_reference_tree(replace(data, labels=rest))
        rest = rest - tree.predict(data.rows)[:, 0]
        trees.append(tree)
    return lambda rows: np.sum([tree.predict(rows)[:, 0] for tree in trees], axis=0)
