"""D015: rows that share what the contract says is the key of one alone."""

from __future__ import annotations

from headway.core.contracts import CheckContext
from headway.core.evidence import Finding
from headway.data.contract.check import contract_findings


def plugin(survey: CheckContext) -> list[Finding]:
    """A finding for each key; all rows that share it count, for nobody can tell which of them is right."""
    return contract_findings(survey, "D015")
