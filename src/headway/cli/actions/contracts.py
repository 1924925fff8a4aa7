"""What each action of `headway contract` does and shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from headway.cli.exit_codes import of_findings
from headway.core.config import Config
from headway.data.contract.checked import Checked, agree, checked, keep
from headway.data.contract.terms import TableContract
from headway.data.schemas.read import said_by
from headway.monitoring.assessment import of_contract
from headway.registry.project import project_of
from headway.reporting.text.tables import findings_table

Word = Literal["discover", "check", "import"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What an action may be told."""

    replace: bool = False
    "For discover and import: write it anew over the one there is."
    passed: Path | None = None
    "For check: a parquet file to write the rows to that pass."


class Done(NamedTuple):
    """What an action gave, the same for a person, and how the command ends."""

    value: Any
    message: RenderableType
    code: int = 0


def carry_out(settings: Config, word: Word, file: str, *, given: Given) -> Done:
    """Do one action on the contract of a project."""
    if word == "discover":
        path, contract = agree(settings, replace=given.replace)
        return Done({"path": str(path), "contract": contract}, _counted(path, contract))
    if word == "import":
        said = said_by(file, Path(settings.folder))
        path = keep(
            said.contract, settings, about=(f"Taken from {file}.", *map(_left, said.left)), replace=given.replace
        )
        value = {"path": str(path), "contract": said.contract, "left": said.left}
        return Done(value, "\n".join([_counted(path, said.contract), *map(_left, said.left)]))
    found = checked(settings, Path(file) if file else None, passed=given.passed)
    of_contract.keep(project_of(settings), found)
    return Done(found, Group(findings_table(found.findings), Text(_summary(found))), of_findings(found.findings))


def _counted(path: Path, contract: TableContract) -> str:
    counts = f"{len(contract.columns)} columns, {len(contract.unique)} keys, {len(contract.relations)} relations"
    return f"{path}: {counts}"


def _left(what: str) -> str:
    return f"not in it, for no contract can say it: {what}"


def _summary(found: Checked) -> str:
    kept = f"; they are in {found.quarantine}, with the reasons" if found.quarantine else ""
    passed = f"; those that pass are in {found.passed}" if found.passed else ""
    rules = f"{found.n_rules:,} rules"
    return f"{found.n_failing:,} of {found.n_rows:,} rows of {found.source} fail ({rules}){kept}{passed}"
