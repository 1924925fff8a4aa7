"""How much whoever bets against a limit has won: the arithmetic of bounds that hold at every look.

Whoever bets at fair odds that a mean is above a limit multiplies his stake by 1/alpha with a chance of at most alpha,
ever, if the mean is within the limit (Ville 1939). The limits that such wealth has not refuted are a confidence
sequence by betting (Waudby-Smith and Ramdas 2024). The stakes here are a fixed mixture, set before anything is seen: so
a limit stays safe where the mean changes from one observation to the next, as long as its running average is within.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Shares of the largest fair stake, and the money laid on each: the large ones tell gross harm and "never happens" soon,
# small ones tell slight harm from none in the long run. The largest is not all, or one loss would end it.
STAKES: Floats = np.array([0.999, *(2.0**-power for power in range(1, 10))])
MONEY: Floats = np.array([0.15, 0.13, 0.18, 0.18, 0.13, 0.09, 0.06, 0.04, 0.02, 0.02])
_LEAST = 1e-9
_NEAR = 1e-9


def factors(values: Floats, limit: float) -> Floats:
    """What each stake against "the mean is at most `limit`" becomes by each value [A], both >= 0 -> [A, stakes].

    A stake c becomes 1 - c + c * value / limit: on average no more than it was, if the mean is within the limit.
    """
    return 1 - STAKES + np.multiply.outer(values / limit, STAKES)


def log_wealth(logs: Floats) -> Floats:
    """Log of what 1 has become in all, from the logs of what each stake has, [..., stakes] -> [...]."""
    most = logs.max(axis=-1)
    wealth: Floats = most + np.log(np.exp(logs - most[..., None]) @ MONEY)
    return wealth


def refuted(values: Floats, counts: Ints, threshold: float) -> float:
    """The highest limit against which log wealth is above the threshold > 0, or 0 if there is none.

    `values` [A], all >= 0, were observed `counts` [A] times. Log wealth falls, and is convex, in the logarithm of the
    limit: Newton's steps from below come near the end and never past it, so what is given is refuted wherever they
    stop.
    """
    logarithm, often = math.log(_LEAST), counts.astype(np.float64)
    wealth, slope = _wealth_and_slope(values, often, logarithm)
    if wealth <= threshold:
        return 0.0
    while (step := (threshold - wealth) / slope) >= _NEAR:
        logarithm += step
        wealth, slope = _wealth_and_slope(values, often, logarithm)
    return math.exp(logarithm)


def _wealth_and_slope(values: Floats, counts: Floats, logarithm: float) -> tuple[float, float]:
    """Log wealth against the limit of that logarithm, and its derivative by it."""
    became = factors(values, math.exp(logarithm))
    logs = counts @ np.log(became)
    wealth = float(log_wealth(logs))
    shares = MONEY * np.exp(logs - wealth)
    slopes = counts @ ((1 - STAKES) / became - 1)
    return wealth, float(shares @ slopes)
