"""How far the furthest group would stand out if nobody had touched a label: drawn from the model itself.

Days share fate and features: the rows of a storm fall into bins that hardly any other day has, so that one day of a
clean table can move a model far. How far is a matter of the table, and no constant knows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headway.data.labels.said import Floats, Ints

QUANTILE, OF_SQUARE = 0.8, 1.6424
"""Of the squares of standard normal numbers, so many lie below; few groups that were touched do not move it."""
MAX_VARIANCE = 25.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OneVsRest:
    """One class against the others: chances [n], labels {0, 1} [n], and rows [n, d], whitened by the curvature."""

    predicted: Floats
    labels: Floats
    white: Floats


def exceedance_probability(
    sides: Sequence[OneVsRest], codes: Ints, furthest: Callable[[Floats], float], *, than: float, level: float
) -> float:
    """The chance that `furthest` of the distances [groups] of a clean table is that far, or of at least `level`.

    Labels are drawn from the probabilities, with an effect of each group as strong as that of most groups is seen to
    be; the model is refitted to the first order. As many tables are drawn as four of `level` need, and no more are
    once that many were as far. The draws are the same in every run.
    """
    order = np.argsort(codes, kind="stable")
    codes, starts = codes[order], np.searchsorted(codes[order], np.arange(int(codes.max()) + 1))
    sides = [
        OneVsRest(predicted=each.predicted[order], labels=each.labels[order], white=each.white[order]) for each in sides
    ]
    spreads = [_effect_deviation(each, starts) for each in sides]
    shares = [_curvature_shares(each, starts) for each in sides]
    draw, most = np.random.default_rng(0), int(4 / level) - 1
    far = 0
    for done in range(most):
        labels = _draw_labels(sides, spreads, codes, draw)
        pairs = zip(sides, shares, labels.T, strict=True)
        distances = np.sum([_cook_distances(side, share, label, starts) for side, share, label in pairs], axis=0)
        far += furthest(distances) >= than
        if (far + 1) / (most + 1) > level:
            return float((far + 1) / (done + 2))
    return (far + 1) / (most + 1)


def _effect_deviation(side: OneVsRest, starts: Ints) -> float:
    """The standard deviation of effects of groups on the log odds, by how far their labels lie from what is said."""
    weights = np.add.reduceat(side.predicted * (1 - side.predicted), starts)
    beyond = np.square(np.add.reduceat(side.labels - side.predicted, starts))
    low, high = 0.0, MAX_VARIANCE
    for _ in range(40):
        middle = (low + high) / 2
        wide = np.quantile(beyond / (weights + middle * np.square(weights)), QUANTILE) > OF_SQUARE
        low, high = (middle, high) if wide else (low, middle)
    return float(np.sqrt(low))


def _curvature_shares(side: OneVsRest, starts: Ints) -> Floats:
    """What each group is of the whole curvature, [groups, d, d]; it pulls the model back to where it was."""
    steep = side.white * (side.predicted * (1 - side.predicted))[:, None]
    ends = [*starts[1:].tolist(), len(steep)]
    return np.stack([steep[since:end].T @ side.white[since:end] for since, end in zip(starts, ends, strict=True)])


def _draw_labels(
    sides: Sequence[OneVsRest], spreads: Sequence[float], codes: Ints, draw: np.random.Generator
) -> NDArray[np.bool_]:
    """Drawn labels of each side, [n, sides]; of several classes each row has one."""
    groups = int(codes[-1]) + 1
    chances = []
    for side, spread in zip(sides, spreads, strict=True):
        odds = side.predicted / (1 - side.predicted) * np.exp(spread * draw.normal(size=groups))[codes]
        chances.append(odds / (1 + odds))
    if len(sides) == 1:
        return np.asarray(draw.random(len(codes)) < chances[0])[:, None]
    ends = np.cumsum(chances, axis=0)
    chosen = (draw.random(len(codes)) * ends[-1] > ends).sum(axis=0)
    return np.asarray(chosen[:, None] == np.arange(len(sides)))


def _cook_distances(side: OneVsRest, shares: Floats, labels: NDArray[np.bool_], starts: Ints) -> Floats:
    slopes = np.add.reduceat(side.white * (side.predicted - labels)[:, None], starts)
    slopes -= shares @ slopes.sum(axis=0)
    found: Floats = np.square(slopes).sum(axis=1)
    return found
