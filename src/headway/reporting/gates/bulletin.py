"""A bulletin: what JUnit and SARIF are made of, whether the gate tells it of its rules or a check of its findings."""

from __future__ import annotations

from typing import Literal

from headway.core.record import Record
from headway.core.verdict import RuleResult, Verdict
from headway.reporting.gates import case as cases
from headway.reporting.gates.case import GateResult
from headway.reporting.text import numbers, words
from headway.reporting.text.one_line import one_line

Answer = Literal["pass", "fail", "undecided", "warn", "note", "unjudged"]
NO_RULE, LOOKS = "policy", "looks_at_test"
TITLES = {NO_RULE: "The policy has rules", LOOKS: "The test set was looked at once"}


class TestCase(Record, frozen=True, kw_only=True):
    """A rule with its answer, or a check with what it found.

    `rule` is what a list of alerts calls it, `title` and `meaning` say what that is; `name` is that of a test. `key`
    makes the entry the same one in another run. `accepted` is why a person passed it. `column` is the one it is about,
    and `file` that which holds it where that is not the bulletin's.
    """

    rule: str
    title: str
    name: str
    answer: Answer
    message: str
    meaning: str = ""
    detail: str = ""
    key: str = ""
    accepted: str = ""
    column: str = ""
    file: str = ""


class TestReport(Record, frozen=True, kw_only=True):
    """All entries of one run, and what is said of the whole; `of` is `gate` or `check`, `where` the file it is about.

    `aside` are entries that are no test: they stand in lists of alerts alone.
    """

    of: str
    project: str
    answer: str
    entries: tuple[TestCase, ...]
    aside: tuple[TestCase, ...] = ()
    properties: dict[str, str] = {}
    facts: dict[str, str | int] = {}
    summary: str = ""
    warning: str = ""
    where: str = ""


def gate_test_report(case: GateResult) -> TestReport:
    """The bulletin of the gate: an entry a rule, and one that says so where the policy has none."""
    verdict, warning = case.verdict, cases.reuse_warning(case.verdict)
    looked = TestCase(rule=LOOKS, title=TITLES[LOOKS], name=LOOKS, answer="note", message=warning, key=LOOKS)
    return TestReport(
        of="gate",
        project=case.project,
        answer=verdict.answer,
        entries=tuple(_of_ruling(verdict, rule_result) for rule_result in verdict.rule_results)
        or (_without_rules(verdict),),
        aside=(looked,) if warning else (),
        properties={
            "verdict": verdict.answer,
            "variant": case.variant,
            "subject": verdict.subject,
            "dataset": case.evidence.dataset,
            "period": case.evidence.period,
            "looks_at_test": str(verdict.test_evaluations),
            **{measurement.name: numbers.format_measurement(measurement) for measurement in case.speed},
        },
        facts={"verdict": verdict.answer, "looks_at_test": verdict.test_evaluations},
        summary=f"{cases.verdict_reason(verdict)}; {cases.describe_evaluations(verdict)}",
        warning=warning,
        where=case.where,
    )


def _of_ruling(verdict: Verdict, rule_result: RuleResult) -> TestCase:
    measure = rule_result.rule.measure
    return TestCase(
        rule=one_line(measure) or "-",
        title=words.measure_title(measure),
        meaning=words.measure_meaning(measure),
        name=str(rule_result.rule),
        answer=rule_result.answer,
        message=rule_result.message,
        detail=words.describe_rule_result(rule_result),
        key=str(rule_result.rule),
        accepted=cases.verdict_reason(verdict) if verdict.overridden else "",
    )


def _without_rules(verdict: Verdict) -> TestCase:
    reason = cases.verdict_reason(verdict)
    return TestCase(
        rule=NO_RULE,
        title=TITLES[NO_RULE],
        name="the policy has rules",
        answer="undecided",
        message=reason,
        key=NO_RULE,
        accepted=reason if verdict.answer == "pass" else "",
    )
