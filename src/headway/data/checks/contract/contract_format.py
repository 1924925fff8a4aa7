"""D014: A string does not match the pattern or the length limits of the contract."""

from __future__ import annotations

from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.contract.check import contract_findings

CODES = ("D014",)


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per violated pattern or length limit; `measured` is the share of rows."""
    return contract_findings(context, "D014")
