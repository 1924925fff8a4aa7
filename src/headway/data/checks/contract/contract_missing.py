"""D011: A column has more missing values than the contract allows."""

from __future__ import annotations

from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.contract.check import contract_findings

CODES = ("D011",)


def plugin(context: CheckContext) -> list[Finding]:
    """Return a `stop` where no value may be missing, and a `warn` where the allowed share is exceeded."""
    return contract_findings(context, "D011")
