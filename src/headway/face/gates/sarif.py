"""The gate as SARIF 2.1.0: a result for each rule that did not pass, for a list of alerts that close when it does.

A rule that passed is no result: GitHub shows an alert for every result, whatever its `kind`. So undecided is a warning
and no `open`, which lists of alerts pass over. GitHub asks for a place: it is the file that holds the policy.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

from headway.core.record import Record, digest_of
from headway.core.verdict import Ruling, Verdict
from headway.face import words
from headway.face.gates import case as cases
from headway.face.gates.case import Case
from headway.face.one_line import one_line

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {"fail": "error", "undecided": "warning"}
NO_RULE, LOOKS = "policy", "looks_at_test"


class _Found(Record, frozen=True, kw_only=True):
    """One result: the rule of SARIF it is of, how grave it is, what it says, and what makes it another than others."""

    rule: str
    level: str
    says: str
    key: str
    answer: str = "warning"
    accepted: str = ""


def report(case: Case) -> str:
    """The SARIF of a case as JSON of two spaces; texts have neither links nor placeholders."""
    found = _found(case.verdict)
    judged = (_id(each.rule.measure) for each in case.verdict.rulings)
    rules = list(dict.fromkeys([*judged, *(each.rule for each in found)]))
    run = {
        "tool": {"driver": {"name": "headway", "rules": [_rule(name) for name in rules]}},
        "automationDetails": {"id": f"headway-gate/{one_line(case.project)}/"},
        "columnKind": "unicodeCodePoints",
        "properties": {"verdict": case.verdict.answer, "looks_at_test": case.verdict.looks_at_test},
        "results": [_result(each, rules.index(each.rule), case.where) for each in found],
    }
    whole = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode() + "\n"


def message(text: str) -> str:
    r"""A text for `message.text`, which is never empty, and in which braces would be placeholders and `[a](b)` a link.

    >>> message("{0} [a](b)")
    '{{0}} [a\\](b)'
    """
    doubled = one_line(text).replace("{", "{{").replace("}", "}}")
    return re.sub(r"(\\*)\]\(", lambda found: f"{found[1] * 2}\\](", doubled) or "-"


def _found(verdict: Verdict) -> list[_Found]:
    found = [_of_ruling(verdict, each) for each in cases.against(verdict)]
    if not verdict.rulings:
        level = "note" if verdict.answer == "pass" else "warning"
        found.append(_Found(rule=NO_RULE, level=level, says=cases.reason(verdict), key=NO_RULE, answer=verdict.answer))
    warning = cases.warning(verdict)
    return [*found, *([_Found(rule=LOOKS, level="note", says=warning, key=LOOKS)] if warning else [])]


def _of_ruling(verdict: Verdict, ruling: Ruling) -> _Found:
    """A ruling that is no pass; where a person passed the whole, it is a note whose suppression names who and why."""
    accepted = cases.reason(verdict) if verdict.overridden else ""
    return _Found(
        rule=_id(ruling.rule.measure),
        level="note" if accepted else LEVELS[ruling.answer],
        says=f"{ruling.answer}: {ruling.says}",
        key=str(ruling.rule),
        answer=ruling.answer,
        accepted=accepted,
    )


def _id(measure: str) -> str:
    """What a rule is called in the file, where two rules of one measure are one."""
    return one_line(measure) or "-"


def _rule(name: str) -> dict[str, object]:
    titles = {NO_RULE: "The policy has rules", LOOKS: "The test set was looked at once"}
    meaning = words.meaning(name)
    described = {"fullDescription": {"text": message(meaning)}} if meaning else {}
    return {
        "id": name,
        "shortDescription": {"text": message(titles.get(name) or words.title(name))},
        **described,
    }


def _result(found: _Found, index: int, where: str) -> dict[str, object]:
    place = {"artifactLocation": {"uri": quote(where)}, "region": {"startLine": 1}}
    accepted = {"kind": "external", "status": "accepted", "justification": one_line(found.accepted)}
    return {
        "ruleId": found.rule,
        "ruleIndex": index,
        "level": found.level,
        "message": {"text": message(found.says)},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"primaryLocationLineHash": f"{digest_of(found.key.encode())[7:23]}:1"},
        **({"suppressions": [accepted]} if found.accepted else {}),
        "properties": {"answer": found.answer},
    }
