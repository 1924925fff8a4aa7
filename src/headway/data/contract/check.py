"""Check a project's table, or a file of any size, against its contract, and quarantine the rows that fail."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path

import polars as pl
from msgspec.structs import replace

from headway.core.config import Config
from headway.core.errors import ConfigError, DataError
from headway.core.evidence import Finding
from headway.core.record import Record
from headway.core.settings.project import ProjectSection
from headway.data.context import CheckContext
from headway.data.contract.discovery import discover_contract, rewritten_columns
from headway.data.contract.quarantine import load_decisions
from headway.data.contract.table_contract import TableContract, load_project_contract, parse_relation, save_contract
from headway.data.contract.validation import (
    RuleViolation,
    Table,
    ValidationResult,
    failing_rows,
    passing_rows,
    validate_table,
)
from headway.data.open import open_dataset
from headway.data.personal.policy import apply_personal_policy
from headway.data.read import is_ipc_file, read_file, resolve_path
from headway.data.roles import parse_roles
from headway.data.sampled import open_for_checks
from headway.data.settings.data import DataSection
from headway.data.settings.model import ModelSection
from headway.data.settings.personal import PersonalSection
from headway.data.settings.split import SplitSection
from headway.data.split import split_dataset
from headway.storage import atomic, segments, traffic

MAX_NAMES = 5
_HINT = "headway contract check, which moves those rows to quarantine; or correct the contract"


def scan_file(path: Path, config: Config) -> pl.LazyFrame:
    """Return the rows of a file as a lazy frame, with the strings of `[data] missing` as missing values.

    CSV columns are strings, which the contract parses. A `.dvc` file stands for the file that it points to.

    Raises
    ------
    DataError
        If the file is missing, empty or of an unknown format.
    """
    path = resolve_path(path)
    if not path.is_file():
        raise DataError(f"no file '{path.name}'", where=str(path), hint="headway contract check FILE")
    words = list(config[DataSection].missing)
    if path.suffix == ".csv":
        if not path.stat().st_size:
            raise DataError(f"'{path.name}' is empty", where=str(path), hint="a header line, then a line per row")
        return pl.scan_csv(path, infer_schema=False, null_values=words or None, glob=False)
    if path.suffix == ".parquet":
        frame = pl.scan_parquet(path, glob=False)
    elif path.suffix in (".arrow", ".ipc", ".feather") and is_ipc_file(path):
        frame = pl.scan_ipc(path, glob=False)
    else:
        frame = read_file(path).lazy()
    texts = pl.selectors.string()
    return frame.with_columns(pl.when(~texts.is_in(words)).then(texts)) if words else frame


def contract_findings(context: CheckContext, code: str) -> list[Finding]:
    """Return the findings of one code; none if the project has no contract."""
    contract = load_project_contract(context.config)
    if contract is None:
        return []
    contract = without_rewritten_columns(contract, context.config, others=context.dataset.blanks)
    rows = context.dataset.all_rows
    decided = load_decisions(context.config)
    result = validate_table(
        contract,
        context.dataset.table if rows is None else rows,
        codes=[code],
        released=decided.released,
        discarded=decided.discarded,
    )
    return to_findings(result, context.config[DataSection].contract)


def uncovered_columns(contract: TableContract, context: CheckContext) -> list[Finding]:
    """Return a note on the columns of a table that its contract does not name."""
    config, blanks = context.config, context.dataset.blanks
    excluded = {*contract.columns, *rewritten_columns(config), *blanks, config[DataSection].target}
    names = [name for name in context.dataset.table.columns if name not in excluded]
    return uncovered_finding(names, context.config[DataSection].contract)


def uncovered_finding(names: Sequence[str], file: str) -> list[Finding]:
    """Return a note that lists these columns, or nothing if there are none."""
    if not names:
        return []
    listed = ", ".join(f"'{name}'" for name in names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
    message = f"{len(names):,} {'column is' if len(names) == 1 else 'columns are'} not in the contract: {listed}"
    hint = "headway contract discover --replace; or add a [columns.NAME]"
    return [Finding(code="D010", severity="note", message=message, where=file, measured=float(len(names)), hint=hint)]


def to_findings(result: ValidationResult, file: str) -> list[Finding]:
    """Return each violated rule as a finding."""
    return [_finding(violation, result.n_rows, file) for violation in result.violations]


def without_rewritten_columns(
    contract: TableContract, config: Config, *, others: Collection[str] = ()
) -> TableContract:
    """Return the contract without `others` and the columns that `[data]` and `[personal]` change on opening."""
    names = rewritten_columns(config).union(others)
    return replace(
        contract,
        columns={name: terms for name, terms in contract.columns.items() if name not in names},
        unique=tuple(key for key in contract.unique if not names.intersection(key)),
        relations=tuple(text for text in contract.relations if not names.intersection(parse_relation(text).columns)),
    )


def _finding(violated: RuleViolation, n_rows: int, file: str) -> Finding:
    rule, share = violated.rule, violated.count / max(1, n_rows)
    column = f"[columns.{rule.columns[0]}] in {file}"
    if rule.violated is None and rule.key_constraint is None:
        hint = f"write the column, or optional = true under {column}"
        return Finding(code=rule.code, severity="stop", message=rule.reason, where=file, hint=hint)
    message = f"{rule.reason}: {violated.count:,} of {n_rows:,} rows"
    if not rule.limit:
        where = _location(violated)
        return Finding(
            code=rule.code, severity="stop", message=message, where=where, measured=share, limit=0.0, hint=_HINT
        )
    return Finding(
        code=rule.code,
        severity="warn",
        message=f"{message}, {share:.2%}",
        where=_location(violated),
        measured=share,
        limit=rule.limit,
        hint=f"missing = {math.ceil(share * 100) / 100} under {column}, or find those values",
    )


def _location(violated: RuleViolation) -> str:
    rows = f"row {', '.join(f'{row:,}' for row in violated.rows)}"
    return f"{rows}: {', '.join(map(str, violated.values))}" if violated.values else rows


class ContractReport(Record, frozen=True, kw_only=True):
    """Result of checking a table: failing rows, where they were written, and a finding per violated rule.

    `dataset` is the digest of the table's content, or of the bytes of a file, which may exceed memory.
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
    """Discover the contract of a project's data and write it to `[data] contract`.

    Raises
    ------
    ConfigError
        If the file exists and `replace` is False.
    """
    _expect_absent(config, replace=replace)
    dataset = open_dataset(config)
    try:
        periods = split_dataset(dataset, config[SplitSection], fitted=bool(config[ModelSection].file))
    except DataError:
        periods = {}
    contract = discover_contract(dataset, periods, config)
    rows = sum(len(periods[name].table) for name in ("train", "validation") if name in periods) or len(dataset.table)
    about = (
        f"Allowed values of the columns of '{config[ProjectSection].name}', discovered in {rows:,} rows of train and "
        "validation.",
        "Edit it: headway check validates the data, and the next release each request (docs/contract.md).",
    )
    return save_project_contract(contract, config, about=about, replace=replace), contract


def save_project_contract(contract: TableContract, config: Config, *, about: Sequence[str], replace: bool) -> Path:
    """Write a contract to `[data] contract`; raise ConfigError if the file exists and `replace` is False."""
    _expect_absent(config, replace=replace)
    return save_contract(contract, config.path(config[DataSection].contract), about=about)


def _expect_absent(config: Config, *, replace: bool) -> None:
    path = config.path(config[DataSection].contract)
    if path.exists() and not replace:
        hint = "headway contract discover --replace"
        raise ConfigError(f"{path.name} exists and may have been edited", where=str(path), hint=hint)


def check_contract(config: Config, file: Path | None = None, *, passed: Path | None = None) -> ContractReport:
    """Check the project's table, or a file, against the contract.

    Parameters
    ----------
    config : Config
        The project.
    file : Path, optional
        A parquet, csv or Arrow file; the project's own table if None.
    passed : Path, optional
        A parquet file to write the passing rows to.

    Returns
    -------
    ContractReport
        Failing rows are written to quarantine, each with its row number and the reasons; those that a person released
        or discarded (`quarantine.decide_rows`) are not.

    Raises
    ------
    ConfigError
        If the project has no contract.
    """
    contract = load_project_contract(config)
    if contract is None:
        hint = "headway contract discover"
        raise ConfigError(f"no {config[DataSection].contract} here", where=str(config.folder), hint=hint)
    with ExitStack() as stack:
        table: Table
        if file is None:
            dataset = stack.enter_context(open_for_checks(config))
            table = dataset.table if dataset.all_rows is None else dataset.all_rows
            contract, source, content = without_rewritten_columns(contract, config), dataset.name, dataset.digest
        elif config[PersonalSection].drop or config[PersonalSection].hash:
            table, _, _ = apply_personal_policy(
                scan_file(file, config).collect(), parse_roles(config[DataSection]), config
            )
            contract, source, content = without_rewritten_columns(contract, config), str(file), _file_digest(file)
        else:
            table, source, content = scan_file(file, config), str(file), _file_digest(file)
        decided = load_decisions(config)
        result = validate_table(contract, table, released=decided.released, discarded=decided.discarded)
        name = config[DataSection].contract
        return ContractReport(
            source=source,
            dataset=content,
            n_rows=result.n_rows,
            n_failing=result.n_failing,
            n_rules=result.n_rules,
            findings=(*to_findings(result, name), *uncovered_finding(result.uncovered, name)),
            quarantine=_write_rows(failing_rows(result), quarantine_path(config, source)) if result.n_failing else "",
            passed=_write_rows(passing_rows(result), passed) if passed else "",
        )


def _file_digest(file: Path) -> str:
    with resolve_path(file).open("rb") as opened_file:
        return f"sha256:{hashlib.file_digest(opened_file, 'sha256').hexdigest()}"


def quarantine_path(config: Config, source: str) -> Path:
    """Return `quarantine/NAME/TIME-PROCESS-NUMBER.SOURCE.parquet` in the store, for the failing rows of a source."""
    stem = re.sub(r"[^\w-]+", "-", Path(source).stem)
    fresh = segments.fresh().removesuffix(segments.SUFFIX)
    return config.state / traffic.QUARANTINE / config[ProjectSection].name / f"{fresh}.{stem}.parquet"


def _write_rows(rows: pl.LazyFrame, path: Path) -> str:
    """Write rows atomically, as a stream."""
    try:
        atomic.fill(path, lambda file: rows.sink_parquet(file, maintain_order=True, engine="streaming"))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"cannot write '{path.name}': {error}", where=str(path), hint="write another type") from error
    return str(path)
