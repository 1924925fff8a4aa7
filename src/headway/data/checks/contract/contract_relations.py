"""D016: Columns violate a relation of the contract."""

from __future__ import annotations

from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.contract.check import contract_findings

CODES = ("D016",)


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per relation. For `a -> b`, all rows of an `a` with several values of `b` count."""
    return contract_findings(context, "D016")
