"""Discover or import the contract of a project's data, and check a table or a file of any size against it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from rich.console import Group
from rich.text import Text

from headway.cli.exit_codes import PASS, of_findings
from headway.cli.main import AsJson, ProjectFolder
from headway.core import config
from headway.data.contract.check import (
    ContractReport,
    check_contract,
    discover_project_contract,
    save_project_contract,
)
from headway.data.contract.schema_import import import_schema
from headway.data.contract.table_contract import TableContract
from headway.monitoring.assessment import history
from headway.registry.project import project_of
from headway.reporting.console import print_result
from headway.reporting.text.terminal import render_findings


def plugin(
    action: Literal["discover", "check", "import"] = "check",
    file: str = "",
    *,
    replace: bool = False,
    passed: Path | None = None,
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """Discover or import the allowed values of each column, or check data against them. Exit 1 if a row fails, else 0.

    Example: headway contract discover --replace --project headway-demo
    Example: headway contract check flights.parquet --passed valid.parquet --project headway-demo

    Parameters
    ----------
    action
        discover (writes contract.toml, to be read and edited), import (writes what a schema declares) or check.
    file
        For check: a parquet, csv or arrow file, which may be larger than memory; default: the project's table. For
        import: a table schema (JSON), a pandera schema (JSON, YAML or module:name) or a dataframely schema
        (module:name).
    replace
        For discover and import: overwrite an existing contract.
    passed
        For check: write the rows that pass to this parquet file.
    """
    settings = config.load(project)
    if action == "check":
        result = check_contract(settings, Path(file) if file else None, passed=passed)
        history.save_contract_evidence(project_of(settings), result)
        print_result(result, Group(render_findings(result.findings), Text(_summary(result))), json=json)
        return of_findings(result.findings)
    value: dict[str, Any]
    if action == "discover":
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


def _counts(path: Path, contract: TableContract) -> str:
    counts = f"{len(contract.columns)} columns, {len(contract.unique)} keys, {len(contract.relations)} relations"
    return f"{path}: {counts}"


def _summary(result: ContractReport) -> str:
    counts = f"{result.n_failing:,} of {result.n_rows:,} rows of {result.source} fail ({result.n_rules:,} rules)"
    failing = f"; failing rows and reasons: {result.quarantine}" if result.quarantine else ""
    passing = f"; passing rows: {result.passed}" if result.passed else ""
    return f"{counts}{failing}{passing}"
