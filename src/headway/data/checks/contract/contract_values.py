"""D013: A value is not among the allowed values of the contract."""

from __future__ import annotations

from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.contract.check import contract_findings

CODES = ("D013",)


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per column; `measured` is the share of rows."""
    return contract_findings(context, "D013")
