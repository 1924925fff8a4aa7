"""Tests of a policy: models broken on purpose, as by careless conversions, must be rejected for the right reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from headway.core.arrays import Floats, logit, sigmoid
from headway.core.errors import NotApplicable
from headway.core.verdict import PolicyTest, RuleResult, Verdict
from headway.data.settings.policy import PolicySection
from headway.evaluation.comparison import without_proofs
from headway.evaluation.context import Comparison
from headway.evaluation.measure import measure
from headway.evaluation.quality.row_errors import decide_class
from headway.registry.judge import judge, relative_policy

Judge = Callable[[Comparison], Verdict]
_RULE_HINT = '[[policy.release]]\nmeasure = "{}"\nat_most = {}'
SHARPNESS, CLASSIFIERS = 2.0, ("binary", "multiclass")
_SMALLEST = 1e-9


class _Fault(NamedTuple):
    """A fault: what is broken and how, the measures that show it, and a rule that would reject it."""

    what: str
    breaks: Callable[[Comparison], tuple[Comparison, str]]
    shown_by: tuple[str, ...]
    hint: str


def run_policy_tests(
    subject: Comparison, policy: PolicySection, *, metrics: Sequence[str], dataset: str, period: str
) -> list[PolicyTest]:
    """Judge three broken copies of a model and one exact copy by the policy.

    A broken copy must fail by a rule on what is wrong with it. The exact copy must get the same answer from the
    relative rules as the model itself. Nothing is saved.
    """

    def judged(by: PolicySection, comparison: Comparison) -> Verdict:
        return judge(measure(comparison, metrics, dataset_digest=dataset, period=period), by)

    faults = [_test_fault(fault, subject, partial(judged, policy)) for fault in _faults(policy)]
    return [*faults, _test_exact_copy(subject, partial(judged, relative_policy(policy)))]


def _faults(policy: PolicySection) -> tuple[_Fault, ...]:
    flip_slice = partial(flip_smallest_slice, rows=policy.slice_rows, groups=policy.slice_groups)
    return (
        _Fault(
            "probabilities twice as confident, no decision changed",
            lambda subject: (sharpen_probabilities(subject), ""),
            ("calibration.", "probability_shift", "ece", "brier", "log_loss", "max_change", "change."),
            _RULE_HINT.format("probability_shift", 0.01),
        ),
        _Fault(
            "every decision flipped in one slice",
            flip_slice,
            ("worst_slice.",),
            _RULE_HINT.format("worst_slice.decision_churn", 0.1),
        ),
        _Fault(
            "missing values read as numbers",
            lambda subject: (fill_missing_values(subject), ""),
            ("missing.",),
            _RULE_HINT.format("missing.decision_churn", 0.05),
        ),
    )


def _test_fault(fault: _Fault, subject: Comparison, judged: Judge) -> PolicyTest:
    expected = "fail"
    try:
        wrong, slice = fault.breaks(subject)
    except NotApplicable as error:
        return PolicyTest(what=fault.what, expected=expected, message=error.what)
    what = f"{fault.what}, {slice}" if slice else fault.what
    verdict = judged(wrong)
    by = [result for result in verdict.rule_results if result.answer == "fail" and _shows(result, fault, slice)]
    if by:
        return PolicyTest(what=what, expected=expected, verdict=verdict, rule_result=by[0], message=by[0].message)
    matching = [result for result in verdict.rule_results if result.rule.measure.startswith(fault.shown_by)]
    message = matching[0].message if matching else "no rule of the policy asks for this"
    rule_result = matching[0] if matching else None
    hint = "" if matching else fault.hint
    return PolicyTest(
        what=what, expected=expected, passed=False, verdict=verdict, rule_result=rule_result, message=message, hint=hint
    )


def _shows(rule_result: RuleResult, fault: _Fault, slice: str) -> bool:
    """Return True if a rule failed for this fault: on its measure, and on its slice if it has one."""
    where = rule_result.measurement.slice if rule_result.measurement else ""
    return rule_result.rule.measure.startswith(fault.shown_by) and (not slice or where == slice)


def _test_exact_copy(subject: Comparison, judged: Judge) -> PolicyTest:
    own, verdict = judged(subject), judged(round_to_float32(subject))
    failed = [result for result in verdict.rule_results if result.answer != "pass"]
    message = failed[0].message if failed else "every rule is met"
    rule_result = failed[0] if failed else None
    return PolicyTest(
        what="a copy in single precision",
        expected=own.answer,
        passed=verdict.answer == own.answer,
        verdict=verdict,
        rule_result=rule_result,
        message=message,
    )


def round_to_float32(subject: Comparison) -> Comparison:
    """Round the answers to single precision, as a conversion to ONNX does."""
    return replace(subject, scores=subject.scores.astype(np.float32).astype(np.float64), decisions=None)


def sharpen_probabilities(subject: Comparison) -> Comparison:
    """Double the distance of the log odds from the threshold: ranks and decisions stay, every probability is wrong.

    Raises NotApplicable if the answers are not probabilities.
    """
    if subject.variant.task not in CLASSIFIERS:
        raise NotApplicable(f"the answers of a {subject.variant.task} model are not probabilities")
    if subject.scores.shape[1] == 1:
        about = float(logit(np.array(subject.threshold), epsilon=_SMALLEST))
        return _with_scores(subject, sigmoid(about + SHARPNESS * (logit(subject.scores, epsilon=_SMALLEST) - about)))
    powers = subject.scores**SHARPNESS
    return _with_scores(subject, powers / powers.sum(1, keepdims=True))


def flip_smallest_slice(subject: Comparison, *, rows: int, groups: int) -> tuple[Comparison, str]:
    """Flip every decision in the smallest slice with at least `rows` rows and `groups` groups; return also its name.

    Raises NotApplicable without such a slice, or if the task has no decisions.
    """
    _require_decisions(subject)
    sizes = {(column, code): count for column, code, count in _slices(subject, rows=rows, groups=groups)}
    if not sizes:
        raise NotApplicable(f"no slice has {rows:,} rows and {groups} groups", hint="[data] slices")
    column, code = min(sizes, key=lambda part: sizes[part])
    inside = subject.slices[column].codes == code
    scores = subject.scores.copy()
    scores[inside] = _flipped(scores[inside], subject.threshold)
    return _with_scores(subject, scores), f"{column}={subject.slices[column].values[code]}"


def fill_missing_values(subject: Comparison) -> Comparison:
    """Read missing values as 0, the minimum or the maximum, whichever changes most decisions.

    Raises NotApplicable if no row has a missing value, no decision depends on it, or the task has no decisions.
    """
    _require_decisions(subject)
    missing = np.isnan(subject.rows)
    if not missing.any():
        raise NotApplicable("no value is missing")
    with np.errstate(invalid="ignore"):
        known = np.where(missing.all(0), 0.0, subject.rows)
    before = decide_class(subject.scores, subject.threshold)
    readings = (np.zeros(known.shape[1]), np.nanmin(known, axis=0), np.nanmax(known, axis=0))
    answers = [subject.model.predict(np.where(missing, reading, subject.rows)) for reading in readings]
    changed = [int((decide_class(scores, subject.threshold) != before).sum()) for scores in answers]
    if not max(changed):
        raise NotApplicable("no decision depends on how a missing value is read")
    return _with_scores(subject, answers[int(np.argmax(changed))])


def _slices(subject: Comparison, *, rows: int, groups: int) -> Iterator[tuple[str, int, int]]:
    """Yield column, code and rows of each slice that is large enough."""
    for name, column in subject.slices.items():
        for code in range(len(column.values)):
            inside = column.codes == code
            if inside.sum() >= rows and len(np.unique(subject.groups[inside])) >= groups:
                yield name, code, int(inside.sum())


def _flipped(scores: Floats, threshold: float) -> Floats:
    """Flip the decisions of scores [n, k], keeping their confidence."""
    if scores.shape[1] == 1:
        return sigmoid(2 * logit(np.array(threshold), epsilon=_SMALLEST) - logit(scores, epsilon=_SMALLEST) - _SMALLEST)
    return np.roll(scores, 1, axis=1)


def _require_decisions(subject: Comparison) -> None:
    if subject.variant.task not in CLASSIFIERS:
        raise NotApplicable(f"a {subject.variant.task} model makes no decisions")


def _with_scores(subject: Comparison, scores: Floats) -> Comparison:
    return replace(without_proofs(subject), scores=scores, decisions=None)
