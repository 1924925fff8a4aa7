"""Degradation shown by the labels of a period: ranking, calibration, decision costs, and the rules of the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats, Ints
from headway.core.config import FILE
from headway.core.errors import ConfigError, DataError, NotApplicable
from headway.core.evidence import Evidence, Measurement
from headway.core.monitoring import (
    ACCURACY_CHANGE,
    AUC_CHANGE,
    BIAS,
    CALIBRATION_ERROR,
    COST,
    F1_CHANGE,
    LOG_LOSS_CHANGE,
    GapDirection,
    MonitoringAnswer,
    MonitoringReport,
)
from headway.core.verdict import RuleResult
from headway.data.settings.model import Costs
from headway.data.settings.policy import PolicySection
from headway.evaluation.context import Comparison
from headway.evaluation.statistics.intervals import (
    CHANGE,
    MIN_GROUPS,
    UNBOUNDED,
    Estimate,
    Sample,
    jackknife_interval,
    period_difference,
    ratio_of_sums,
    t_interval,
)
from headway.evaluation.statistics.tables import bin_table, binary_answers, tally, weighted
from headway.registry.judge import Limit, compare_with_limit, judge

N_TESTS = 3
"""Of two classes: AUC, calibration error and cost. Of more: accuracy, macro F1 and log loss."""
RANKS_WORSE = (AUC_CHANGE, ACCURACY_CHANGE, F1_CHANGE)
"""Changes in [-1, 1] of which a negative one is a degradation."""
BINS = 15
HARMFUL: tuple[GapDirection, ...] = ("wider", "reversed")
LARGE_DROP, LARGE_ERROR_RATIO, LARGE_COST_SHARE = 0.1, 2.0, 0.5
"""What counts as large: a drop of the AUC, accuracy or macro F1, a multiple of the limit on calibration, a share of the
usual cost. A log loss has no such limit, since a few confident errors move it far.
"""


class LabeledGroups(NamedTuple):
    """The class number of each labeled row, and its group, both of shape (n,)."""

    labels: Ints
    groups: Ints


def count_tests(watch: MonitoringReport, policy: PolicySection) -> int:
    """Return how many tests share the level of the question: three, one for all gaps of groups, one for each rule."""
    return N_TESTS + bool(watch.bias) + len(policy.watch)


def find_degradation(
    watch: MonitoringReport, *, level: float, ece_at_most: float, usual_cost: float | None = None
) -> MonitoringAnswer:
    """Return the degradations that are shown, and those that are not shown but are far from excluded.

    Parameters
    ----------
    level : float
        Significance level, which the three tests, that of all bias gaps and the rules share.
    ece_at_most : float
        Limit of the calibration error.
    usual_cost : float, optional
        Cost of a month at the rate of the judged period.
    """
    limits = {
        **dict.fromkeys(RANKS_WORSE, (0.0, -1)),
        LOG_LOSS_CHANGE: (0.0, 1),
        CALIBRATION_ERROR: (ece_at_most, 1),
        COST: (0.0, 1),
    }
    of = {name: watch.cost if name == COST else watch.find(name) for name in limits}
    large = {**dict.fromkeys(RANKS_WORSE, LARGE_DROP), CALIBRATION_ERROR: LARGE_ERROR_RATIO * ece_at_most}
    if usual_cost:
        large[COST] = LARGE_COST_SHARE * usual_cost
    alpha = level / (N_TESTS + bool(watch.bias) + len(watch.rule_results))
    shown = [name for name, found in of.items() if found is not None and exceeds(found, *limits[name], alpha=alpha)]
    groups = [BIAS] if any(one.direction in HARMFUL for one in watch.bias) else []
    broken = [str(result.rule) for result in watch.rule_results if result.answer == "fail"]
    open_rules = [str(result.rule) for result in watch.rule_results if result.answer == "undecided"]
    ends = {name: _harmful_end(found, limits[name][1]) for name, found in of.items() if found is not None}
    if (plain := watch.find("ece")) is not None and CALIBRATION_ERROR in ends:
        # Noise inflates the plain error, so that its upper end is a bound as well, and the closer one in short periods.
        ends[CALIBRATION_ERROR] = min(ends[CALIBRATION_ERROR], plain.high)
    not_excluded = [name for name, end in ends.items() if name not in shown and name in large and end > large[name]]
    return MonitoringAnswer(
        question="degradation",
        level=level,
        shown=(*shown, *groups, *broken),
        not_excluded=(*not_excluded, *open_rules),
    )


def _harmful_end(found: Measurement, sign: int) -> float:
    """Return the end of the interval on the harmful side, mirrored so that more is worse."""
    return found.high if sign > 0 else -found.low


def require_frequent_classes(now: LabeledGroups, judged: LabeledGroups, classes: Sequence[str]) -> None:
    """Raise NotApplicable unless each class of either period has labels in MIN_GROUPS groups of both.

    Macro F1 is a mean over the classes that occur: a rare class that is absent from a period moves it by itself.
    """
    counts = [
        np.bincount(np.unique(np.column_stack(part), axis=0)[:, 0].astype(np.int64), minlength=len(classes))
        for part in (now, judged)
    ]
    n_groups = np.minimum(*counts)
    occurs = np.maximum(*counts) > 0
    rarest = int(np.argmin(np.where(occurs, n_groups, np.iinfo(np.int64).max)))
    if occurs.any() and n_groups[rarest] < MIN_GROUPS:
        raise NotApplicable(
            f"class '{classes[rarest]}' has labels in {n_groups[rarest]} groups of one of the periods, and "
            f"{MIN_GROUPS} are needed",
            hint="longer periods: headway watch --every 1q",
        )


def require_absolute_rules(policy: PolicySection) -> None:
    """Raise ConfigError for a rule that compares models on the same rows: monitoring sees only the live one."""
    compares = next((rule.measure for rule in policy.watch if rule.relative), None)
    if compares:
        raise ConfigError(
            f"{compares!r} compares with another model, and a watch sees live alone",
            where=f"{FILE} [[policy.watch]]",
            hint="an absolute measure, or what changed since it was judged: roc_auc.change, brier.change, ece.change",
        )


def judge_rules(
    watch: MonitoringReport, now: Evidence, policy: PolicySection, *, level: float
) -> tuple[RuleResult, ...]:
    """Judge each rule of `[[policy.watch]]` by the measurements of the period."""
    measurements = (*now.measurements, *watch.change, *((watch.cost,) if watch.cost else ()))
    alpha = level * len(policy.watch) / count_tests(watch, policy)
    monitoring_policy = replace(policy, release=policy.watch)
    return judge(replace(now, measurements=measurements), monitoring_policy, alpha=alpha).rule_results


def exceeds(found: Measurement, limit: float, sign: int, *, alpha: float) -> bool:
    """Return whether a measurement is shown above a limit, or below it for `sign` -1, at false-alarm rate `alpha`."""
    weighed = compare_with_limit(found, Limit(value=limit, sign=sign, alpha=alpha), fewest_groups=MIN_GROUPS)
    return weighed.answer == "fail"


def split_ece(subject: Comparison, *, run: int) -> Measurement:
    """Compute `ece.split`: the calibration error, with the sign of each bin's error from the other half of the groups.

    Noise inflates the plain error, most of all in a short period. This one is on average at most the true error, and
    equals the plain one if both halves agree on the sign of each bin. Halves alternate in blocks of `run` neighboring
    groups, so that dependent days do not confirm each other.

    Raises NotApplicable if the task is not binary.
    """
    answers = binary_answers(subject)
    table = bin_table(answers, BINS)
    halves = np.arange(answers.n_blocks) // run % 2
    surplus = table.positives - table.scores
    surpluses = np.stack([surplus[halves == half].sum(0) for half in (0, 1)])
    total, rows = table.rows.sum(), table.rows.sum(1)
    value = _agreeing_surplus(surpluses) / float(total)
    without = np.array(
        [_agreeing_surplus(surpluses - _share_of_group(halves, at, surplus[at])) for at in range(answers.n_blocks)]
    )
    sample = Sample(n_rows=answers.n_rows, n_groups=answers.n_groups, bounds=CHANGE)
    return jackknife_interval(CALIBRATION_ERROR, value, without / np.maximum(total - rows, 1), sample)


def _share_of_group(halves: Ints, at: int, surplus: Floats) -> Floats:
    """Return what a group adds to its half, [2, bins]."""
    return np.stack([surplus if halves[at] == half else np.zeros_like(surplus) for half in (0, 1)])


def _agreeing_surplus(surpluses: Floats) -> float:
    """Sum the surplus by half and bin [2, bins], each with the sign of the other half."""
    return float((np.sign(surpluses[::-1]) * surpluses).sum())


WITHOUT_DECIMALS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionCosts:
    """Cost of the decision on each row, float64 [n], its group, int64 [n] in order of time, and its weight."""

    costs: Floats
    groups: Ints
    weights: Floats | None = None


def decision_costs(scores: Floats, labels: Floats, *, threshold: float, costs: Costs) -> Floats:
    """Return the cost of each decision, which is positive if score >= threshold; NaN where the label is unknown.

    >>> scores, labels = np.array([.9, .9, .1]), np.array([0., 1., 1.])
    >>> decision_costs(scores, labels, threshold=.5, costs=Costs(false_negative=4)).tolist()
    [1.0, 0.0, 4.0]
    """
    alarms = scores >= threshold
    late = labels == 1
    cost = np.where(alarms & ~late, costs.false_positive, np.where(~alarms & late, costs.false_negative, 0.0))
    return np.where(np.isnan(labels), np.nan, cost)


def expected_loss(now: DecisionCosts, judged: DecisionCosts, *, rows_a_month: float) -> Measurement:
    """Compute `retrain.expected_loss`: how much more a month of rows costs now than at the rate of the judged period.

    It bounds what retraining can win back, as far as the model and not the world changed. The interval adds the
    variances by group of both periods, corrected for dependent neighbors. Raises DataError for an empty period.
    """
    if not len(now.costs) or not len(judged.costs):
        raise DataError("both periods need rows", where=f"{len(now.costs)} now, {len(judged.costs)} judged")
    one, two = _mean_cost(now), _mean_cost(judged)
    change = period_difference(one, two)
    estimate = changed(change, value=change.value * rows_a_month, se=change.se * rows_a_month)
    groups = sum(len(np.unique(part.groups)) for part in (now, judged))
    sample = Sample(n_rows=len(now.costs) + len(judged.costs), n_groups=groups, bounds=UNBOUNDED)
    return replace(t_interval("retrain.expected_loss", estimate, sample), unit="cost a month")


def format_amount(cost: float) -> str:
    """Format a cost without decimals, or with two digits if it is small.

    >>> format_amount(1234.5), format_amount(-0.318)
    ('1,234', '-0.32')
    """
    return f"{cost:,.0f}" if abs(cost) >= WITHOUT_DECIMALS else f"{cost:.2g}"


def _mean_cost(priced: DecisionCosts) -> Estimate:
    numbers, codes = np.unique(priced.groups, return_inverse=True)
    sums, rows = (tally(codes, len(numbers), weighted(one, priced.weights)) for one in (priced.costs, None))
    return ratio_of_sums(sums[None], rows[None])[0]
