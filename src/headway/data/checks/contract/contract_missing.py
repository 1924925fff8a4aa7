"""D011: values that are missing more often than the contract says."""

from __future__ import annotations

from headway.core.contracts import CheckContext
from headway.core.evidence import Finding
from headway.data.contract.check import contract_findings


def plugin(survey: CheckContext) -> list[Finding]:
    """A finding for each column; `stop` where no row may lack a value, `warn` where a larger share of them does."""
    return contract_findings(survey, "D011")
