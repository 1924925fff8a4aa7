"""D010: a column of the contract that is absent or of another type, or one that the contract does not name."""

from __future__ import annotations

from headway.core.contracts import CheckContext
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.contract.check import contract_findings, uncovered_columns
from headway.data.contract.table_contract import load_project_contract


def plugin(survey: CheckContext) -> list[Finding]:
    """A `stop` for each column that is absent or holds values of another type; a `note` for those that nobody named.

    Where there is no contract it says so for all checks of the family, which then find nothing.
    """
    contract = load_project_contract(survey.config)
    if contract is None:
        file = survey.config.data.contract
        raise NotApplicable(
            f"there is no {file}: types, ranges, values, keys and relations are held to nothing",
            hint="headway contract discover",
        )
    return [*contract_findings(survey, "D010"), *uncovered_columns(contract, survey)]
