"""Sentences that intervals support: what is shown, and how large the rest could still be."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import student_quantile
from headway.reporting.text import formatting

ALPHA = 0.05
_FEWEST = 3
"""Degrees of freedom for which quantiles are known; of fewer nothing is claimed beside others."""
Few = Sequence[Measurement]


def shown_above(found: Few, limit: float = 0.0) -> list[Measurement]:
    """Return the measurements above a limit; with 95 % confidence all of them are, however many were compared."""
    return [measurement for measurement in found if _ends(measurement, len(found))[0] > limit]


def shown_below(found: Few, limit: float = 0.0) -> list[Measurement]:
    """Return the measurements below a limit, in the same sense."""
    return [measurement for measurement in found if _ends(measurement, len(found))[1] < limit]


def _ends(seen: Measurement, among: int) -> tuple[float, float]:
    """Return the interval widened so that all `among` hold at once (Bonferroni, Student t)."""
    if seen.se is None or seen.dof is None or among < 2:
        return (seen.low, seen.high)
    if seen.dof < _FEWEST:
        return (-math.inf, math.inf)
    reach = student_quantile(1 - ALPHA / (2 * among), seen.dof) * seen.se
    return min(seen.low, seen.value - reach), max(seen.high, seen.value + reach)


def describe_interval(seen: Measurement, *, scale: float = 1.0) -> str:
    """Describe the ends of an interval with unit: `3 to 8`; a fact by its value, and too few groups by saying so."""
    if not formatting.has_interval(seen):
        return f"about {formatting.format_value(seen)} (of so few no interval can be given)"
    width = (seen.high - seen.low) * scale
    low, high = (formatting.format_number(end * scale, width=width) for end in (seen.low, seen.high))
    unit = f" {seen.unit}" if seen.unit else ""
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def describe_percentage(seen: Measurement) -> str:
    """Describe a share by the ends of its interval: `3 to 8 of 100`."""
    return f"{describe_interval(seen, scale=100.0)} of 100"


def join_names(names: Sequence[str], *, most: int = 5) -> str:
    """Join names in a sentence and count those beyond the first few: `a, b and 3 more`."""
    shown, more = names[:most], len(names) - most
    if more > 0:
        return f"{', '.join(shown)} and {more} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)
