"""Discover or import the contract of a project's data, check data against it, and decide on rows in quarantine."""

from __future__ import annotations

from getpass import getuser
from pathlib import Path
from typing import Any, Literal

from rich.console import Group
from rich.text import Text

from headway.cli.exit_codes import PASS, of_findings
from headway.cli.main import AsJson, ProjectFolder
from headway.core import config
from headway.core.quarantine import Decision
from headway.data.contract.check import (
    ContractReport,
    check_contract,
    discover_project_contract,
    save_project_contract,
)
from headway.data.contract.quarantine import decide_rows, list_quarantine, read_rows
from headway.data.contract.schema_import import import_schema
from headway.data.contract.table_contract import TableContract
from headway.monitoring.assessment import history
from headway.registry.project import project_of
from headway.reporting.console import print_result
from headway.reporting.text.terminal import render_findings

MAX_SHOWN = 1000


def plugin(
    action: Literal["discover", "check", "import", "quarantine", "release", "discard"] = "check",
    file: str = "",
    *,
    replace: bool = False,
    passed: Path | None = None,
    row: tuple[int, ...] = (),
    why: str = "",
    who: str = "",
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """Discover or import the allowed values of each column, check data against them, or decide on the rows that fail.

    Exit 1 if a row fails, else 0.

    Example: headway contract discover --replace --project headway-demo
    Example: headway contract check flights.parquet --passed valid.parquet --project headway-demo
    Example: headway contract quarantine --project headway-demo

    Parameters
    ----------
    action
        discover (writes contract.toml, to be read and edited), import (writes what a schema declares), check,
        quarantine (list the files of rows that failed, or the rows of one), release (rows of a file are right: they
        pass from now on) or discard (they are left out wherever they come again, also of the project's own data).
    file
        For check: a parquet, csv or arrow file, which may be larger than memory; default: the project's table. For
        import: a table schema (JSON), a pandera schema (JSON, YAML or module:name) or a dataframely schema
        (module:name). For quarantine, release and discard: a name that quarantine lists.
    replace
        For discover and import: overwrite an existing contract.
    passed
        For check: write the rows that pass to this parquet file.
    row
        For release and discard, repeat for several: numbers that quarantine shows; default: all rows of the file.
    why
        For release and discard: the reason, for later readers.
    who
        For release and discard: who decides; default: the name of the user.
    """
    settings = config.load(project)
    value: Any
    if action == "check":
        result = check_contract(settings, Path(file) if file else None, passed=passed)
        history.save_contract_evidence(project_of(settings), result)
        print_result(result, Group(render_findings(result.findings), Text(_summary(result))), json=json)
        return of_findings(result.findings)
    if action in ("quarantine", "release", "discard"):
        value, lines = (
            _quarantine(settings, file)
            if action == "quarantine"
            else _decide(settings, file, row, "released" if action == "release" else "discarded", who or getuser(), why)
        )
    elif action == "discover":
        path, contract = discover_project_contract(settings, replace=replace)
        value, lines = {"path": str(path), "contract": contract}, [_counts(path, contract)]
    else:
        schema = import_schema(file, Path(settings.folder))
        dropped = [f"not imported, a contract cannot express it: {constraint}" for constraint in schema.unsupported]
        path = save_project_contract(
            schema.contract, settings, about=(f"Imported from {file}.", *dropped), replace=replace
        )
        value = {"path": str(path), "contract": schema.contract, "left": schema.unsupported}
        lines = [_counts(path, schema.contract), *dropped]
    print_result(value, "\n".join(lines), json=json)
    return PASS


def _quarantine(settings: config.Config, file: str) -> tuple[Any, list[str]]:
    """Return the files in quarantine, or the rows of one."""
    if file:
        rows = read_rows(settings, file, limit=MAX_SHOWN)
        return rows, [f"row {row.row:>9,}  {row.reason}" for row in rows]
    files = list_quarantine(settings)
    lines = [f"{found.file}  {found.n_rows:,} rows of {found.source}, checked {found.at}" for found in files]
    return files, lines or ["no row is in quarantine"]


def _decide(
    settings: config.Config, file: str, rows: tuple[int, ...], decision: Decision, who: str, why: str
) -> tuple[Any, list[str]]:
    opened = project_of(settings)
    found = decide_rows(settings, opened.state, file, rows, decision, who=who, why=why)
    return found, [f"{len(found.rows):,} rows of {found.file} {decision} by {found.who}"]


def _counts(path: Path, contract: TableContract) -> str:
    counts = f"{len(contract.columns)} columns, {len(contract.unique)} keys, {len(contract.relations)} relations"
    return f"{path}: {counts}"


def _summary(result: ContractReport) -> str:
    counts = f"{result.n_failing:,} of {result.n_rows:,} rows of {result.source} fail ({result.n_rules:,} rules)"
    failing = f"; failing rows and reasons: {result.quarantine}" if result.quarantine else ""
    passing = f"; passing rows: {result.passed}" if result.passed else ""
    return f"{counts}{failing}{passing}"
