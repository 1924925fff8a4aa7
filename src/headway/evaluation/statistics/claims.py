"""Claims about many parts at once: each is tested at its share of 5 %, the chance that any claim is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Literal

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.core.student import student_quantile
from headway.evaluation.statistics.intervals import exact_measurement
from headway.evaluation.statistics.proportions import lower_share, rows_below, upper_share

ALPHA = 0.05
POWER = 0.9
MAX_GROUPS_RATIO = 10
"""If more than this many times the groups at hand are needed, more data is not suggested."""
Difference = Literal["gained", "lost", "equivalent", "open"]


def one_sided_bounds(found: Measurement, alpha: float) -> tuple[float, float]:
    """Return the lower and upper bound, each wrong with probability `alpha`; the full range without an interval."""
    if found.se is None or found.dof is None:
        return found.low, found.high
    if isinstance(found.effective_rows, float):
        ends = (lower_share, upper_share)
        low, high = (end(found.value, found.effective_rows, alpha) for end in ends)
        return low, high
    reach = student_quantile(1 - alpha, found.dof) * found.se
    return found.value - reach, found.value + reach


def log_ratio(found: Measurement) -> Measurement:
    """Return a ratio (unit `x`) as a difference of logarithms; other measurements are returned unchanged."""
    if found.unit != "x":
        return found
    low, high = (math.log(end) if end > 0 else -math.inf for end in (found.low, found.high))
    se = None if found.se is None else found.se / found.value
    return replace(found, value=math.log(found.value), low=low, high=high, se=se, unit="")


def classify_difference(found: Measurement, margin: float, alpha: float) -> Difference:
    """Classify a difference as within the margin, above 0, below 0, or undecided.

    >>> found = Measurement(name="a", value=2.0, low=1.9, high=2.1, se=0.05, dof=24, method="", n_rows=9)
    >>> classify_difference(found, 1.0, 0.01)
    'gained'
    """
    low, high = one_sided_bounds(found, alpha)
    if -margin <= low and high <= margin:
        return "equivalent"
    return "gained" if low > 0 else "lost" if high < 0 else "open"


def required_z(alpha: float) -> float:
    """Return the distance from a limit, in standard errors, that is detected with 90 % power."""
    z = NormalDist().inv_cdf
    return z(1 - alpha) + z(POWER)


def groups_needed(found: Measurement, gap: float, alpha: float) -> float:
    """Return the groups that show a true distance `gap` to a limit with 90 % power; infinite beyond ten times those.

    G * ((z(1 - alpha) + z(0.9)) * se / gap)^2, and at least one more than there are. For a share, whose bounds are not
    as far from it on both sides, `gap` is the limit minus the value.
    """
    if found.se is None or gap == 0:
        return math.inf
    if isinstance(found.effective_rows, float):
        return _groups_of_share(found, found.effective_rows, gap, alpha)
    ratio = abs(required_z(alpha) * found.se / gap)
    if ratio > math.sqrt(MAX_GROUPS_RATIO):
        return math.inf
    return max(math.ceil(found.n_groups * ratio**2), found.n_groups + 1)


def _groups_of_share(measured: Measurement, rows: float, gap: float, alpha: float) -> float:
    """Return the groups whose effective rows show a share at that distance below (or above) a limit."""
    share = measured.value if gap > 0 else 1 - measured.value
    needed = rows_below(share, share + abs(gap), alpha, power=POWER, max_rows=MAX_GROUPS_RATIO * rows)
    return (
        max(math.ceil(measured.n_groups * needed / rows), measured.n_groups + 1) if math.isfinite(needed) else math.inf
    )


def describe_needed_data(found: Measurement, margin: float, alpha: float) -> str:
    """Describe how many groups, or rounds of a benchmark, would decide on which side a difference lies."""
    plain, word = log_ratio(found), "rounds" if found.unit == "x" else "groups"
    size = abs(plain.value)
    needed = groups_needed(plain, margin - size if size < margin else size, alpha)
    more = (
        f"about {needed:,.0f}"
        if math.isfinite(needed)
        else f"more than {MAX_GROUPS_RATIO} times the {found.n_groups:,}"
    )
    return f"{found.name}: {more} {word} would decide"


def flag_parts(name: str, parts: Mapping[str, str], *, n_rows: int, undecided: int = 0) -> list[Measurement]:
    """Return the number of parts that a claim is made of, and 1 for each of them with the reason as its method.

    The number may be larger by the `undecided` parts, so that no rule passes by parts that were not measured.
    """
    over_all = exact_measurement(name, float(len(parts)), n_rows=n_rows, method="number of parts")
    return [
        replace(over_all, high=float(len(parts) + undecided)),
        *(exact_measurement(name, 1.0, n_rows=n_rows, method=why, slice=part) for part, why in parts.items()),
    ]
