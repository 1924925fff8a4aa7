"""The gate as JUnit XML: one test case a rule, so that a CI system lists rules as it lists tests.

Undecided is an `error`, not `skipped`: GitLab, Jenkins and GitHub's actions count an error as a test that did not pass,
while most of them leave a skipped test out of what decides. A policy without rules is an error too, or the file would
hold no test and look green. What a person passed over the judge's head is `skipped`: not red, and not said to pass.
"""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from headway.core.verdict import Ruling
from headway.face import numbers, words
from headway.face.gates import case as cases
from headway.face.gates.case import Case
from headway.face.one_line import one_line

OF_ANSWER = {"fail": "failure", "undecided": "error", "pass": "system-out"}
COUNTED = {"failure": "failures", "error": "errors", "skipped": "skipped"}


def report(case: Case) -> str:
    """The XML of a case; it names no hour, no host and no duration, which are of the machine."""
    tests = [_test(case, ruling) for ruling in case.verdict.rulings] or [_without_rules(case)]
    kinds = Counter(child.tag for test in tests for child in test)
    counts = {"tests": str(len(tests)), **{name: str(kinds[kind]) for kind, name in COUNTED.items()}}
    top = Element("testsuites", {"name": "headway gate", **counts})
    suite = SubElement(top, "testsuite", {"name": f"headway gate: {one_line(case.project)}", **counts})
    suite.append(_properties(case))
    suite.extend(tests)
    SubElement(suite, "system-out").text = one_line(f"{cases.reason(case.verdict)}; {cases.looks(case.verdict)}")
    warning = cases.warning(case.verdict)
    if warning:
        SubElement(suite, "system-err").text = f"warning: {warning}"
    ElementTree.indent(top)
    written: bytes = ElementTree.tostring(top, encoding="utf-8", xml_declaration=True)
    return f"{written.decode()}\n"


def _properties(case: Case) -> Element:
    found = {
        "verdict": case.verdict.answer,
        "variant": case.variant,
        "subject": case.verdict.subject,
        "dataset": case.evidence.dataset,
        "period": case.evidence.period,
        "looks_at_test": str(case.verdict.looks_at_test),
        **{each.name: numbers.measured(each) for each in case.speed},
    }
    properties = Element("properties")
    for name, value in found.items():
        SubElement(properties, "property", name=name, value=one_line(value))
    return properties


def _test(case: Case, ruling: Ruling) -> Element:
    test = Element("testcase", classname=f"headway.{one_line(case.project)}", name=one_line(str(ruling.rule)))
    kind, says = OF_ANSWER[ruling.answer], one_line(ruling.says)
    if kind == "system-out":
        SubElement(test, kind).text = says
    elif case.verdict.overridden:
        SubElement(test, "skipped", message=one_line(f"{cases.reason(case.verdict)}; the judge: {says}"))
    else:
        SubElement(test, kind, type=ruling.answer, message=says).text = one_line(words.ruled(ruling))
    return test


def _without_rules(case: Case) -> Element:
    test = Element("testcase", classname=f"headway.{one_line(case.project)}", name="the policy has rules")
    passed = case.verdict.answer == "pass"
    message = one_line(cases.reason(case.verdict))
    SubElement(test, "skipped" if passed else "error", type=case.verdict.answer, message=message)
    return test
