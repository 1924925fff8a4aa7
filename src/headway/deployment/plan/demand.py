"""Demand of the prediction log: its rate, the hours of a day, the days, and the gaps between requests."""

from __future__ import annotations

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.errors import DataError
from headway.core.plan import DAYS_A_MONTH, HOURS, SECONDS_A_DAY, Demand

MAX_GAPS, MIN_REQUESTS = 20_000, 100
_DAY_US, _HOUR_US = round(SECONDS_A_DAY * 1e6), round(SECONDS_A_DAY * 1e6 / HOURS)


def demand_of_log(at_us: Ints, weights: Floats, *, sites: int = 1) -> Demand:
    """Return the demand of logged requests.

    Parameters
    ----------
    at_us : ndarray of shape (n,)
        Time of each request, microseconds since 1970, in order.
    weights : ndarray of shape (n,)
        Requests that each stands for: one over the rate with which the log sampled it.

    Raises
    ------
    DataError
        If there are fewer than 100 requests, or all at one time.
    """
    if len(at_us) < MIN_REQUESTS or at_us[-1] == at_us[0]:
        raise DataError(
            f"the log has {len(at_us)} requests, a demand needs {MIN_REQUESTS}", hint="headway plan --per-s RATE"
        )
    seconds = float(at_us[-1] - at_us[0]) / 1e6
    per_hour = np.bincount(at_us % _DAY_US // _HOUR_US, weights=weights, minlength=HOURS)
    day = at_us // _DAY_US - at_us[0] // _DAY_US
    daily = np.bincount(day, weights=weights)[1:-1]  # the first and the last are not whole
    hours = tuple((per_hour / per_hour.mean()).tolist()) if len(daily) else ()
    of_hour = at_us // _HOUR_US
    starts, counts = np.unique(of_hour, return_counts=True)
    gaps = np.diff(at_us[of_hour == starts[counts.argmax()]])[:MAX_GAPS]
    is_sampled = bool((weights != 1).any())  # gaps between sampled requests are too long
    return Demand(
        per_s=float(weights.sum()) / seconds,
        hours=hours,
        gaps_us=() if is_sampled or len(gaps) < MIN_REQUESTS or not gaps.any() else tuple(gaps.astype(float).tolist()),
        daily=tuple(daily[-round(12 * DAYS_A_MONTH) :].tolist()),
        sites=sites,
        source="log",
    )
