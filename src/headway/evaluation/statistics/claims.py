"""Words on many parts at once: each part is claimed at its share of 5 %, the chance that any of the words is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Literal

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import exact_measurement, student_quantile

ALPHA = 0.05
POWER = 0.9
MAX_GROUPS_RATIO = 10
"""More than so many times the groups at hand: more data of the kind would not decide."""
Difference = Literal["gained", "lost", "alike", "open"]


def one_sided_bounds(found: Measurement, alpha: float) -> tuple[float, float]:
    """The lower and the upper bound, each wrong in `alpha`; without an interval, the ends of the whole range."""
    if found.se is None or found.dof is None:
        return found.low, found.high
    reach = student_quantile(1 - alpha, found.dof) * found.se
    return found.value - reach, found.value + reach


def log_ratio(found: Measurement) -> Measurement:
    """A ratio (unit `x`) as the difference of two logarithms; any other measurement as it is."""
    if found.unit != "x":
        return found
    low, high = (math.log(end) if end > 0 else -math.inf for end in (found.low, found.high))
    se = None if found.se is None else found.se / found.value
    return replace(found, value=math.log(found.value), low=low, high=high, se=se, unit="")


def classify_difference(found: Measurement, margin: float, alpha: float) -> Difference:
    """Whether a difference lies wholly within the margin, wholly above 0 or below it, or cannot be told.

    >>> found = Measurement(name="a", value=2.0, low=1.9, high=2.1, se=0.05, dof=24, method="", n_rows=9)
    >>> classify_difference(found, 1.0, 0.01)
    'gained'
    """
    low, high = one_sided_bounds(found, alpha)
    if -margin <= low and high <= margin:
        return "alike"
    return "gained" if low > 0 else "lost" if high < 0 else "open"


def required_z(alpha: float) -> float:
    """By how many of its standard errors a value must lie from a limit to be shown in 9 of 10 samples."""
    z = NormalDist().inv_cdf
    return z(1 - alpha) + z(POWER)


def groups_needed(found: Measurement, gap: float, alpha: float) -> float:
    """Groups by which a true distance `gap` from a limit would be shown in 9 of 10 samples; infinite if hopeless.

    G * ((z(1 - alpha) + z(0.9)) * se / gap)^2, and at least one more than there are.
    """
    if found.se is None or gap == 0:
        return math.inf
    ratio = abs(required_z(alpha) * found.se / gap)
    if ratio > math.sqrt(MAX_GROUPS_RATIO):
        return math.inf
    return max(math.ceil(found.n_groups * ratio**2), found.n_groups + 1)


def describe_needed_data(found: Measurement, margin: float, alpha: float) -> str:
    """What would tell on which side a difference lies, in words; of a timing its rounds are the groups."""
    plain, word = log_ratio(found), "rounds" if found.unit == "x" else "groups"
    size = abs(plain.value)
    needed = groups_needed(plain, margin - size if size < margin else size, alpha)
    more = (
        f"about {needed:,.0f}"
        if math.isfinite(needed)
        else f"more than {MAX_GROUPS_RATIO} times the {found.n_groups:,}"
    )
    return f"{found.name}: {more} {word} would tell"


def flag_parts(name: str, parts: Mapping[str, str], *, n_rows: int) -> list[Measurement]:
    """How many parts a word is said of, and 1 for each of them, with why."""
    over_all = exact_measurement(name, float(len(parts)), n_rows=n_rows, method="parts of which it is shown")
    return [
        over_all,
        *(exact_measurement(name, 1.0, n_rows=n_rows, method=why, slice=part) for part, why in parts.items()),
    ]
