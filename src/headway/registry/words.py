"""Messages of rule results: value, interval, rows and groups, the limit, and what would decide."""

from __future__ import annotations

import math

from headway.core.evidence import Evidence, Measurement
from headway.core.verdict import Rule
from headway.evaluation.statistics.claims import MAX_GROUPS_RATIO
from headway.registry.weigh import LimitResult


def sentence(weighed: LimitResult, rule: Rule) -> str:
    """Return the message for one measurement.

    Such as `ece is 0.03 (95 % interval 0.02 to 0.04; 9,000 rows, 61 groups): at most 0.038, within the limit of 0.05`.
    """
    return f"{_seen(weighed.measurement)}: {_judged(weighed, rule)}"


def missing(name: str, evidence: Evidence) -> str:
    """Return the message for a measure that the evidence lacks, with what did not run."""
    silent = [finding.message for finding in evidence.findings if finding.severity == "undecided"]
    of_it = [message for message in silent if f"'{name.partition('.')[0]}'" in message]
    reasons = "; ".join(of_it or silent)
    return f"{name} was not measured, so it cannot be judged" + (f" ({reasons})" if reasons else "")


def _seen(measurement: Measurement) -> str:
    of_slice = f" of {measurement.slice}" if measurement.slice else ""
    unit = f" {measurement.unit}" if measurement.unit else ""
    value = f"{measurement.name}{of_slice} is {measurement.value:.4g}{unit}"
    if measurement.n_groups == 0 and measurement.validity == "fixed":
        return f"{value} ({measurement.n_rows:,} rows)"
    counts = f"{measurement.n_rows:,} rows, {measurement.n_groups:,} groups"
    if measurement.se is None and measurement.validity == "fixed":
        return f"{value} ({counts})"
    ends = f"{measurement.level * 100:.4g} % interval {measurement.low:.4g} to {measurement.high:.4g}"
    return f"{value} ({ends}; {counts})"


def _judged(weighed: LimitResult, rule: Rule) -> str:
    limit = f"the limit of {rule.at_most if rule.at_most is not None else rule.at_least:g}"
    if weighed.best is None or weighed.worst is None:
        return f"{_no_interval(weighed)}, so {limit} cannot be judged"
    word, opposite = ("at most", "at least") if rule.at_most is not None else ("at least", "at most")
    if weighed.answer == "pass":
        return f"{word} {weighed.worst:.4g}, within {limit}"
    if weighed.answer == "fail":
        return f"{opposite} {weighed.best:.4g}, outside {limit}"
    return f"it may be {weighed.worst:.4g}, outside {limit}; {_needs(weighed)}"


def _no_interval(weighed: LimitResult) -> str:
    if math.isinf(weighed.needed):
        return "these groups give no interval"
    return f"too few groups for an interval, at least {weighed.needed:,.0f} are needed"


def _needs(weighed: LimitResult) -> str:
    at_hand = weighed.measurement.n_groups
    if weighed.measurement.validity == "anytime":
        return "more of the same would decide"
    if math.isinf(weighed.needed):
        return f"this cannot be decided on such data, not with {MAX_GROUPS_RATIO} times its {at_hand:,} groups"
    return f"about {weighed.needed:,.0f} groups would decide, {at_hand:,} are at hand"
