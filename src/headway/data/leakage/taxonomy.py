"""Summarize findings by the eight kinds of leakage of Kapoor and Narayanan (2023)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from headway.core import plugins
from headway.core.evidence import Finding
from headway.core.record import Record

Answer = Literal["found", "undecided", "clear", "not applicable"]

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

_UNABLE = "D000"
_DID_NOT_RUN = re.compile(r"check '([^']+)' did not run: (.*)")


class LeakageKind(Record, frozen=True, kw_only=True):
    """A kind of leakage with the result of its checks.

    `found` is a finding that stops or warns. `clear` means that no check that ran has more than a note. `not
    applicable` means that none could run. `why` also names the checks that did not run.
    """

    name: str
    answer: Answer
    why: str
    codes: tuple[str, ...]


def summarize_leakage(findings: Sequence[Finding]) -> list[LeakageKind]:
    """Return the result for each of the eight kinds, from the findings of all checks."""
    codes = {name: plugins.describe("check", name)[:4] for name in plugins.names("check")}
    unable: dict[str, str] = {}
    for finding in findings:
        said = _DID_NOT_RUN.match(finding.message) if finding.code == _UNABLE else None
        if said:
            unable[codes[said[1]]] = said[2]
    return [_kind(name, of, findings, unable) for name, of in LEAKAGE_CODES.items()]


def _kind(name: str, codes: tuple[str, ...], findings: Sequence[Finding], unable: dict[str, str]) -> LeakageKind:
    own = [finding for finding in findings if finding.code in codes]
    grave = [finding for finding in own if finding.severity in ("stop", "warn")]
    silent = [finding for finding in own if finding.severity == "undecided"]
    notes = [finding for finding in own if finding.severity == "note"]
    did_not_run = [f"{code} did not run: {unable[code]}" for code in codes if code in unable]
    ran = [code for code in codes if code not in unable]
    answer: Answer = "found" if grave else "undecided" if silent else "clear" if ran else "not applicable"
    first = [f"{', '.join(ran)} found nothing"] if answer == "clear" and not notes else []
    told = [f"{finding.code} {finding.message}" for finding in (grave or silent or notes)[:1]]
    more = len(grave or silent or notes) - 1
    rest = [f"{more} more finding{'s' if more > 1 else ''}"] if more > 0 else []
    return LeakageKind(name=name, answer=answer, why="; ".join([*first, *told, *rest, *did_not_run]), codes=codes)
