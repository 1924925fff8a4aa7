"""Test reports of gate and check, written as JUnit XML and SARIF."""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal
from urllib.parse import quote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import msgspec

from headway.core.record import Record, digest_of
from headway.core.verdict import RuleResult, Verdict
from headway.reporting.gates import gate
from headway.reporting.gates.gate import GateResult
from headway.reporting.text import formatting, words
from headway.reporting.text.formatting import one_line

Answer = Literal["pass", "fail", "undecided", "warn", "note", "unjudged"]
NO_RULE, EVALUATIONS = "policy", "test_evaluations"
TITLES = {NO_RULE: "The policy has rules", EVALUATIONS: "The test set was evaluated once"}


class TestCase(Record, frozen=True, kw_only=True):
    """A rule with its answer, or a check with its finding.

    `rule` is its id in code scanning, `title` and `meaning` explain it, `name` is that of the test. `key` identifies
    the case across runs. `accepted` is the reason why a person passed it. `column` is the column it is about, and
    `file` the file with that column where it is not the report's.
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
    """The cases of one run and a summary; `of` is `gate` or `check`, `where` the file it is about.

    Cases in `aside` are not tests: they appear in code scanning only.
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
    """Return the test report of the gate: one case per rule, or one for a policy without rules."""
    verdict, warning = case.verdict, gate.reuse_warning(case.verdict)
    reuse = TestCase(
        rule=EVALUATIONS,
        title=TITLES[EVALUATIONS],
        name=EVALUATIONS,
        answer="note",
        message=warning,
        key=EVALUATIONS,
    )
    return TestReport(
        of="gate",
        project=case.project,
        answer=verdict.answer,
        entries=tuple(_rule_case(verdict, rule_result) for rule_result in verdict.rule_results)
        or (_no_rules_case(verdict),),
        aside=(reuse,) if warning else (),
        properties={
            "verdict": verdict.answer,
            "variant": case.variant,
            "subject": verdict.subject,
            "dataset": case.evidence.dataset,
            "period": case.evidence.period,
            **({"change": case.change} if case.change else {}),
            EVALUATIONS: str(verdict.test_evaluations),
            **{measurement.name: formatting.format_measurement(measurement) for measurement in case.speed},
        },
        facts={"verdict": verdict.answer, EVALUATIONS: verdict.test_evaluations},
        summary="; ".join(
            filter(None, (case.change, gate.verdict_reason(verdict), gate.describe_evaluations(verdict)))
        ),
        warning=warning,
        where=case.where,
    )


def _rule_case(verdict: Verdict, rule_result: RuleResult) -> TestCase:
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
        accepted=gate.verdict_reason(verdict) if verdict.overridden else "",
    )


def _no_rules_case(verdict: Verdict) -> TestCase:
    reason = gate.verdict_reason(verdict)
    return TestCase(
        rule=NO_RULE,
        title=TITLES[NO_RULE],
        name="the policy has rules",
        answer="undecided",
        message=reason,
        key=NO_RULE,
        accepted=reason if verdict.answer == "pass" else "",
    )


JUNIT_KINDS = {"fail": "failure", "undecided": "error", "unjudged": "skipped"}
SILENT = "system-out"
COUNTED = {"failure": "failures", "error": "errors", "skipped": "skipped"}


def gate_junit(case: GateResult) -> str:
    """Return the gate's result as JUnit XML."""
    return to_junit(gate_test_report(case))


def to_junit(report: TestReport) -> str:
    """Return a test report as JUnit XML, without time, host or duration."""
    tests = [_junit_test(report, entry) for entry in report.entries]
    kinds = Counter(child.tag for test in tests for child in test)
    counts = {"tests": str(len(tests)), **{name: str(kinds[kind]) for kind, name in COUNTED.items()}}
    title = f"headway {report.of}"
    top = Element("testsuites", {"name": title, **counts})
    suite = SubElement(top, "testsuite", {"name": f"{title}: {one_line(report.project)}", **counts})
    suite.append(_junit_properties(report))
    suite.extend(tests)
    SubElement(suite, "system-out").text = one_line(report.summary)
    if report.warning:
        SubElement(suite, "system-err").text = f"warning: {report.warning}"
    ElementTree.indent(top)
    content: bytes = ElementTree.tostring(top, encoding="utf-8", xml_declaration=True)
    return f"{content.decode()}\n"


def _junit_properties(report: TestReport) -> Element:
    properties = Element("properties")
    for name, value in report.properties.items():
        SubElement(properties, "property", name=name, value=one_line(value))
    return properties


def _junit_test(report: TestReport, entry: TestCase) -> Element:
    test = Element("testcase", classname=f"headway.{one_line(report.project)}", name=one_line(entry.name))
    kind, message = JUNIT_KINDS.get(entry.answer, SILENT), one_line(entry.message)
    if kind == SILENT:
        SubElement(test, kind).text = message if entry.answer == "pass" else f"{entry.answer}: {message}"
    elif entry.accepted:
        judged = "" if entry.accepted == entry.message else f"; the policy: {message}"
        SubElement(test, "skipped", message=one_line(f"{entry.accepted}{judged}"))
    elif kind == "skipped":
        SubElement(test, kind, message=message)
    else:
        SubElement(test, kind, type=entry.answer, message=message).text = one_line(entry.detail)
    return test


SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
SARIF_LEVELS: dict[Answer, str] = {
    "fail": "error",
    "undecided": "warning",
    "warn": "warning",
    "note": "note",
    "unjudged": "note",
}
"""Most severe first."""


def gate_sarif(case: GateResult) -> str:
    """Return the gate's result as SARIF."""
    return to_sarif(gate_test_report(case))


def to_sarif(report: TestReport) -> str:
    """Return a test report as SARIF JSON; its texts have neither links nor placeholders."""
    cases = (*report.entries, *report.aside)
    found = [entry for answer in SARIF_LEVELS for entry in cases if entry.answer == answer]
    rules = {entry.rule: entry for entry in reversed(cases)}
    names = list(dict.fromkeys(entry.rule for entry in cases))
    run = {
        "tool": {"driver": {"name": "headway", "rules": [_sarif_rule(rules[name]) for name in names]}},
        "automationDetails": {"id": f"headway-{report.of}/{one_line(report.project)}/"},
        "columnKind": "unicodeCodePoints",
        "properties": report.facts,
        "results": [_sarif_result(entry, names.index(entry.rule), report.where) for entry in found],
    }
    log = {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(log), indent=2).decode() + "\n"


def sarif_text(text: str) -> str:
    r"""Escape a text for `message.text`, where braces are placeholders and `[a](b)` is a link; never empty.

    >>> sarif_text("{0} [a](b)")
    '{{0}} [a\\](b)'
    """
    doubled = one_line(text).replace("{", "{{").replace("}", "}}")
    return re.sub(r"(\\*)\]\(", lambda found: f"{found[1] * 2}\\](", doubled) or "-"


def _sarif_rule(entry: TestCase) -> dict[str, object]:
    described = {"fullDescription": {"text": sarif_text(entry.meaning)}} if entry.meaning else {}
    return {"id": entry.rule, "shortDescription": {"text": sarif_text(entry.title)}, **described}


def _sarif_location(entry: TestCase, where: str) -> dict[str, object]:
    """Return file and column of a case: viewers show the file and group by the column."""
    file = entry.file or where
    physical = {"artifactLocation": {"uri": quote(file)}, "region": {"startLine": 1}}
    if not entry.column:
        return {"physicalLocation": physical}
    column = one_line(entry.column)
    named = {"name": column, "fullyQualifiedName": f"{one_line(file)}/{column}", "kind": "member"}
    return {"physicalLocation": physical, "logicalLocations": [named]}


def _sarif_result(entry: TestCase, index: int, where: str) -> dict[str, object]:
    """Return the result of a case that did not pass; one that a person accepted is a suppressed note."""
    accepted = {"kind": "external", "status": "accepted", "justification": one_line(entry.accepted)}
    return {
        "ruleId": entry.rule,
        "ruleIndex": index,
        "level": "note" if entry.accepted else SARIF_LEVELS[entry.answer],
        "message": {"text": sarif_text(f"{entry.answer}: {entry.message}")},
        "locations": [_sarif_location(entry, where)],
        "partialFingerprints": {"primaryLocationLineHash": f"{digest_of(entry.key.encode())[7:23]}:1"},
        **({"suppressions": [accepted]} if entry.accepted else {}),
        "properties": {"answer": entry.answer},
    }
