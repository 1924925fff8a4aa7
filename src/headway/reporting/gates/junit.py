"""A bulletin as JUnit XML: one test case an entry, so that a CI system lists rules and checks as it lists tests.

Undecided is an `error`, not `skipped`: GitLab, Jenkins and GitHub's actions count an error as a test that did not pass,
while most of them leave a skipped test out of what decides. A policy without rules is an error too, or the file would
hold no test and look green. What a person passed over the judge's head is `skipped`: not red, and not said to pass; so
is a check that could not judge.
"""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from headway.reporting.gates.bulletin import TestCase, TestReport, gate_test_report
from headway.reporting.gates.case import GateResult
from headway.reporting.text.one_line import one_line

OF_ANSWER = {"fail": "failure", "undecided": "error", "unjudged": "skipped"}
SILENT = "system-out"
COUNTED = {"failure": "failures", "error": "errors", "skipped": "skipped"}


def gate_junit(case: GateResult) -> str:
    """The XML of a case of the gate."""
    return to_junit(gate_test_report(case))


def to_junit(bulletin: TestReport) -> str:
    """The XML of a bulletin; it names no hour, no host and no duration, which are of the machine."""
    tests = [_test(bulletin, entry) for entry in bulletin.entries]
    kinds = Counter(child.tag for test in tests for child in test)
    counts = {"tests": str(len(tests)), **{name: str(kinds[kind]) for kind, name in COUNTED.items()}}
    title = f"headway {bulletin.of}"
    top = Element("testsuites", {"name": title, **counts})
    suite = SubElement(top, "testsuite", {"name": f"{title}: {one_line(bulletin.project)}", **counts})
    suite.append(_properties(bulletin))
    suite.extend(tests)
    SubElement(suite, "system-out").text = one_line(bulletin.summary)
    if bulletin.warning:
        SubElement(suite, "system-err").text = f"warning: {bulletin.warning}"
    ElementTree.indent(top)
    content: bytes = ElementTree.tostring(top, encoding="utf-8", xml_declaration=True)
    return f"{content.decode()}\n"


def _properties(bulletin: TestReport) -> Element:
    properties = Element("properties")
    for name, value in bulletin.properties.items():
        SubElement(properties, "property", name=name, value=one_line(value))
    return properties


def _test(bulletin: TestReport, entry: TestCase) -> Element:
    test = Element("testcase", classname=f"headway.{one_line(bulletin.project)}", name=one_line(entry.name))
    kind, message = OF_ANSWER.get(entry.answer, SILENT), one_line(entry.message)
    if kind == SILENT:
        SubElement(test, kind).text = message if entry.answer == "pass" else f"{entry.answer}: {message}"
    elif entry.accepted:
        judged = "" if entry.accepted == entry.message else f"; the judge: {message}"
        SubElement(test, "skipped", message=one_line(f"{entry.accepted}{judged}"))
    elif kind == "skipped":
        SubElement(test, kind, message=message)
    else:
        SubElement(test, kind, type=entry.answer, message=message).text = one_line(entry.detail)
    return test
