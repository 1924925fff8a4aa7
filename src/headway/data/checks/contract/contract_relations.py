"""D016: columns that go together otherwise than the contract says."""

from __future__ import annotations

from headway.core.contracts import CheckContext
from headway.core.evidence import Finding
from headway.data.contract.check import contract_findings


def plugin(survey: CheckContext) -> list[Finding]:
    """A finding for each relation; of `a -> b`, all rows of a value that tells two others count."""
    return contract_findings(survey, "D016")
