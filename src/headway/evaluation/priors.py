"""Probabilities set right for another share of positives than was learned from."""

from __future__ import annotations

from headway.evaluation.statistics.intervals import Floats

ROUNDS, NEAR = 1_000, 1e-9


def for_share(scores: Floats, learned: float, share: float) -> Floats:
    """Probabilities [n] of a model that learned from a share of positives, where that share is another (Elkan 2001).

    The odds are multiplied by the odds of `share` over those of `learned`, both in (0, 1).

    >>> import numpy as np
    >>> for_share(np.array([0.5]), 0.5, 0.1).round(6).tolist()
    [0.1]
    """
    odds = share / (1 - share) * (1 - learned) / learned
    found: Floats = scores * odds / (1 - scores + scores * odds)
    return found


def share_among(scores: Floats, learned: float) -> float:
    """The share of positives that is likeliest, by what a model that learned from another said, `scores` [n], alone.

    Expectation and maximisation by Saerens, Latinne and Decaestecker (2002). It takes the scores at their word: of a
    model that is not calibrated it moves them wrongly.

    >>> import numpy as np
    >>> round(share_among(np.array([0.05] * 80 + [0.8] * 20), 0.3), 3)
    0.132
    """
    share = learned
    for _ in range(ROUNDS):
        before, share = share, float(for_share(scores, learned, share).mean())
        share = min(max(share, NEAR), 1 - NEAR)
        if abs(share - before) < NEAR:
            break
    return share
