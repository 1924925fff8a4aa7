"""Find API keys whose requests copy or probe the model, by the prediction log."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.text import Text

from headway import pipeline
from headway.cli.main import AsJson, ProjectFolder
from headway.core.monitoring import KeyProbing, ProbingReport
from headway.monitoring.alerts.deliver import start_delivery
from headway.registry.project import open_project
from headway.reporting.console import print_result, print_status
from headway.reporting.text.tables import Cell, Table, make_table, text_cell
from headway.reporting.text.terminal import TerminalTable

NOTHING = "no request with an API key was logged since the last report"


def plugin(*, project: ProjectFolder = Path("."), json: AsJson = False) -> int:
    """Judge what each API key sent on the last days of the log, and throttle those found if [serve] throttle_per_s is.

    Equal rows count once. A key is found by rows that no real caller sends: mixed from several rows, near the decision
    boundary, or bisecting one column. The chance that any honest key is found on a day is [serve]
    probing_false_alarms. `headway run` does this with the task watch.

    Exit 0 none found, 1 some found, 3 not judged.

    Example: headway probing --project headway-demo
    """
    opened = open_project(project)
    report = pipeline.audit_probing(opened, callback=print_status)
    if report is None:
        print_result({"keys": [], "message": NOTHING}, NOTHING, json=json)
        return 0
    if report.reason:
        print_result(report, f"cannot be judged: {report.reason}", json=json)
        return 3
    keyless = f"{report.rows_without_key:,} rows were sent without an API key, and belong to no known caller."
    lines = [Text(keyless)] if report.rows_without_key else []
    print_result(report, Group(TerminalTable(probing_table(report)), *lines), json=json)
    start_delivery(opened.config)
    return 1 if report.found else 0


def probing_table(report: ProbingReport) -> Table:
    """Tabulate the keys and days of a report, those found first, with the next step for each."""
    ordered = sorted(report.keys, key=lambda key: (not key.is_found, -key.e_value))
    titles = ("API key", "Day", "Answer", "Rows", "Different", "Evidence (limit)", "Sign")
    rows = [_row(key, report) for key in ordered]
    return make_table(titles, rows, folds=("API key",), notes=tuple(map(_next_step, ordered)))


def _next_step(key: KeyProbing) -> str:
    if not key.is_found:
        return ""
    if key.throttled:
        return f"It is throttled; undo: headway api-keys unthrottle {key.api_key}"
    return f"Throttle it: headway api-keys throttle {key.api_key} --per-s 0.1"


def _row(key: KeyProbing, report: ProbingReport) -> tuple[Cell, ...]:
    return (
        text_cell(key.api_key),
        text_cell(key.day),
        text_cell("✗ copies or probes", "fail") if key.is_found else text_cell("✓ not shown", "pass"),
        text_cell(f"{key.rows:,}"),
        text_cell(f"{key.distinct:,}"),
        text_cell(f"{key.e_value:.3g} ({report.limit:.3g})"),
        text_cell(f"{key.sign}, {key.shares.get(key.sign, 0.0):.0%} of rows"),
    )
