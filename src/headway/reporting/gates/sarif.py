"""A bulletin as SARIF 2.1.0: a result for each entry that is no pass, for a list of alerts that close when it is.

A rule that passed is no result: GitHub shows an alert for every result, whatever its `kind`. So undecided is a warning
and no `open`, which lists of alerts pass over. GitHub asks for a place: it is the file that holds policy and settings,
or that of the data where a column of it is meant; the column is the logical location.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

from headway.core.record import digest_of
from headway.reporting.gates.bulletin import Answer, TestCase, TestReport, gate_test_report
from headway.reporting.gates.case import GateResult
from headway.reporting.text.one_line import one_line

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS: dict[Answer, str] = {
    "fail": "error",
    "undecided": "warning",
    "warn": "warning",
    "note": "note",
    "unjudged": "note",
}
"""The gravest first."""


def gate_sarif(case: GateResult) -> str:
    """The SARIF of a case of the gate."""
    return to_sarif(gate_test_report(case))


def to_sarif(bulletin: TestReport) -> str:
    """The SARIF of a bulletin as JSON of two spaces; texts have neither links nor placeholders."""
    every = (*bulletin.entries, *bulletin.aside)
    found = [entry for answer in LEVELS for entry in every if entry.answer == answer]
    rules = {entry.rule: entry for entry in reversed(every)}
    names = list(dict.fromkeys(entry.rule for entry in every))
    run = {
        "tool": {"driver": {"name": "headway", "rules": [_rule(rules[name]) for name in names]}},
        "automationDetails": {"id": f"headway-{bulletin.of}/{one_line(bulletin.project)}/"},
        "columnKind": "unicodeCodePoints",
        "properties": bulletin.facts,
        "results": [_result(each, names.index(each.rule), bulletin.where) for each in found],
    }
    whole = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode() + "\n"


def sarif_text(text: str) -> str:
    r"""A text for `message.text`, which is never empty, and in which braces would be placeholders and `[a](b)` a link.

    >>> sarif_text("{0} [a](b)")
    '{{0}} [a\\](b)'
    """
    doubled = one_line(text).replace("{", "{{").replace("}", "}}")
    return re.sub(r"(\\*)\]\(", lambda found: f"{found[1] * 2}\\](", doubled) or "-"


def _rule(entry: TestCase) -> dict[str, object]:
    described = {"fullDescription": {"text": sarif_text(entry.meaning)}} if entry.meaning else {}
    return {"id": entry.rule, "shortDescription": {"text": sarif_text(entry.title)}, **described}


def _place(entry: TestCase, where: str) -> dict[str, object]:
    """The file that an entry is about, and the column in it: viewers show the one, and group by the other."""
    file = entry.file or where
    physical = {"artifactLocation": {"uri": quote(file)}, "region": {"startLine": 1}}
    if not entry.column:
        return {"physicalLocation": physical}
    column = one_line(entry.column)
    named = {"name": column, "fullyQualifiedName": f"{one_line(file)}/{column}", "kind": "member"}
    return {"physicalLocation": physical, "logicalLocations": [named]}


def _result(entry: TestCase, index: int, where: str) -> dict[str, object]:
    """An entry that is no pass; where a person passed the whole, it is a note whose suppression names who and why."""
    accepted = {"kind": "external", "status": "accepted", "justification": one_line(entry.accepted)}
    return {
        "ruleId": entry.rule,
        "ruleIndex": index,
        "level": "note" if entry.accepted else LEVELS[entry.answer],
        "message": {"text": sarif_text(f"{entry.answer}: {entry.message}")},
        "locations": [_place(entry, where)],
        "partialFingerprints": {"primaryLocationLineHash": f"{digest_of(entry.key.encode())[7:23]}:1"},
        **({"suppressions": [accepted]} if entry.accepted else {}),
        "properties": {"answer": entry.answer},
    }
