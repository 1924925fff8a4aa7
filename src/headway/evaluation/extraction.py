"""Copies of a model made from its answers alone (model extraction), and how often they agree with it.

An attacker holds unlabeled rows of the same population. Three attacks are known: a student that learns from the answers
to random rows (a linear one, and boosted trees), one that asks near its own decision boundary (uncertainty sampling),
and path-finding (Tramer et al. 2016), which finds the box of a leaf by bisection, since equal answers mean the same
leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

import lightgbm
import numpy as np

from headway.core.arrays import Bools, Floats, Ints, fit_logistic, sigmoid
from headway.core.contracts import Engine
from headway.core.errors import EngineError, NotApplicable
from headway.core.variant import DECIDES, Field
from headway.evaluation.quality.row_errors import decide_class

SEED = 0
MILESTONES = (30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
TOLERANCE = 0.05
"""A copied number agrees within this share of the spread of the model's answers (10th to 90th percentile)."""
_TREES, _LEAVES, _RATE, _MAX_OUTPUTS, _MAX_ONE_HOT = 60, 31, 0.15, 12, 32
_PROBES, _TRIAL_CELLS, _MIN_VERIFIED, _MIN_ROWS_OF_BOX = 3, 12, 0.5, 2
_TINY = 1e-9

Predict = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    """How a caller sees the scores: with `decimals` only, with normal noise, or the `top` answer alone."""

    name: str = ""
    decimals: int | None = None
    noise: float = 0.0
    top: bool = False

    def see(self, scores: Floats, threshold: float, random: np.random.Generator) -> Floats:
        """Return what the caller gets for scores (n, k): as many columns, or the decision (n, 1) for the top answer."""
        if self.top:
            return decide_class(scores, threshold)[:, None].astype(np.float64)
        if self.noise:
            scores = scores + random.normal(0.0, self.noise, scores.shape)
        return scores if self.decimals is None else np.round(scores, self.decimals)


class QueriedModel:
    """A model of which a caller sees answers; `queries` counts the rows that were sent."""

    def __init__(self, engine: Engine, view: AnswerView, *, threshold: float, until: float, seed: int) -> None:
        self._engine, self.view, self._threshold, self._until = engine, view, threshold, until
        self._random = np.random.default_rng([SEED, seed])
        self.queries = 0

    def __call__(self, rows: Floats) -> Floats:
        """Return the answers to rows (n, d); raises NotApplicable if time is over, or the model rejects a row."""
        if monotonic() > self._until:
            raise NotApplicable(
                "time ran out before every query was answered",
                hint="headway evaluate --budget 10m, or a smaller [attack] copy_queries",
            )
        self.queries += len(rows)
        try:
            return self.view.see(self._engine.predict(rows), self._threshold, self._random)
        except EngineError as error:
            raise NotApplicable(f"the model rejects a row of an attacker: {error.what}", where=error.where) from error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CopyTask:
    """What an attacker knows: the columns, `pool` (m, d) of unlabeled rows, the task and the decision threshold.

    `targets` (n, d) are rows on which the copies are compared, and `answers` (n, k) the model's scores of them.
    """

    task: str
    fields: tuple[Field, ...]
    threshold: float
    pool: Floats
    targets: Floats
    answers: Floats

    def agrees(self, scores: Floats, *, threshold: float) -> Bools:
        """Return on which targets a copy with these scores (n, k) agrees with the model."""
        if self.task in DECIDES:
            return np.asarray(decide_class(scores, threshold) == decide_class(self.answers, self.threshold))
        low, high = np.quantile(self.answers[:, 0], (0.1, 0.9))
        return np.asarray(np.abs(scores[:, 0] - self.answers[:, 0]) <= TOLERANCE * (high - low))

    def constant_copy(self) -> Bools:
        """Return on which targets a copy agrees that always gives the most frequent decision, or the median number."""
        if self.task not in DECIDES:
            return self.agrees(np.full_like(self.answers, np.median(self.answers)), threshold=self.threshold)
        decisions = decide_class(self.answers, self.threshold)
        return np.asarray(decisions == np.bincount(decisions).argmax())

    def draw(self, n: int, random: np.random.Generator) -> Floats:
        """Draw n rows to ask: rows of the pool, and beyond half of it rows that take each value from one of two."""
        real = self.pool[random.permutation(len(self.pool))[: min(n, len(self.pool) // 2)]]
        one, other = (self.pool[random.integers(0, len(self.pool), n - len(real))] for _ in range(2))
        mixed = np.where(random.random(one.shape) < 0.5, one, other)
        return np.concatenate([real, mixed])


def milestones(budget: int) -> list[int]:
    """Return the numbers of queries at which copies are compared.

    >>> milestones(2_000)
    [30, 100, 300, 1000, 2000]
    """
    return [number for number in MILESTONES if number < budget] + [budget]


def copy_model(task: CopyTask, ask: Callable[[int], QueriedModel], budget: int, *, seeds: int) -> dict[str, Floats]:
    """Copy a model by every attack that applies; return the agreement of each, float64 (milestones, n), by its name.

    `ask` returns the model to query for a seed. The agreement of a target is the mean over the seeds.
    """
    found: dict[str, list[Floats]] = {}
    for seed in range(seeds):
        for name, attack in _ATTACKS.items():
            curve = attack(task, ask(seed), milestones(budget), np.random.default_rng([SEED, seed, len(name)]))
            if curve is not None:
                found.setdefault(name, []).append(np.array(curve, dtype=np.float64))
    return {name: np.mean(curves, axis=0) for name, curves in found.items() if len(curves) == seeds}


class _Copy(NamedTuple):
    """A fitted copy, and the threshold of its scores."""

    predict: Predict
    threshold: float


def _fit(task: CopyTask, rows: Floats, answers: Floats, view: AnswerView, *, linear: bool) -> _Copy:
    threshold = 0.5 if view.top else task.threshold
    fit = _fit_linear if linear else _fit_trees
    return _Copy(fit(task, rows, answers, view), threshold)


def _random_copies(
    task: CopyTask, model: QueriedModel, marks: Sequence[int], random: np.random.Generator, *, linear: bool
) -> list[Bools]:
    """Learn from answers to random rows."""
    rows = task.draw(marks[-1], random)
    rows = rows[random.permutation(len(rows))]
    answers = model(rows)
    found = []
    for count in marks:
        copy = _fit(task, rows[:count], answers[:count], model.view, linear=linear)
        found.append(task.agrees(copy.predict(task.targets), threshold=copy.threshold))
    return found


def adaptive_copies(
    task: CopyTask, model: QueriedModel, marks: Sequence[int], random: np.random.Generator
) -> list[Bools] | None:
    """Learn from answers to rows near the decision boundary of the last copy, and to random ones, half and half."""
    if task.task not in DECIDES:
        return None
    rows = task.draw(marks[0], random)
    answers = model(rows)
    copy = _fit(task, rows, answers, model.view, linear=False)
    found = [task.agrees(copy.predict(task.targets), threshold=copy.threshold)]
    for count in marks[1:]:
        more = count - len(rows)
        drawn = task.draw(more * 3, random)
        near = np.argsort(_margin(copy.predict(drawn), copy.threshold), kind="stable")[: more // 2]
        rest = random.permutation(np.setdiff1d(np.arange(len(drawn)), near))[: more - len(near)]
        new = drawn[np.concatenate([near, rest])]
        rows, answers = np.concatenate([rows, new]), np.concatenate([answers, model(new)])
        copy = _fit(task, rows, answers, model.view, linear=False)
        found.append(task.agrees(copy.predict(task.targets), threshold=copy.threshold))
    return found


def _margin(scores: Floats, threshold: float) -> Floats:
    """Return how far each answer (n, k) is from another decision, (n,)."""
    if scores.shape[1] == 1:
        return np.abs(scores[:, 0] - threshold)
    ordered = np.sort(scores, axis=1)
    return ordered[:, -1] - ordered[:, -2]


def path_copies(
    task: CopyTask, model: QueriedModel, marks: Sequence[int], random: np.random.Generator
) -> list[Bools] | None:
    """Find the boxes of equal answers; rows outside of them get the answer of a student of all that was asked."""
    if model.view.noise:
        return None
    finder = PathFinder(task, model, random)
    if not finder.find(marks[-1]):
        return None
    found = []
    for count in marks:
        rows, answers = finder.queried(count)
        copy = _fit(task, rows, answers, model.view, linear=False)
        answers_in_boxes, known = finder.answers(task.targets, count)
        scores = np.where(known[:, None], _as_scores(task, answers_in_boxes), copy.predict(task.targets))
        found.append(task.agrees(scores, threshold=copy.threshold))
    return found


def _as_scores(task: CopyTask, answers: Floats) -> Floats:
    """Return answers as scores of the model's width: a decision among several classes is 1 in its column."""
    width = task.answers.shape[1]
    return answers if answers.shape[1] == width else np.eye(width)[answers[:, 0].astype(np.int64)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Box:
    """Rows with one answer: bounds (d,), categories that may stand in a categorical column, columns that are missing.

    `queries` were asked when it was known.
    """

    low: Floats
    high: Floats
    missing: Bools
    categories: dict[int, Floats]
    answer: Floats
    queries: int

    def contains(self, rows: Floats) -> Bools:
        """Return which rows (n, d) lie in the box."""
        with np.errstate(invalid="ignore"):
            inside = np.where(self.missing, np.isnan(rows), (rows >= self.low) & (rows <= self.high))
        for column, values in self.categories.items():
            inside[:, column] = np.isin(rows[:, column], values)
        return np.asarray(inside.all(axis=1))


class PathFinder:
    """Finds boxes of rows with equal answers by bisection along each column; every row asked counts as a query."""

    def __init__(self, task: CopyTask, model: QueriedModel, random: np.random.Generator) -> None:
        self._task, self._model, self._random = task, model, random
        self._categorical = [at for at, field in enumerate(task.fields) if field.datatype == "BYTES"]
        self._values = [np.unique(column[~np.isnan(column)]) for column in task.pool.T]
        self._boxes: list[_Box] = []
        self._rows: list[Floats] = []
        self._answers: list[Floats] = []

    def find(self, budget: int) -> bool:
        """Ask up to the budget; return whether the model's answers form boxes that this finds."""
        remaining = np.ones(len(self._task.pool), dtype=np.bool_)
        tried = 0
        for at in self._random.permutation(len(remaining)):
            if self._model.queries >= budget:
                break
            if not remaining[at]:
                continue
            tried += 1
            box = self._box_of(self._task.pool[at])
            if box is not None:
                self._boxes.append(box)
                remaining &= ~box.contains(self._task.pool)
            found = len(self._boxes)
            if tried >= _TRIAL_CELLS and (
                found < _MIN_VERIFIED * tried or (~remaining).sum() < _MIN_ROWS_OF_BOX * found
            ):
                return False
        return bool(self._boxes)

    def queried(self, count: int) -> tuple[Floats, Floats]:
        """Return the first rows that were asked, at most `count`, and their answers."""
        return np.concatenate(self._rows)[:count], np.concatenate(self._answers)[:count]

    def answers(self, rows: Floats, count: int) -> tuple[Floats, Bools]:
        """Return the answers to rows in boxes that were known after so many queries, and which rows these are."""
        found = np.zeros((len(rows), self._answers[0].shape[1]))
        known = np.zeros(len(rows), dtype=np.bool_)
        for box in self._boxes:
            if box.queries <= count:
                inside = box.contains(rows) & ~known
                found[inside] = box.answer
                known |= inside
        return found, known

    def _ask(self, rows: Floats) -> Floats:
        answers = self._model(rows)
        self._rows.append(rows)
        self._answers.append(answers)
        return answers

    def _same(self, rows: Floats, answer: Floats) -> Bools:
        return np.asarray((self._ask(rows) == answer).all(axis=1)) if len(rows) else np.zeros(0, dtype=np.bool_)

    def _box_of(self, row: Floats) -> _Box | None:
        """Return the box of a row; None if a row inside of it has another answer."""
        answer = self._ask(row[None])[0]
        low, high = np.full(len(row), -np.inf), np.full(len(row), np.inf)
        missing = np.isnan(row)
        categories = {at: self._equal_categories(row, at, answer) for at in self._categorical if not missing[at]}
        directions = [
            (at, end) for at in range(len(row)) if not missing[at] and at not in self._categorical for end in (0, -1)
        ]
        self._bisect(row, answer, directions, low, high)
        inner = self._inside(row, low, high, categories)
        if not self._same(inner, answer).all():
            return None
        return _Box(
            low=low, high=high, missing=missing, categories=categories, answer=answer, queries=self._model.queries
        )

    def _equal_categories(self, row: Floats, at: int, answer: Floats) -> Floats:
        others = self._values[at][self._values[at] != row[at]]
        if len(others) > _MAX_ONE_HOT:
            return row[[at]]
        return np.append(others[self._same(_varied(row, np.full(len(others), at), others), answer)], row[at])

    def _bisect(
        self, row: Floats, answer: Floats, directions: Sequence[tuple[int, int]], low: Floats, high: Floats
    ) -> None:
        """Find the last value with the same answer on each end of the row, among the values of the pool."""
        columns = np.array([at for at, _ in directions], dtype=np.int64)
        ends = np.array([self._values[at][end] for at, end in directions])
        moved = np.flatnonzero(ends != row[columns])
        other = moved[~self._same(_varied(row, columns[moved], ends[moved]), answer)]
        inner = np.array([np.searchsorted(self._values[at], row[at]) for at in columns[other]], dtype=np.int64)
        outer = np.array(
            [0 if directions[number][1] == 0 else len(self._values[directions[number][0]]) - 1 for number in other]
        )
        while len(open_ := np.flatnonzero(np.abs(outer - inner) > 1)):
            middle = (outer[open_] + inner[open_]) // 2
            values = np.array([self._values[columns[other[k]]][at] for k, at in zip(open_, middle, strict=True)])
            same = self._same(_varied(row, columns[other[open_]], values), answer)
            inner[open_[same]], outer[open_[~same]] = middle[same], middle[~same]
        for number, last, first in zip(other.tolist(), inner.tolist(), outer.tolist(), strict=True):
            at, end = directions[number]
            edge = float(self._values[at][[last, first]].mean())
            if end == 0:
                low[at] = edge
            else:
                high[at] = edge

    def _inside(self, row: Floats, low: Floats, high: Floats, categories: dict[int, Floats]) -> Floats:
        """Draw rows inside a box, with values of the pool."""
        rows = np.repeat(row[None], _PROBES, axis=0)
        for at in np.flatnonzero(~np.isnan(row)).tolist():
            values = self._values[at]
            some = categories[at] if at in categories else values[(values >= low[at]) & (values <= high[at])]
            if len(some):
                rows[:, at] = some[self._random.integers(0, len(some), _PROBES)]
        return rows


def _varied(row: Floats, columns: Ints, values: Floats) -> Floats:
    """Return a copy of the row for each column, with that value in it."""
    rows = np.repeat(row[None], len(columns), axis=0)
    rows[np.arange(len(columns)), columns] = values
    return rows


def _fit_trees(task: CopyTask, rows: Floats, answers: Floats, view: AnswerView) -> Predict:
    """Fit boosted trees to the answers, and return their scores (n, k)."""
    width = task.answers.shape[1]
    categorical = [at for at, field in enumerate(task.fields) if field.datatype == "BYTES"]
    settings = {
        "num_leaves": _LEAVES,
        "learning_rate": _RATE,
        "min_data_in_leaf": max(2, min(20, len(rows) // 50)),
        "verbose": -1,
        "seed": SEED,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
    }

    def boosted(target: Floats, objective: str, **more: int) -> Predict:
        if (target == target[0]).all():
            constant = np.eye(width)[int(target[0])] if more else target[0]
            return lambda new: np.repeat(constant[None], len(new), axis=0)
        data = lightgbm.Dataset(rows, target, categorical_feature=categorical)
        booster = lightgbm.train({**settings, **more, "objective": objective}, data, num_boost_round=_TREES)
        return lambda new: np.asarray(booster.predict(new), dtype=np.float64)

    if width > 1 and (view.top or width > _MAX_OUTPUTS):
        classes = answers[:, 0] if view.top else answers.argmax(axis=1).astype(np.float64)
        return boosted(classes, "multiclass", num_class=width)
    is_share = task.task == "binary" and bool(((answers >= 0) & (answers <= 1)).all())
    objective = "cross_entropy" if is_share else "regression"
    columns = [boosted(column, objective) for column in answers.T]
    return lambda new: np.column_stack([column(new) for column in columns])


def _fit_linear(task: CopyTask, rows: Floats, answers: Floats, view: AnswerView) -> Predict:
    """Fit a linear model of the log-odds, log-probabilities or numbers, which solves for a linear model's weights."""
    design = _design_of(task, rows)
    known = design(rows)
    width = task.answers.shape[1]
    if task.task == "binary" and view.top:
        weights = fit_logistic(known, answers[:, 0], start=np.zeros(known.shape[1]))
        return lambda new: sigmoid(design(new) @ weights)[:, None]
    if task.task == "binary":
        clipped = np.clip(answers, _TINY, 1 - _TINY)
        solved = np.linalg.lstsq(known, np.log(clipped) - np.log1p(-clipped), rcond=None)[0]
        return lambda new: sigmoid(design(new) @ solved)
    if task.task == "multiclass":
        shares = np.eye(width)[answers[:, 0].astype(np.int64)] if view.top else np.log(np.clip(answers, _TINY, None))
        solved = np.linalg.lstsq(known, shares, rcond=None)[0]
    else:
        solved = np.linalg.lstsq(known, answers, rcond=None)[0]
    return lambda new: np.asarray(design(new) @ solved, dtype=np.float64)


def _design_of(task: CopyTask, rows: Floats) -> Callable[[Floats], Floats]:
    """Return what makes a design matrix: standardized numbers, flags of missing values and of categories, and ones."""
    categorical = [(at, len(field.categories) + 1) for at, field in enumerate(task.fields) if field.datatype == "BYTES"]
    numeric = [at for at, field in enumerate(task.fields) if field.datatype != "BYTES"]
    has_missing = [at for at in numeric if np.isnan(rows[:, at]).any()]
    known = np.where(np.isnan(rows), 0.0, rows)
    counts = np.maximum((~np.isnan(rows)).sum(0), 1)
    center = known.sum(0) / counts
    spread = np.sqrt(np.where(np.isnan(rows), 0.0, np.square(rows - center)).sum(0) / counts)
    spread[spread == 0] = 1.0

    def design(new: Floats) -> Floats:
        scaled = np.where(np.isnan(new), 0.0, (new - center) / spread)
        flags = [np.isnan(new[:, [at]]).astype(np.float64) for at in has_missing]
        codes = [(new[:, [at]] == np.arange(min(count, _MAX_ONE_HOT))).astype(np.float64) for at, count in categorical]
        return np.hstack([scaled[:, numeric], *flags, *codes, np.ones((len(new), 1))])

    return design


_Attack = Callable[[CopyTask, QueriedModel, Sequence[int], np.random.Generator], "list[Bools] | None"]


def _linear_copies(
    task: CopyTask, model: QueriedModel, marks: Sequence[int], random: np.random.Generator
) -> list[Bools]:
    return _random_copies(task, model, marks, random, linear=True)


def _tree_copies(task: CopyTask, model: QueriedModel, marks: Sequence[int], random: np.random.Generator) -> list[Bools]:
    return _random_copies(task, model, marks, random, linear=False)


_ATTACKS: dict[str, _Attack] = {
    "linear student": _linear_copies,
    "tree student": _tree_copies,
    "adaptive student": adaptive_copies,
    "path finding": path_copies,
}
