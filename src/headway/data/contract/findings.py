"""What a project's table breaks of its contract, as findings: a count, the first rows, and the mend."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec.structs import replace

from headway.core.config import Config
from headway.core.contracts import CheckContext
from headway.core.evidence import Finding
from headway.data.contract.file import load_project_contract
from headway.data.contract.hold import RuleViolation, ValidationResult, validate_table
from headway.data.contract.relations import parse_relation
from headway.data.contract.terms import TableContract

SHOWN = 5
MEND = "headway contract check, which puts those rows in quarantine; or correct the contract"


def contract_findings(survey: CheckContext, code: str) -> list[Finding]:
    """The findings of one code, none where the project has no contract, which D010 says."""
    contract = load_project_contract(survey.config)
    if contract is None:
        return []
    held = validate_table(without_rewritten_columns(contract, survey.config), survey.dataset.table, codes=[code])
    return to_findings(held, survey.config.data.contract)


def uncovered_columns(contract: TableContract, survey: CheckContext) -> list[Finding]:
    """A note on the columns that a table has and its contract does not name."""
    names = [name for name in survey.dataset.table.columns if name not in contract.columns]
    gone = {*survey.config.personal.hash, survey.config.data.target}
    return uncovered_finding([name for name in names if name not in gone], survey.config.data.contract)


def uncovered_finding(names: Sequence[str], file: str) -> list[Finding]:
    """A note that a contract does not name these columns, if there are any."""
    if not names:
        return []
    listed = ", ".join(f"'{name}'" for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    message = f"{len(names):,} {'column is' if len(names) == 1 else 'columns are'} not in the contract: {listed}"
    hint = "headway contract discover --replace writes it anew; or add a [columns.NAME]"
    return [Finding(code="D010", severity="note", message=message, where=file, measured=float(len(names)), hint=hint)]


def to_findings(held: ValidationResult, file: str) -> list[Finding]:
    """Each rule that was broken as a finding, on the contract in a file."""
    return [_finding(each, held.n_rows, file) for each in held.violations]


def without_rewritten_columns(contract: TableContract, config: Config) -> TableContract:
    """The contract without the columns of which `[data]` and `[personal]` make something else when data is opened."""
    section, personal = config.data, config.personal
    gone = {*personal.drop, *personal.hash}
    if section.positive or section.classes or section.task == "embedding":
        gone.add(section.target)
    return replace(
        contract,
        columns={name: terms for name, terms in contract.columns.items() if name not in gone},
        unique=tuple(key for key in contract.unique if not gone.intersection(key)),
        relations=tuple(text for text in contract.relations if not gone.intersection(parse_relation(text).columns)),
    )


def _finding(violated: RuleViolation, n_rows: int, file: str) -> Finding:
    rule, share = violated.rule, violated.count / max(1, n_rows)
    column = f"[columns.{rule.columns[0]}] in {file}"
    if rule.violated is None and rule.key_constraint is None:
        hint = f"write the column, or optional = true under {column}"
        return Finding(code=rule.code, severity="stop", message=rule.reason, where=file, hint=hint)
    message = f"{rule.reason}: {violated.count:,} of {n_rows:,} rows"
    if not rule.limit:
        where = _where(violated)
        return Finding(
            code=rule.code, severity="stop", message=message, where=where, measured=share, limit=0.0, hint=MEND
        )
    return Finding(
        code=rule.code,
        severity="warn",
        message=f"{message}, {share:.2%}",
        where=_where(violated),
        measured=share,
        limit=rule.limit,
        hint=f"missing = {math.ceil(share * 100) / 100} under {column}, or find those values",
    )


def _where(violated: RuleViolation) -> str:
    rows = f"row {', '.join(f'{row:,}' for row in violated.rows)}"
    return f"{rows}: {', '.join(map(str, violated.values))}" if violated.values else rows
