"""D014: texts of another form or length than the contract says."""

from __future__ import annotations

from headway.core.contracts import CheckContext
from headway.core.evidence import Finding
from headway.data.contract.check import contract_findings


def plugin(survey: CheckContext) -> list[Finding]:
    """A finding for each pattern and each end of a length; measured is the share of rows."""
    return contract_findings(survey, "D014")
