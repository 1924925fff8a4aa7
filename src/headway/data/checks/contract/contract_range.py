"""D012: numbers, dates or times that lie outside the range of the contract."""

from __future__ import annotations

from headway.core.contracts import CheckContext
from headway.core.evidence import Finding
from headway.data.contract.check import contract_findings


def plugin(survey: CheckContext) -> list[Finding]:
    """A finding for each end of a range that is passed; measured is the share of rows."""
    return contract_findings(survey, "D012")
