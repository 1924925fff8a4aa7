"""D015: Rows share a key that the contract declares unique."""

from __future__ import annotations

from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.contract.check import contract_findings

CODES = ("D015",)


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per key. All rows that share a key count, since none of them is known to be right."""
    return contract_findings(context, "D015")
