"""Summarize findings by the eight kinds of leakage of Kapoor and Narayanan (2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from headway.core import plugins
from headway.core.assessment import UNJUDGED
from headway.core.evidence import Finding
from headway.core.record import Record
from headway.data.check import check_codes, unjudged_check

Answer = Literal["found", "suspected", "undecided", "clear", "partly checked", "not applicable"]

LEAKAGE_CODES = {
    "no test set": ("D020",),
    "preprocessing on training and test": ("D021",),
    "columns chosen on training and test": ("D022",),
    "duplicates": ("D023", "D024"),
    "features that are not legitimate": ("D002", "D003", "D005", "D025", "D026", "D033"),
    "temporal leakage": ("D028",),
    "dependence between training and test": ("D029",),
    "sampling bias": ("D004", "D027"),
}
"""The codes of the checks of each kind."""


class LeakageKind(Record, frozen=True, kw_only=True):
    """A kind of leakage with the result of its checks.

    `found` is a finding that stops, `suspected` one that warns, for a person to decide. `clear` means that every check
    ran and none has more than a note, `partly checked` that some ran, and `not applicable` that none could. `why` also
    names the checks that did not run. `not_run` are their codes.
    """

    name: str
    answer: Answer
    why: str
    codes: tuple[str, ...]
    not_run: tuple[str, ...] = ()


def summarize_leakage(findings: Sequence[Finding]) -> list[LeakageKind]:
    """Return the result for each of the eight kinds, from the findings of all checks."""
    installed = plugins.names("check")
    not_run: dict[str, str] = {}
    for finding in findings:
        if finding.code == UNJUDGED and (name := unjudged_check(finding)) in installed:
            not_run |= dict.fromkeys(check_codes(name), finding.reason or finding.message)
    return [_summarize(kind, codes, findings, not_run) for kind, codes in LEAKAGE_CODES.items()]


def _summarize(
    name: str, codes: tuple[str, ...], findings: Sequence[Finding], not_run: Mapping[str, str]
) -> LeakageKind:
    own = [finding for finding in findings if finding.code in codes]
    severe = [finding for finding in own if finding.severity in ("stop", "warn")]
    undecided = [finding for finding in own if finding.severity == "undecided"]
    notes = [finding for finding in own if finding.severity == "note"]
    ran = [code for code in codes if code not in not_run]
    absent = tuple(code for code in codes if code in not_run)
    without: Answer = "clear" if not absent else "partly checked" if ran else "not applicable"
    stops = any(finding.severity == "stop" for finding in severe)
    answer: Answer = "found" if stops else "suspected" if severe else "undecided" if undecided else without
    shown = severe or undecided or notes
    reasons = [f"{', '.join(ran)} found nothing"] if answer in ("clear", "partly checked") and not notes else []
    reasons += [f"{finding.code} {finding.message}" for finding in shown[:1]]
    if len(shown) > 1:
        reasons.append(f"{len(shown) - 1} more finding{'s' if len(shown) > 2 else ''}")
    reasons += [f"{code} did not run: {not_run[code]}" for code in absent]
    return LeakageKind(name=name, answer=answer, why="; ".join(reasons), codes=codes, not_run=absent)
