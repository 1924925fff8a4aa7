"""Test a policy: break a model on purpose in several ways, and check that the policy rejects result for the right reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from headway.core.config import PolicySection
from headway.core.errors import NotApplicable
from headway.core.policy_test import PolicyTest
from headway.core.verdict import RuleResult, Verdict
from headway.evaluation.context import Comparison
from headway.evaluation.measure import measure
from headway.registry.judge import judge, relative_policy
from headway.registry.policy_tests import broken

Judge = Callable[[Comparison], Verdict]
_MEND = '[[policy.release]]\nmeasure = "{}"\nat_most = {}'


class _Fault(NamedTuple):
    """A fault: what is broken and how, the measures that show it, and a rule that would reject it."""

    what: str
    breaks: Callable[[Comparison], tuple[Comparison, str]]
    shown_by: tuple[str, ...]
    hint: str


def drill(
    subject: Comparison, policy: PolicySection, *, probes: Sequence[str], dataset: str, period: str
) -> list[PolicyTest]:
    """Judge three broken copies of a model and one exact copy by the policy.

    A broken copy must fail by a rule on what is wrong with it. The exact copy must get the same answer from the relative
    rules as the model itself. Nothing is saved.
    """

    def judged(by: PolicySection, comparison: Comparison) -> Verdict:
        return judge(measure(comparison, probes, dataset_digest=dataset, period=period), by)

    wrong = [_broken(fault, subject, partial(judged, policy)) for fault in _faults(policy)]
    return [*wrong, _copied(subject, partial(judged, relative_policy(policy)))]


def _faults(policy: PolicySection) -> tuple[_Fault, ...]:
    harmed = partial(broken.harmed, rows=policy.slice_rows, groups=policy.slice_groups)
    return (
        _Fault(
            "probabilities twice as sure, no decision moved",
            lambda subject: (broken.sharpened(subject), ""),
            ("calibration.", "probability_shift", "ece", "brier", "log_loss", "max_change", "change."),
            _MEND.format("probability_shift", 0.01),
        ),
        _Fault(
            "every decision turned in one slice",
            harmed,
            ("worst_slice.",),
            _MEND.format("worst_slice.decision_churn", 0.1),
        ),
        _Fault(
            "missing values read as numbers",
            lambda subject: (broken.misread(subject), ""),
            ("missing.",),
            _MEND.format("missing.decision_churn", 0.05),
        ),
    )


def _broken(fault: _Fault, subject: Comparison, judged: Judge) -> PolicyTest:
    expects = "fail"
    try:
        wrong, slice = fault.breaks(subject)
    except NotApplicable as error:
        return PolicyTest(what=fault.what, expected=expects, message=error.what)
    what = f"{fault.what}, {slice}" if slice else fault.what
    verdict = judged(wrong)
    by = [result for result in verdict.rule_results if result.answer == "fail" and _shows(result, fault, slice)]
    if by:
        return PolicyTest(what=what, expected=expects, verdict=verdict, rule_result=by[0], message=by[0].message)
    matching = [result for result in verdict.rule_results if result.rule.measure.startswith(fault.shown_by)]
    message = matching[0].message if matching else "no rule of the policy asks for this"
    rule_result = matching[0] if matching else None
    hint = "" if matching else fault.hint
    return PolicyTest(
        what=what, expected=expects, passed=False, verdict=verdict, rule_result=rule_result, message=message, hint=hint
    )


def _shows(rule_result: RuleResult, fault: _Fault, slice: str) -> bool:
    """Return True if a rule failed for this fault: on its measure, and on its slice if it has one."""
    where = rule_result.measurement.slice if rule_result.measurement else ""
    return rule_result.rule.measure.startswith(fault.shown_by) and (not slice or where == slice)


def _copied(subject: Comparison, judged: Judge) -> PolicyTest:
    own, verdict = judged(subject), judged(broken.rounded(subject))
    held = verdict.answer == own.answer
    failed = [result for result in verdict.rule_results if result.answer != "pass"]
    message = failed[0].message if failed else "every rule is met"
    rule_result = failed[0] if failed else None
    return PolicyTest(
        what="a copy in single precision",
        expected=own.answer,
        passed=held,
        verdict=verdict,
        rule_result=rule_result,
        message=message,
    )
