"""D010: a column of the contract that is absent or of another type, or one that the contract does not name."""

from __future__ import annotations

from headway.core.contracts import Survey
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.contract.file import of_project
from headway.data.contract.findings import breaks, left_out


def plugin(survey: Survey) -> list[Finding]:
    """A `stop` for each column that is absent or holds values of another type; a `note` for those that nobody named.

    Where there is no contract it says so for all checks of the family, which then find nothing.
    """
    contract = of_project(survey.config)
    if contract is None:
        file = survey.config.data.contract
        raise NotApplicable(
            f"there is no {file}: types, ranges, values, keys and relations are held to nothing",
            hint="headway contract discover",
        )
    return [*breaks(survey, "D010"), *left_out(contract, survey)]
