"""D012: A number, date or time is outside the range of the contract."""

from __future__ import annotations

from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.contract.check import contract_findings

CODES = ("D012",)


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per violated bound; `measured` is the share of rows."""
    return contract_findings(context, "D012")
