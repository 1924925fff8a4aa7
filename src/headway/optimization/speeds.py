"""What the search makes small, and how surely it is known of a variant that was judged."""

from __future__ import annotations

import math

from headway.core.verdict import Judged

_MORE_IS_BETTER = ("rows/s", "x")


def objective_cost(row: Judged, objective: str) -> float:
    """What the search makes small; infinite where it was not measured."""
    found = row.evidence.find(objective)
    if found is None:
        return math.inf
    return -found.value if found.unit in _MORE_IS_BETTER else found.value


def cost_lower_bound(row: Judged, objective: str) -> float:
    """The good end of the interval of what the search makes small."""
    found = row.evidence.find(objective)
    if found is None:
        return math.inf
    return -found.high if found.unit in _MORE_IS_BETTER else found.low


def cost_upper_bound(row: Judged, objective: str) -> float:
    """The bad end of the interval of what the search makes small."""
    found = row.evidence.find(objective)
    if found is None:
        return math.inf
    return -found.low if found.unit in _MORE_IS_BETTER else found.high
