"""D010: A column of the contract is missing or has another type, or the contract does not name a column."""

from __future__ import annotations

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.contract.check import contract_findings, uncovered_columns
from headway.data.contract.table_contract import load_project_contract
from headway.data.settings.data import DataSection

CODES = ("D010",)


def plugin(context: CheckContext) -> list[Finding]:
    """Return a `stop` per missing or mistyped column, and a `note` on columns that the contract does not name.

    Raises
    ------
    NotApplicable
        If the project has no contract. The other checks of the family then return nothing.
    """
    contract = load_project_contract(context.config)
    if contract is None:
        file = context.config[DataSection].contract
        raise NotApplicable(
            f"no {file}: types, ranges, values, keys and relations are not checked",
            hint="headway contract discover",
        )
    return [*contract_findings(context, "D010"), *uncovered_columns(contract, context)]
