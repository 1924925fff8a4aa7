"""Judge evidence by a policy: pass, fail or undecided, each with its reason.

Pass: the one-sided 95 % bound of every rule is inside its limit. Fail: the interval of some rule is entirely outside,
at an alpha of 5 % that the rules, and the slices of a rule, share. Everything else is undecided, and so is missing
evidence. Only pass acts by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec.structs import replace

from headway.core.config import FILE, PolicySection
from headway.core.errors import ConfigError, HeadwayError
from headway.core.evidence import Evidence
from headway.core.verdict import Answer, Rule, RuleResult, Verdict
from headway.registry.weigh import Limit, LimitResult, compare_with_limit
from headway.registry.words import missing, sentence

ALPHA = 0.05
SLICES = "worst_slice."


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
        Undecided if the policy has no rule.

    Raises
    ------
    ConfigError
        If a rule has no limit, or two.
    """
    rules = policy.release
    rule_results = tuple(_ruling(rule, evidence, policy, alpha / len(rules)) for rule in rules)
    why = "" if rule_results else f"the policy has no rule, so nothing can pass: add [[policy.release]] to {FILE}"
    return Verdict(
        answer=_together([rule_result.answer for rule_result in rule_results]),
        subject=evidence.subject,
        rule_results=rule_results,
        test_evaluations=test_evaluations,
        at=evidence.at,
        why=why,
    )


def relative_policy(policy: PolicySection) -> PolicySection:
    """Return the policy with only its relative rules, which decide what is feasible; all rules if none is relative."""
    rules = tuple(rule for rule in policy.release if rule.relative)
    return replace(policy, release=rules or policy.release)


def feasible(verdict: Verdict) -> bool:
    """Return True if there are rules and every relative one passes."""
    relative = [rule_result for rule_result in verdict.rule_results if rule_result.rule.relative]
    return bool(verdict.rule_results) and all(rule_result.answer == "pass" for rule_result in relative)


def releasable(verdict: Verdict) -> bool:
    """Return True if every rule passes, or a person overrode the verdict (`override_verdict`)."""
    return verdict.answer == "pass"


def override_verdict(verdict: Verdict, *, who: str, why: str, at: str) -> Verdict:
    """Return a person's pass in place of the judge's verdict, with the rule results unchanged.

    `at` is the time in ISO 8601. Raises HeadwayError unless who, why and when are given.
    """
    if not (who.strip() and why.strip() and at.strip()):
        raise HeadwayError("an override names who, why and when", where=f"who={who!r}, why={why!r}, at={at!r}")
    return replace(verdict, answer="pass", by=who, why=why, at=at)


def _together(answers: Sequence[Answer]) -> Answer:
    if "fail" in answers:
        return "fail"
    return "pass" if answers and all(answer == "pass" for answer in answers) else "undecided"


def _ruling(rule: Rule, evidence: Evidence, policy: PolicySection, alpha: float) -> RuleResult:
    limit = _limit(rule, alpha)
    if rule.measure.startswith(SLICES):
        return _on_slices(rule, limit, evidence, policy)
    measurement = evidence.find(rule.measure)
    if measurement is None and any(found.name == rule.measure for found in evidence.measurements):
        return _on_slices(rule, limit, evidence, policy)
    if measurement is None:
        return RuleResult(rule=rule, answer="undecided", message=missing(rule.measure, evidence))
    weighed = compare_with_limit(measurement, limit, fewest_groups=policy.slice_groups)
    return _written(rule, weighed, sentence(weighed, rule))


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


def _on_slices(rule: Rule, limit: Limit, evidence: Evidence, policy: PolicySection) -> RuleResult:
    """Fail if harm is shown in a slice, pass if every slice with enough rows is shown within the limit.

    Measures that exist only for parts, such as gaps between sensitive groups, are judged in the same way.
    """
    name = rule.measure.removeprefix(SLICES)
    found = [part for part in evidence.measurements if part.name == name and part.slice]
    judged = [part for part in found if part.n_rows >= policy.slice_rows and part.n_groups >= policy.slice_groups]
    if not found:
        return RuleResult(rule=rule, answer="undecided", message=missing(f"{name} by slice", evidence))
    small = f"{len(found) - len(judged)} have less than {policy.slice_rows:,} rows or {policy.slice_groups} groups"
    if not judged:
        return RuleResult(rule=rule, answer="undecided", message=f"none of {len(found)} slices can be judged: {small}")
    shared = Limit(value=limit.value, sign=limit.sign, alpha=limit.alpha / len(judged))
    weighed = [compare_with_limit(part, shared, fewest_groups=policy.slice_groups) for part in judged]
    answer = _together([result.answer for result in weighed])
    worst = max((result for result in weighed if result.answer == answer), key=lambda result: _harm(result, limit))
    message = f"the worst of {len(judged)} slices: {sentence(worst, rule)}"
    return _written(rule, worst, message if len(found) == len(judged) else f"{message} (not judged: {small})")


def _harm(weighed: LimitResult, limit: Limit) -> float:
    """Return the sort key of slices with the same answer: certainty of harm, groups needed, or distance to the limit."""
    if weighed.answer == "undecided":
        return weighed.needed
    bound = weighed.best if weighed.answer == "fail" else weighed.worst
    return limit.sign * (bound if bound is not None else weighed.measurement.value)


def _written(rule: Rule, weighed: LimitResult, message: str) -> RuleResult:
    return RuleResult(
        rule=rule,
        answer=weighed.answer,
        message=message,
        measurement=weighed.measurement,
        bound=weighed.best if weighed.answer == "fail" else weighed.worst,
        groups_needed=int(weighed.needed) if weighed.answer == "undecided" and math.isfinite(weighed.needed) else None,
    )
