"""D042: A small group of rows moves a model far away from the other rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from headway.core.arrays import Bools, Floats, Ints, sigmoid
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.labels.out_of_fold import SCREENING_ROWS, OutOfFold, prepare_learner
from headway.data.languages import slice_values
from headway.data.matrix import CodedColumn, code_columns

CODES = ("D042",)
MAX_GROUP_SHARE = 0.02
MIN_ROWS = 20
MIN_GROUPS = 20


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per group, slice or sensitive value of at most 2 % of the rows whose influence is an outlier.

    A note names the columns of which some or all values are too large or too few to judge.

    Influence is Cook's distance for the size of the group. An outlier lies at least five robust deviations from
    the other groups, well apart from the next one, and beyond the largest influence in 98 of 100 tables with
    simulated clean labels.
    """
    dataset = context.dataset
    roles = dataset.roles
    oof, _ = prepare_learner(dataset, rows=SCREENING_ROWS)
    table = dataset.table[oof.rows]
    kinds: dict[str, tuple[Ints, list[str]]] = {}
    unjudged: dict[str, str] = {}
    for name in sorted({roles.groups, *roles.slices, *roles.sensitive_features} - {""}):
        values, codes = np.unique(
            slice_values(table, roles, name).cast(pl.String).fill_null("missing").to_numpy(), return_inverse=True
        )
        sizes = np.bincount(codes)
        large, n_small = int((sizes > MAX_GROUP_SHARE * len(table)).sum()), int(_are_small(sizes, len(table)).sum())
        if n_small >= MIN_GROUPS:
            kinds[name] = (codes.astype(np.int64), values.tolist())
        if n_small < MIN_GROUPS or large:
            unjudged[name] = _why_unjudged(name, len(values), large, n_small)
    if not kinds:
        raise NotApplicable(
            "; ".join(unjudged.values()) or "no groups, slices or sensitive features are declared",
            hint='[data] slices = ["SOURCE"]',
        )
    found = influential_groups(oof, code_columns(table, dataset.tabular_features), kinds)
    notes = [
        Finding(
            code="D042",
            severity="note",
            message="; ".join(unjudged.values()),
            where=f"columns {', '.join(unjudged)}",
            hint="headway evaluate shows the error of each slice",
        )
    ]
    return (notes if unjudged else []) + [
        Finding(
            code="D042",
            severity="warn",
            message=f"without the {group.rows:,} rows of {group.kind} {group.name} ({group.rows / len(table):.1%}) the"
            f" predictions change by {group.moved:.2%} on average, {group.score:.1f} deviations more than without other"
            f" groups; with clean labels this happens in {group.chance:.1%} of tables at most",
            where=f"{group.kind} = {group.name}",
            measured=group.score,
            limit=MIN_SCORE,
            hint="find out who labeled these rows, and compare with a model trained without them",
        )
        for group in found
    ]


def _are_small(sizes: Ints, rows: int) -> Bools:
    """Return which groups are judged: of 20 rows at least, and 2 % of the rows at most."""
    found: Bools = (sizes >= MIN_ROWS) & (sizes <= MAX_GROUP_SHARE * rows)
    return found


def _why_unjudged(name: str, n_values: int, n_large: int, n_small: int) -> str:
    """Return which groups of a column were not judged, and why."""
    if n_small >= MIN_GROUPS:
        return (
            f"{n_large:,} of {n_values:,} values of '{name}' are not judged: each has more than {MAX_GROUP_SHARE:.0%} "
            "of the rows, too many for the influence of a group"
        )
    too_large = f", and {n_large:,} have more than {MAX_GROUP_SHARE:.0%} of the rows" if n_large else ""
    return (
        f"{n_small:,} of {n_values:,} values of '{name}' have {MIN_ROWS} rows to {MAX_GROUP_SHARE:.0%} of the rows"
        f"{too_large}: {MIN_GROUPS} such groups are needed"
    )


QUANTILE, OF_SQUARE = 0.8, 1.6424
"""This quantile of squared standard normal numbers is hardly changed by a few poisoned groups."""
MAX_VARIANCE = 25.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OneVsRest:
    """One class against the others: probabilities (n,), labels in {0, 1} (n,), and whitened rows (n, d)."""

    predicted: Floats
    labels: Floats
    white: Floats


def exceedance_probability(
    models: Sequence[OneVsRest],
    codes: Ints,
    statistic: Callable[[Floats], float],
    *,
    threshold: float,
    level: float,
) -> float:
    """Estimate how often the largest statistic of a table with clean labels reaches a threshold.

    Labels are drawn from the probabilities, with a random effect per group of the observed strength, and the
    model is refitted to first order. About 4 / `level` tables are drawn, fewer once the result is clear. Draws
    are reproducible.

    Parameters
    ----------
    models : sequence of OneVsRest
        The fitted models, one per class.
    codes : ndarray of shape (n,)
        Group codes.
    statistic : callable
        The statistic of the distances of all groups.
    threshold : float
        The threshold.
    level : float
        The significance level that must be resolved.
    """
    order = np.argsort(codes, kind="stable")
    codes, starts = codes[order], np.searchsorted(codes[order], np.arange(int(codes.max()) + 1))
    models = [
        OneVsRest(predicted=model.predicted[order], labels=model.labels[order], white=model.white[order])
        for model in models
    ]
    spreads = [_effect_deviation(model, starts) for model in models]
    shares = [_curvature_shares(model, starts) for model in models]
    draw, max_tables = np.random.default_rng(0), int(4 / level) - 1
    far = 0
    for done in range(max_tables):
        labels = _draw_labels(models, spreads, codes, draw)
        pairs = zip(models, shares, labels.T, strict=True)
        distances = np.sum([_cook_distances(one, share, label, starts) for one, share, label in pairs], axis=0)
        far += statistic(distances) >= threshold
        if (far + 1) / (max_tables + 1) > level:
            return float((far + 1) / (done + 2))
    return (far + 1) / (max_tables + 1)


def _effect_deviation(model: OneVsRest, starts: Ints) -> float:
    """Estimate the standard deviation of group effects on the log odds."""
    weights = np.add.reduceat(model.predicted * (1 - model.predicted), starts)
    beyond = np.square(np.add.reduceat(model.labels - model.predicted, starts))
    low, high = 0.0, MAX_VARIANCE
    for _ in range(40):
        middle = (low + high) / 2
        wide = np.quantile(beyond / (weights + middle * np.square(weights)), QUANTILE) > OF_SQUARE
        low, high = (middle, high) if wide else (low, middle)
    return float(np.sqrt(low))


def _curvature_shares(model: OneVsRest, starts: Ints) -> Floats:
    """Return each group's share of the Hessian, shape (groups, d, d)."""
    steep = model.white * (model.predicted * (1 - model.predicted))[:, None]
    ends = [*starts[1:].tolist(), len(steep)]
    return np.stack([steep[since:end].T @ model.white[since:end] for since, end in zip(starts, ends, strict=True)])


def _draw_labels(
    models: Sequence[OneVsRest], spreads: Sequence[float], codes: Ints, draw: np.random.Generator
) -> Bools:
    """Draw labels for each model, shape (n, models); with several classes each row has one."""
    groups = int(codes[-1]) + 1
    chances = []
    for model, spread in zip(models, spreads, strict=True):
        odds = model.predicted / (1 - model.predicted) * np.exp(spread * draw.normal(size=groups))[codes]
        chances.append(odds / (1 + odds))
    if len(models) == 1:
        return np.asarray(draw.random(len(codes)) < chances[0])[:, None]
    ends = np.cumsum(chances, axis=0)
    chosen = (draw.random(len(codes)) * ends[-1] > ends).sum(axis=0)
    return np.asarray(chosen[:, None] == np.arange(len(models)))


def _cook_distances(model: OneVsRest, shares: Floats, labels: Bools, starts: Ints) -> Floats:
    slopes = np.add.reduceat(model.white * (model.predicted - labels)[:, None], starts)
    slopes -= shares @ slopes.sum(axis=0)
    found: Floats = np.square(slopes).sum(axis=1)
    return found


RIDGE = 1.0
NEWTON_STEPS = 5
MIN_SCORE, MIN_RATIO, MAX_GROUPS = 5.0, 1.8, 5
"""Minimum score in robust deviations, minimum ratio to the next score, and maximum number of reported groups."""
LEVEL = 0.02
"""Significance level, over all kinds of groups together."""
_MAD_SCALE = 1.4826


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluentialGroup:
    """A group of rows of a `kind`, with its score in robust deviations.

    `moved` is the mean change of all predicted probabilities without the group. `chance` is the probability that
    a table with clean labels has a group as influential.
    """

    name: str
    kind: str
    rows: int
    score: float
    moved: float
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _LogisticFit:
    """A fitted logistic regression: rows (n, d), predictions (n,), labels (n,), gradients (n, d) and Hessian (d, d)."""

    rows: Floats
    predicted: Floats
    labels: Floats
    slopes: Floats
    hessian: Floats
    steepness: Floats

    def pull(self, codes: Ints, count: int) -> Floats:
        """Approximate the change of the weights without each group to first order, shape (groups, d)."""
        sums = np.column_stack([np.bincount(codes, column, count) for column in self.slopes.T])
        return np.linalg.solve(self.hessian, sums.T).T.astype(np.float64)

    def distance(self, codes: Ints, count: int) -> Floats:
        """Compute Cook's distance of each group, shape (groups,)."""
        moves = self.pull(codes, count)
        found: Floats = ((moves @ self.hessian) * moves).sum(axis=1)
        return found

    def whitened(self) -> OneVsRest:
        """Return the model for drawing labels."""
        root = np.linalg.inv(np.linalg.cholesky(self.hessian)).T
        return OneVsRest(predicted=self.predicted, labels=self.labels, white=self.rows @ root)


def influential_groups(
    oof: OutOfFold, columns: Sequence[CodedColumn], kinds: Mapping[str, tuple[Ints, Sequence[str]]]
) -> list[InfluentialGroup]:
    """Find the groups that move a model far more than others of their size.

    The model is a one-vs-rest logistic regression on the column codes. A group is left out by influence functions
    (Cook 1977; Koh and Liang 2017), which are accurate for few rows. Its score must exceed that of simulated clean
    labels.

    Parameters
    ----------
    oof : OutOfFold
        The labeled rows.
    columns : sequence of CodedColumn
        Their features.
    kinds : mapping
        For each kind of group, codes of shape (n,) and names.
    """
    rows = _one_hot(columns)
    shown = range(1, len(oof.classes)) if len(oof.classes) == 2 else range(len(oof.classes))
    fits = [_fit(rows, (oof.labels == label).astype(np.float64)) for label in shown]
    level = LEVEL / max(1, len(kinds))
    found = [
        found_group
        for kind, (codes, names) in kinds.items()
        for found_group in _influential_of_kind(kind, (codes, names), fits, level)
    ]
    return sorted(found, key=lambda found_group: -found_group.score)


def _fit(rows: Floats, target: Floats) -> _LogisticFit:
    """Fit a ridge logistic regression by Newton's method."""
    weights = np.zeros(rows.shape[1])
    ridge = RIDGE * np.eye(rows.shape[1])
    for _ in range(NEWTON_STEPS):
        p = sigmoid(rows @ weights, limit=30)
        steepness = p * (1 - p)
        hessian = (rows * steepness[:, None]).T @ rows + ridge
        weights = weights - np.linalg.solve(hessian, rows.T @ (p - target) + RIDGE * weights)
    predicted = sigmoid(rows @ weights, limit=30)
    slopes = rows * (predicted - target)[:, None]
    return _LogisticFit(
        rows=rows, predicted=predicted, labels=target, slopes=slopes, hessian=hessian, steepness=steepness
    )


def _influential_of_kind(
    kind: str, groups: tuple[Ints, Sequence[str]], fits: Sequence[_LogisticFit], level: float
) -> list[InfluentialGroup]:
    """Score the small groups of one kind against each other; by chance the distance grows with the number of rows."""
    codes, names = groups
    count = len(names)
    rows = np.bincount(codes, minlength=count)
    small = _are_small(rows, len(codes))
    scores = _scores(np.sum([fitted.distance(codes, count) for fitted in fits], axis=0), rows, small)
    order = np.flatnonzero(small)[np.argsort(-scores[small])]
    n_outliers = _count_outliers(scores[order])
    if not n_outliers:
        return []

    def max_statistic(distances: Floats) -> float:
        drawn = np.sort(_scores(distances, rows, small)[small])[::-1]
        return float(drawn[_count_outliers(drawn) - 1]) if _count_outliers(drawn) else 0.0

    lowest = float(scores[order[n_outliers - 1]])
    chance = exceedance_probability(
        [fitted.whitened() for fitted in fits], codes, max_statistic, threshold=lowest, level=level
    )
    if chance > level:
        return []
    return [
        InfluentialGroup(
            name=names[index],
            kind=kind,
            rows=int(rows[index]),
            score=float(scores[index]),
            moved=_mean_change(codes == index, fits),
            chance=chance,
        )
        for index in order[:n_outliers].tolist()
    ]


def _scores(distances: Floats, rows: Ints, small: Bools) -> Floats:
    """Return robust deviations among the small groups, shape (groups,)."""
    scaled = np.sqrt(distances / np.maximum(rows, 1))
    middle = np.median(scaled[small])
    spread = _MAD_SCALE * np.median(np.abs(scaled[small] - middle))
    found: Floats = (scaled - middle) / max(float(spread), 1e-300)
    return found


def _mean_change(inside: Bools, fits: Sequence[_LogisticFit]) -> float:
    """Return the mean change of all probabilities without these rows."""
    changes = []
    for fitted in fits:
        move = np.linalg.solve(fitted.hessian, fitted.slopes[inside].sum(axis=0))
        changes.append(np.abs(fitted.rows @ move * fitted.steepness).mean())
    return float(np.mean(changes))


def _count_outliers(scores: Floats) -> int:
    """Count the leading scores that are high and well apart from the next one."""
    firsts = [index + 1 for index in range(min(MAX_GROUPS, len(scores) - 1)) if scores[index] >= MIN_SCORE]
    return max((count for count in firsts if scores[count - 1] >= MIN_RATIO * scores[count]), default=0)


def _one_hot(columns: Sequence[CodedColumn]) -> Floats:
    parts = [np.eye(len(column.names))[column.codes][:, 1:] for column in columns]
    return np.column_stack([np.ones(len(columns[0].codes)), *parts])
