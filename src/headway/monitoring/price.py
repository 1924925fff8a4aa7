"""What a release costs its owner: decisions priced by the cost matrix, now against when it was judged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from headway.core.config import Costs
from headway.core.errors import DataError
from headway.core.evidence import Measurement
from headway.evaluation.statistics.intervals import ANY, Estimate, Sample, interval, ratio_of_sums
from headway.evaluation.statistics.tables import Floats, Ints, tally

ROUND = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """What each answered row cost, float64 [n], and its group, int64 [n] in order of time."""

    costs: Floats
    groups: Ints


def decisions(scores: Floats, labels: Floats, *, threshold: float, costs: Costs) -> Floats:
    """The cost of each decision: a `false_alarm` where score >= threshold and the label is 0, a `miss` in reverse.

    >>> decisions(np.array([.9, .9, .1]), np.array([0., 1., 1.]), threshold=.5, costs=Costs(miss=4)).tolist()
    [1.0, 0.0, 4.0]
    """
    alarms = scores >= threshold
    late = labels == 1
    return np.where(alarms & ~late, costs.false_alarm, np.where(~alarms & late, costs.miss, 0.0))


def expected_loss(now: Priced, judged: Priced, *, rows_a_month: float) -> Measurement:
    """`retrain.expected_loss`: what the rows of a month cost more now than at the rate of the period of the judge.

    It is the most that training anew may win back, as far as the model and not the world made the difference. The
    interval adds the variances by group of both periods, for neighbours lean. Raises DataError where a period is empty.
    """
    if not len(now.costs) or not len(judged.costs):
        raise DataError("both periods need rows", where=f"{len(now.costs)} now, {len(judged.costs)} judged")
    one, two = _mean(now), _mean(judged)
    estimate = Estimate(
        value=(one.value - two.value) * rows_a_month,
        se=math.hypot(one.se, two.se) * rows_a_month,
        dof=min(one.dof, two.dof),
        method=f"difference of two periods, each a {one.method}",
    )
    groups = sum(len(np.unique(each.groups)) for each in (now, judged))
    sample = Sample(n_rows=len(now.costs) + len(judged.costs), n_groups=groups, bounds=ANY)
    return replace(interval("retrain.expected_loss", estimate, sample), unit="cost a month")


def amount(cost: float) -> str:
    """A cost in words: without decimals, or with two digits where it is small.

    >>> amount(1234.5), amount(-0.318)
    ('1,234', '-0.32')
    """
    return f"{cost:,.0f}" if abs(cost) >= ROUND else f"{cost:.2g}"


def _mean(priced: Priced) -> Estimate:
    numbers, codes = np.unique(priced.groups, return_inverse=True)
    sums, rows = tally(codes, len(numbers), priced.costs), tally(codes, len(numbers))
    return ratio_of_sums(sums[None], rows[None])[0]
