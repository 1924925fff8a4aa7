"""Heavy work of the page of data: checks, contract, quarantine, use of the data, and charts.

What is computed for people who may not see rows (`rows=False`) holds no value of a row: findings come without their
words, and columns with personal data without their rules.
"""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.assessment import Assessment
from headway.core.config import Config
from headway.core.evidence import Finding
from headway.core.quarantine import Decision, QuarantinedRow, QuarantineFile
from headway.core.settings.project import ProjectSection
from headway.dashboard.shown import CheckView, ContractView
from headway.dashboard.work.labels import opened
from headway.data.check import DECLARED
from headway.data.contract import quarantine
from headway.data.contract.table_contract import ColumnContract, load_project_contract
from headway.data.personal.detection import PERSONAL
from headway.data.sampled import open_for_checks
from headway.data.settings.data import DataSection
from headway.monitoring.assessment.assess import AssessmentResult, assess
from headway.reporting.gates import check as reports
from headway.reporting.text import formatting, tables
from headway.reporting.text.tables import SEVERITIES, Table, make_table, text_cell
from headway.serving.workers import aside

N_CHECKS = 30


def show_checks(config: Config, *, rows: bool) -> CheckView | None:
    """Return the last stored check of a project, None if its data were never checked."""
    with opened(config) as project:
        stored = [saved.record for saved in project.recent(Assessment, limit=N_CHECKS)][::-1]
    if not stored:
        return None
    now = stored[-1]
    found = AssessmentResult(now=now, before=stored[-2] if len(stored) > 1 else None)
    shown = [finding for finding in now.judged if finding.code not in DECLARED]
    answer = reports.check_answer(found)
    history = reports.tabulate_assessments(stored)
    return CheckView(
        conclusion=reports.conclude_check(now),
        style=answer,
        changes=tuple(reports.describe_stored_changes(found)) if rows else (),
        findings=tables.tabulate_findings(shown) if rows else _findings_without_values(shown),
        n_findings=len(shown),
        not_run=tables.tabulate_checks_not_run(now.findings) if rows else _names_not_run(now),
        n_not_run=len(now.unjudged),
        n_checks=len(now.check_runs),
        history=_newest_first(history if rows else _without_last_column(history)),
    )


def _findings_without_values(found: Sequence[Finding]) -> Table:
    """Tabulate findings by check and column only: their words may quote rows."""
    lines = (
        (
            text_cell(finding.code, "quiet"),
            text_cell(finding.severity, SEVERITIES[finding.severity]),
            text_cell(tables.describe_check(finding.plugin).partition(": ")[2] or finding.plugin),
            text_cell(finding.column or "all"),
        )
        for finding in sorted(found, key=lambda finding: list(SEVERITIES).index(finding.severity))
    )
    return make_table(("Code", "Severity", "What was looked for", "Column"), lines, folds=("What was looked for",))


def _names_not_run(now: Assessment) -> Table:
    return make_table(("Check",), ((text_cell(run.name),) for run in now.unjudged))


def _without_last_column(table: Table) -> Table:
    return Table(columns=table.columns[:-1], rows=tuple(row[:-1] for row in table.rows))


def _newest_first(table: Table) -> Table:
    return Table(columns=table.columns, rows=table.rows[::-1])


def check_now(config: Config, who: str) -> str:
    """Check the data of a project, and return the answer as a sentence."""
    with opened(config) as project, open_for_checks(config) as dataset:
        return reports.conclude_check(assess(project, dataset, who=who).now)


def show_contract(config: Config, *, rows: bool) -> ContractView | None:
    """Return the contract of a project, None if it has none."""
    contract = load_project_contract(config)
    if contract is None:
        return None
    with opened(config) as project:
        last = project.latest(Assessment)
    personal = {finding.column for finding in last.findings if finding.code in PERSONAL} if last else set()
    hidden = set() if rows else {name for name in contract.columns if last is None or name in personal}
    lines = config.path(config[DataSection].contract).read_text(encoding="utf-8").splitlines()
    about = [line.lstrip("# ") for line in lines[: next((n for n, line in enumerate(lines) if line[:1] != "#"), 0)]]
    return ContractView(
        file=config[DataSection].contract,
        about=tuple(about),
        columns=make_table(
            ("Column", "Type", "Missing values", "Allowed values"),
            (_contract_row(name, terms, name in hidden) for name, terms in contract.columns.items()),
            folds=("Allowed values",),
        ),
        keys=tuple(", ".join(key) for key in contract.unique),
        relations=contract.relations,
        n_hidden=len(hidden),
    )


def _contract_row(name: str, terms: ColumnContract, hidden: bool) -> tuple[tables.Cell, ...]:
    return (
        text_cell(name, "strong"),
        text_cell(f"{terms.type}, may be absent" if terms.optional else terms.type),
        text_cell("none" if not terms.missing else f"up to {terms.missing:.1%}".replace("%", " %")),
        text_cell("not shown to viewers", "quiet") if hidden else text_cell(_allowed(terms)),
    )


def _allowed(terms: ColumnContract) -> str:
    parts = []
    if terms.minimum is not None or terms.maximum is not None:
        ends = [(word, end) for word, end in (("from", terms.minimum), ("to", terms.maximum)) if end is not None]
        parts.append(" ".join(f"{word} {end}" for word, end in ends))
    if terms.values:
        parts.append(formatting.join_names([str(value) for value in terms.values], limit=20))
    if terms.pattern:
        parts.append(f"pattern {terms.pattern}")
    if terms.min_length is not None or terms.max_length is not None:
        parts.append(f"{terms.min_length or 0} to {terms.max_length or 'any number of'} characters")
    return "; ".join(parts) or "any"


def read_quarantine_files(config: Config) -> tuple[list[QuarantineFile], list[aside.AsideBatch]]:
    """Return the files in quarantine, and the batches of the log of the model that were put aside."""
    batches = aside.list_batches(config.state)
    return quarantine.list_quarantine(config), [one for one in batches if one.name in ("", config[ProjectSection].name)]


def read_quarantine(config: Config, file: str, start: int, limit: int) -> tuple[int, list[QuarantinedRow]]:
    """Return the number of rows of a file in quarantine, and a page of them."""
    found = next((one for one in quarantine.list_quarantine(config) if one.file == file), None)
    return found.n_rows if found else 0, quarantine.read_rows(config, file, start=start, limit=limit)


def end_quarantine(config: Config, file: str, rows: Sequence[int], decision: Decision, *, who: str, why: str) -> int:
    """Release or discard rows in quarantine, and return how many."""
    with opened(config) as project:
        return len(quarantine.decide_rows(config, project.state, file, rows, decision, who=who, why=why).rows)


def import_aside(config: Config) -> tuple[int, int]:
    """Import the batches of the log that were put aside; return how many were, and how many failed."""
    done = aside.import_batches(config.state)
    failed = sum(batch.status == "failed" for batch in done)
    return len(done) - failed, failed
