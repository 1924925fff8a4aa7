"""Hold a project's table, or a file of any size, to the project's contract; rows that fail go to quarantine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from headway.core.config import Config
from headway.core.errors import ConfigError, DataError
from headway.core.evidence import Finding
from headway.core.record import Record
from headway.data.contract.discover import discover_contract
from headway.data.contract.file import load_project_contract, save_contract
from headway.data.contract.findings import to_findings, uncovered_finding, without_rewritten_columns
from headway.data.contract.frames import scan_file
from headway.data.contract.hold import Table, failing_rows, passing_rows, validate_table
from headway.data.contract.terms import TableContract
from headway.data.open import open_dataset
from headway.data.personal.policy import apply_personal_policy
from headway.data.read import resolve_path
from headway.data.roles import parse_roles
from headway.data.split import split_dataset
from headway.storage import atomic, quarantined, segments


class ContractReport(Record, frozen=True, kw_only=True):
    """What a contract found in a table: how many rows fail, where they were put, with what is told of each rule.

    `dataset` is the digest of the table's content, or of the bytes of a file, which may be larger than memory.
    """

    source: str
    dataset: str
    n_rows: int
    n_failing: int
    n_rules: int
    findings: tuple[Finding, ...] = ()
    quarantine: str = ""
    passed: str = ""


def discover_project_contract(config: Config, *, replace: bool = False) -> tuple[Path, TableContract]:
    """Discover the contract of a project's data and write it where `[data] contract` says, for people to edit.

    Raises ConfigError where there is one, unless it is to be replaced.
    """
    _expect_free(config, replace=replace)
    dataset = open_dataset(config)
    try:
        periods = split_dataset(dataset, config.split, fitted=bool(config.model.file))
    except DataError:
        periods = {}
    contract = discover_contract(dataset, periods, config)
    rows = sum(len(periods[name].table) for name in ("train", "validation") if name in periods) or len(dataset.table)
    about = (
        f"What the columns of '{config.project.name}' may be, as they were in {rows:,} rows of train and validation.",
        "Edit it: checks hold the data to it, and a server each request from the next release on (docs/contract.md).",
    )
    return save_project_contract(contract, config, about=about, replace=replace), contract


def save_project_contract(contract: TableContract, config: Config, *, about: Sequence[str], replace: bool) -> Path:
    """Write a contract where `[data] contract` says; raises ConfigError where there is one, unless it is replaced."""
    _expect_free(config, replace=replace)
    return save_contract(contract, config.path(config.data.contract), about=about)


def _expect_free(config: Config, *, replace: bool) -> None:
    path = config.path(config.data.contract)
    if path.exists() and not replace:
        hint = "headway contract discover --replace"
        raise ConfigError(f"there is a {path.name}, which people may have edited", where=str(path), hint=hint)


def check_contract(config: Config, file: Path | None = None, *, passed: Path | None = None) -> ContractReport:
    """The project's table or a file held to the contract; failing rows are written to quarantine with the reasons.

    The rows that pass are written to `passed`, a parquet file. Raises ConfigError where there is no contract.
    """
    contract = load_project_contract(config)
    if contract is None:
        hint = "headway contract discover"
        raise ConfigError(f"there is no {config.data.contract}", where=str(config.folder), hint=hint)
    table: Table
    if file is None:
        dataset = open_dataset(config)
        contract, table, source = without_rewritten_columns(contract, config), dataset.table, dataset.name
        content = dataset.digest
    elif config.personal.drop or config.personal.hash:
        table, _, _ = apply_personal_policy(scan_file(file, config).collect(), parse_roles(config.data), config)
        contract, source, content = without_rewritten_columns(contract, config), str(file), _file_digest(file)
    else:
        table, source, content = scan_file(file, config), str(file), _file_digest(file)
    held = validate_table(contract, table)
    name = config.data.contract
    return ContractReport(
        source=source,
        dataset=content,
        n_rows=held.n_rows,
        n_failing=held.n_failing,
        n_rules=held.n_rules,
        findings=(*to_findings(held, name), *uncovered_finding(held.uncovered, name)),
        quarantine=_write_rows(failing_rows(held), quarantine_path(config, source)) if held.n_failing else "",
        passed=_write_rows(passing_rows(held), passed) if passed else "",
    )


def _file_digest(file: Path) -> str:
    with resolve_path(file).open("rb") as opened_file:
        return f"sha256:{hashlib.file_digest(opened_file, 'sha256').hexdigest()}"


def quarantine_path(config: Config, source: str) -> Path:
    """Where the failing rows of a source are put: `quarantine/NAME/TIME-PROCESS-NUMBER.SOURCE.parquet` in the store."""
    stem = re.sub(r"[^\w-]+", "-", Path(source).stem)
    fresh = segments.fresh().removesuffix(segments.SUFFIX)
    return config.state / quarantined.FOLDER / config.project.name / f"{fresh}.{stem}.parquet"


def _write_rows(rows: pl.LazyFrame, path: Path) -> str:
    """Write rows whole or not at all, as a stream."""
    try:
        atomic.fill(path, lambda file: rows.sink_parquet(file, maintain_order=True, engine="streaming"))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"cannot write '{path.name}': {error}", where=str(path), hint="write another type") from error
    return str(path)
