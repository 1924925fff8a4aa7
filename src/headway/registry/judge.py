"""Judge evidence by a policy: pass, fail or undecided, each with its reason.

Pass: the one-sided 95 % bound of every rule is inside its limit. Fail: the interval of some rule is entirely outside,
at an alpha of 5 % that the rules, and the slices of a rule, share. Everything else is undecided, and so is missing
evidence. Only pass acts by itself. An attack that was not run in full may fail a model, and never pass it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import UNSET
from msgspec.structs import replace

from headway.core.config import FILE
from headway.core.errors import ConfigError, HeadwayError
from headway.core.evidence import NOT_RUN, TRAINING_ROWS, Evidence, Finding, Measurement
from headway.core.verdict import ATTACKS, LIVE, PRIVACY, SLICES, Answer, Rule, RuleResult, Verdict
from headway.data.settings.policy import PolicySection
from headway.evaluation.statistics.claims import MAX_GROUPS_RATIO, groups_needed, one_sided_bounds
from headway.registry.default_policy import floor_rules, live_rules, release_policy
from headway.registry.project import LiveRelease, describe_other_live

ALPHA = 0.05
ROUNDING = 1e-12
CONFIDENCE = 0.95
CHURN = "decision_churn"
NO_FLOOR = (
    "the policy has no floor: every rule compares with another model, so a model that knows nothing may pass; add "
    f'floor = "data" under [policy] in {FILE} ("floor": "data" in policy= of Python), or a rule on quality itself, '
    'or floor = "none" to do without'
)
_METRIC_OF = {
    "gain_over_constant": "floor",
    "gain_over_reference": "floor",
    "privacy.attribute.advantage": "attributes",
    "privacy.attribute.known": "attributes",
}
"""Metrics and audits of measures whose names do not begin with theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit: at most `value`, or at least if `sign` is -1; `alpha` is the error rate allowed for a fail."""

    value: float
    sign: int
    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitResult:
    """The answer for one measurement, with its one-sided bounds on the harmful (`worst`) and the good (`best`) side.

    Both are None if the groups give no interval. `needed` is the number of groups that would decide with 90 % power if
    the measured value is true; infinite if more data of this kind would not help.
    """

    measurement: Measurement
    answer: Answer
    best: float | None = None
    worst: float | None = None
    needed: float = math.inf


def judge(evidence: Evidence, policy: PolicySection, *, test_evaluations: int = 0, alpha: float = ALPHA) -> Verdict:
    """Judge evidence by the release rules of a policy; the same input always gives the same verdict.

    Parameters
    ----------
    test_evaluations : int
        How often the rows were evaluated, for the record.
    alpha : float
        Chance of a false fail, in (0, 1), which the rules share.

    Returns
    -------
    Verdict
        Undecided if the policy has no rule. On rows that the model was trained on no absolute rule is met.

    Raises
    ------
    ConfigError
        If a rule has no limit, or two.
    """
    rules = policy.release
    results = tuple(_on_new_rows(_judge_rule(rule, evidence, policy, alpha / len(rules)), evidence) for rule in rules)
    why = "" if results else f"the policy has no rule, so nothing can pass: add [[policy.release]] to {FILE}"
    return Verdict(
        answer=_combine([result.answer for result in results]),
        subject=evidence.subject,
        rule_results=results,
        test_evaluations=test_evaluations,
        at=evidence.at,
        why=why,
    )


def judge_release(
    evidence: Evidence,
    policy: PolicySection,
    *,
    task: str,
    live: LiveRelease | None = None,
    test_evaluations: int = 0,
) -> Verdict:
    """Judge evidence for a release: by the policy, its floor, and against the release that is live.

    Parameters
    ----------
    task : str
        Task of the model, for the default rules of a policy without rules.
    live : LiveRelease, optional
        Live release, if it is another model. The main measures must be shown to be not much worse than its own, on the
        same rows; evidence that compares with another release is not judged.
    test_evaluations : int
        How often the rows were evaluated, for the record.

    Returns
    -------
    Verdict
        With an undecided rule on the floor if every rule is relative, unless the policy says `floor = "none"`. Never a
        pass on rows that the model was trained on.
    """
    policy = release_policy(policy, task, evidence)
    has_floor = policy.floor == "none" or any(rule.absolute for rule in policy.release)
    if live is not None:
        evidence, policy = _with_live(evidence, policy, task=task, live=live)
    verdict = judge(evidence, policy, test_evaluations=test_evaluations)
    if (seen := _training_rows(evidence)) and verdict.answer == "pass":
        verdict = replace(verdict, answer="undecided", why=seen.message)
    if has_floor:
        return verdict
    missing = RuleResult(rule=floor_rules(task)[0], answer="undecided", message=NO_FLOOR)
    results = (*verdict.rule_results, missing)
    return replace(verdict, answer=_combine([result.answer for result in results]), rule_results=results)


def _with_live(
    evidence: Evidence, policy: PolicySection, *, task: str, live: LiveRelease
) -> tuple[Evidence, PolicySection]:
    """Return the policy with rules against live, and evidence whose comparison is with that release."""
    if not any(own.measure.startswith(LIVE) for own in policy.release):
        policy = replace(policy, release=(*policy.release, *live_rules(task)))
    other = describe_other_live(live, evidence)
    if not other:
        return evidence, policy
    changed = Finding(code=NOT_RUN, severity="undecided", message=other, plugin="live", hint=live.hint)
    measured = tuple(found for found in evidence.measurements if not found.name.startswith(LIVE))
    others = tuple(finding for finding in evidence.findings if finding.plugin != "live")
    return replace(evidence, measurements=measured, findings=(*others, changed)), policy


def relative_policy(policy: PolicySection) -> PolicySection:
    """Return the policy with only its relative rules, which decide what is feasible; all rules if none is relative."""
    rules = tuple(rule for rule in policy.release if rule.relative)
    return replace(policy, release=rules or policy.release)


def candidate_policy(policy: PolicySection) -> PolicySection:
    """Return the policy with the rules that a search judges its candidates by: relative ones, and those on privacy."""
    relative = relative_policy(policy).release
    return replace(
        policy, release=(*relative, *(rule for rule in policy.release if rule.private and rule not in relative))
    )


def feasible(verdict: Verdict) -> bool:
    """Return True if there are rules and every relative one passes."""
    relative = [result for result in verdict.rule_results if result.rule.relative]
    return bool(verdict.rule_results) and all(result.answer == "pass" for result in relative)


def override_verdict(verdict: Verdict, *, who: str, why: str, at: str) -> Verdict:
    """Return a person's pass in place of the judge's verdict, with the rule results unchanged.

    `at` is the time in ISO 8601. Raises HeadwayError unless who, why and when are given.
    """
    if not (who.strip() and why.strip() and at.strip()):
        raise HeadwayError("an override names who, why and when", where=f"who={who!r}, why={why!r}, at={at!r}")
    return replace(verdict, answer="pass", by=who, why=why, at=at)


def compare_with_limit(measurement: Measurement, limit: Limit, *, fewest_groups: int) -> LimitResult:
    """Pass if the 5 % bound is inside the limit, fail if the bound at its alpha is outside, else undecided.

    The measure of an attack that was not run in full never passes.
    """
    if _has_too_few_groups(measurement, fewest_groups):
        needed = fewest_groups if measurement.n_groups < fewest_groups else math.inf
        return LimitResult(measurement=measurement, answer="undecided", needed=needed)
    best, worst = _bounds(measurement, limit)
    at = limit.sign * limit.value
    answer: Answer = "pass" if worst <= at else "fail" if best > at else "undecided"
    needed = _needed_groups(measurement, limit) if answer == "undecided" else measurement.n_groups
    if answer != "fail" and _is_weak_attack(measurement):
        answer, needed = "undecided", math.inf
    return LimitResult(
        measurement=measurement, answer=answer, best=limit.sign * best, worst=limit.sign * worst, needed=needed
    )


def _is_weak_attack(measurement: Measurement) -> bool:
    """Return whether a measurement is of an attack that was not run in full, or may not have been."""
    if measurement.effort is UNSET:
        return measurement.name.startswith(ATTACKS)
    return not measurement.effort.is_complete


def rows_needed(result: RuleResult) -> int | None:
    """Return about how many more rows would decide an undecided rule if the measured value is the true one.

    None if more rows of this kind would not help, or it is not known. Groups are taken to be as large as those at hand,
    and an interval that holds at any time to narrow with the square root of its rows.
    """
    found = result.measurement
    if result.answer != "undecided" or found is None or not found.n_groups:
        return None
    needed = result.groups_needed
    if needed is None and found.validity == "anytime":
        limit = result.rule.at_most if result.rule.at_most is not None else result.rule.at_least or 0.0
        gap = limit - found.value
        ratio = abs(((found.high if gap > 0 else found.low) - found.value) / gap) if gap else math.inf
        needed = math.ceil(found.n_groups * ratio**2) if ratio**2 <= MAX_GROUPS_RATIO else None
    if needed is None:
        return None
    return math.ceil(max(needed - found.n_groups, 1) * found.n_rows / found.n_groups)


def _combine(answers: Sequence[Answer]) -> Answer:
    if "fail" in answers:
        return "fail"
    return "pass" if answers and all(answer == "pass" for answer in answers) else "undecided"


def _judge_rule(rule: Rule, evidence: Evidence, policy: PolicySection, alpha: float) -> RuleResult:
    limit = _limit(rule, alpha)
    measurement = evidence.find(rule.measure)
    only_slices = measurement is None and any(found.name == rule.measure for found in evidence.measurements)
    if rule.measure.startswith(SLICES) or only_slices:
        return _judge_slices(rule, limit, evidence, policy)
    if measurement is None:
        return RuleResult(rule=rule, answer="undecided", message=_missing_message(rule.measure, evidence))
    result = compare_with_limit(measurement, limit, fewest_groups=policy.slice_groups)
    return _rule_result(rule, result, _limit_message(result, rule))


def _training_rows(evidence: Evidence) -> Finding | None:
    """Return the finding that shows these rows to be those that the model was trained on."""
    return next(
        (item for item in evidence.findings if item.code == TRAINING_ROWS and item.severity == "undecided"), None
    )


def _on_new_rows(result: RuleResult, evidence: Evidence) -> RuleResult:
    """Return a result; an absolute rule that is met on training rows is undecided, since they flatter the model."""
    seen = _training_rows(evidence) if result.answer == "pass" and result.rule.absolute else None
    return replace(result, answer="undecided", message=f"{result.message}, but {seen.message}") if seen else result


def _limit(rule: Rule, alpha: float) -> Limit:
    if rule.at_most is not None and rule.at_least is None:
        return Limit(value=rule.at_most, sign=1, alpha=alpha)
    if rule.at_least is not None and rule.at_most is None:
        return Limit(value=rule.at_least, sign=-1, alpha=alpha)
    raise ConfigError(
        f"a rule has one limit, {rule.measure!r} has {'none' if rule.at_most is None else 'two'}",
        where=f"{FILE} [[policy.release]]",
        hint=f'measure = "{rule.measure}"\nat_most = 0.01',
    )


def _judge_slices(rule: Rule, limit: Limit, evidence: Evidence, policy: PolicySection) -> RuleResult:
    """Fail if harm is shown in a slice, pass if every slice with enough rows is shown within the limit.

    Measures that exist only for parts, such as gaps between sensitive groups, are judged in the same way.
    """
    name = rule.measure.removeprefix(SLICES)
    found = [part for part in evidence.measurements if part.name == name and part.slice]
    judged = [part for part in found if part.n_rows >= policy.slice_rows and part.n_groups >= policy.slice_groups]
    if not found:
        return RuleResult(rule=rule, answer="undecided", message=_missing_message(f"{name} by slice", evidence))
    small = f"{len(found) - len(judged)} have less than {policy.slice_rows:,} rows or {policy.slice_groups} groups"
    if not judged:
        return RuleResult(rule=rule, answer="undecided", message=f"none of {len(found)} slices can be judged: {small}")
    shared = Limit(value=limit.value, sign=limit.sign, alpha=limit.alpha / len(judged))
    results = [compare_with_limit(part, shared, fewest_groups=policy.slice_groups) for part in judged]
    answer = _combine([result.answer for result in results])
    worst = max((result for result in results if result.answer == answer), key=lambda result: _harm(result, limit))
    message = f"the worst of {len(judged)} slices: {_limit_message(worst, rule)}"
    return _rule_result(rule, worst, message if len(found) == len(judged) else f"{message} (not judged: {small})")


def _harm(result: LimitResult, limit: Limit) -> float:
    """Return the sort key of slices with equal answers: certainty of harm, groups needed, or distance to the limit."""
    if result.answer == "undecided":
        return result.needed
    bound = result.best if result.answer == "fail" else result.worst
    return limit.sign * (bound if bound is not None else result.measurement.value)


def _rule_result(rule: Rule, result: LimitResult, message: str) -> RuleResult:
    return RuleResult(
        rule=rule,
        answer=result.answer,
        message=message,
        measurement=result.measurement,
        bound=result.best if result.answer == "fail" else result.worst,
        groups_needed=int(result.needed) if result.answer == "undecided" and math.isfinite(result.needed) else None,
    )


def _has_too_few_groups(measurement: Measurement, fewest_groups: int) -> bool:
    """Return True if there are too few groups for an interval; facts and anytime intervals need none."""
    if measurement.validity == "anytime" or measurement.n_groups == 0:
        return False
    return measurement.n_groups < fewest_groups or measurement.se is None or measurement.dof is None


def _bounds(measurement: Measurement, limit: Limit) -> tuple[float, float]:
    """Return the bounds (best, worst), mirrored so that less is better."""
    if measurement.validity == "anytime" or measurement.se is None or measurement.dof is None:
        best, worst = sorted((limit.sign * measurement.low, limit.sign * measurement.high))
        return best, worst
    outside, inside = (one_sided_bounds(measurement, alpha) for alpha in (limit.alpha, 1 - CONFIDENCE))
    return (outside[0], inside[1]) if limit.sign > 0 else (-outside[1], -inside[0])


def _needed_groups(measurement: Measurement, limit: Limit) -> float:
    """Return the number of groups that would show the measured value; infinite beyond ten times those at hand."""
    gap = limit.value - measurement.value
    return groups_needed(measurement, gap, 1 - CONFIDENCE if limit.sign * gap > 0 else limit.alpha)


def _missing_message(name: str, evidence: Evidence) -> str:
    """Return the message for a measure that the evidence lacks, with what did not run: its own metric, or else all."""
    not_run = [finding for finding in evidence.findings if finding.severity == "undecided"]
    metric = _METRIC_OF.get(name, name.removeprefix("privacy.").partition(".")[0])
    own = [finding for finding in not_run if finding.plugin == metric]
    if not own and name.removesuffix(" by slice").startswith(PRIVACY):
        return f"{name} was not measured, so it cannot be judged (an audit measures it: headway evaluate)"
    reasons = "; ".join(finding.message for finding in own or not_run)
    return f"{name} was not measured, so it cannot be judged" + (f" ({reasons})" if reasons else "")


def _limit_message(result: LimitResult, rule: Rule) -> str:
    """Return the message for one measurement: value, interval, rows and groups, the limit, and what would decide.

    Such as `ece is 0.03 (95 % interval 0.02 to 0.04; 9,000 rows, 61 groups): at most 0.038, within the limit of 0.05`.
    """
    return f"{_format_measurement(result.measurement)}: {_format_answer(result, rule)}"


def _format_measurement(measurement: Measurement) -> str:
    of_slice = f" of {measurement.slice}" if measurement.slice else ""
    unit = f" {measurement.unit}" if measurement.unit else ""
    value = f"{measurement.name}{of_slice} is {_number(measurement.value)}{unit}"
    if measurement.n_groups == 0 and measurement.validity == "fixed":
        return f"{value} ({measurement.n_rows:,} rows)"
    counts = f"{measurement.n_rows:,} rows, {measurement.n_groups:,} groups"
    if measurement.se is None and measurement.validity == "fixed":
        return f"{value} ({counts})"
    ends = f"{measurement.level * 100:.4g} % interval {_number(measurement.low)} to {_number(measurement.high)}"
    return f"{value} ({ends}; {counts})"


def _format_answer(result: LimitResult, rule: Rule) -> str:
    limit = f"the limit of {rule.at_most if rule.at_most is not None else rule.at_least:g}"
    if result.best is None or result.worst is None:
        return f"{_no_interval_message(result)}, so {limit} cannot be judged"
    word, opposite = ("at most", "at least") if rule.at_most is not None else ("at least", "at most")
    effort = result.measurement.effort
    if result.answer == "pass":
        within = f"{word} {_number(result.worst)}, within {limit}"
        return within if effort is UNSET else f"{within}, by the {effort}"
    if result.answer == "fail":
        return f"{opposite} {_number(result.best)}, outside {limit}"
    if _is_weak_attack(result.measurement):
        return f"an attack that is not run in full cannot meet {limit}: {_weakness(result.measurement)}"
    if rule.measure == CHURN and rule.at_most is not None and isinstance(result.measurement.effective_rows, float):
        return _churn_message(result, rule, limit)
    return f"it may be {_number(result.worst)}, outside {limit}; {_needed_message(result)}"


def _churn_message(result: LimitResult, rule: Rule, limit: str) -> str:
    """Return what would decide a rule on changed decisions: rows, which need no labels, and not groups."""
    measurement = result.measurement
    changed, worst, allowed = round(measurement.value * measurement.n_rows), result.worst or 0.0, rule.at_most or 0.0
    digits = next(digits for digits in range(2, 18) if f"{worst:.{digits}g}" != f"{allowed:.{digits}g}")
    counted = f"{changed:,} of {measurement.n_rows:,} changed; at most {100 * worst:.{digits}g} %, outside {limit}"
    if math.isinf(result.needed):
        return f"{counted}; {_needed_message(result)}"
    rows = math.ceil(result.needed * measurement.n_rows / measurement.n_groups)
    return f"{counted}; {rows:,} rows would decide; unlabelled rows count"


def _weakness(measurement: Measurement) -> str:
    """Return how much of an attack was run, and what would decide."""
    if measurement.effort is UNSET:
        return "this evidence does not say how much was run (headway evaluate measures it again)"
    return f"{measurement.effort}" + (f" ({measurement.effort.hint})" if measurement.effort.hint else "")


def _number(value: float) -> str:
    """Format a number with four digits; what is only rounding is 0."""
    return f"{0.0 if abs(value) < ROUNDING else value:.4g}"


def _no_interval_message(result: LimitResult) -> str:
    if math.isinf(result.needed):
        return "these groups give no interval"
    return f"too few groups for an interval, at least {result.needed:,.0f} are needed"


def _needed_message(result: LimitResult) -> str:
    n_groups = result.measurement.n_groups
    if result.measurement.validity == "anytime":
        return "more of the same would decide"
    if n_groups == 0:
        return "the rest was not decided in this run"
    if math.isinf(result.needed):
        return f"this cannot be decided on such data, not with {MAX_GROUPS_RATIO} times its {n_groups:,} groups"
    return f"about {result.needed:,.0f} groups would decide, {n_groups:,} are at hand"
