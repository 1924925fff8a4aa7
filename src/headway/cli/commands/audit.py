"""Show or export who did what to the model, when and why."""

from __future__ import annotations

from datetime import date
from itertools import islice
from pathlib import Path

from headway.cli.main import AsJson, ProjectFolder
from headway.core.errors import ConfigError
from headway.registry.project import open_project
from headway.reporting import audit
from headway.reporting.audit import AuditEntry, AuditFilter, Kind
from headway.reporting.console import print_result
from headway.reporting.text import formatting
from headway.reporting.text.tables import Table, make_table, text_cell
from headway.reporting.text.terminal import TerminalTable
from headway.storage import atomic

EXPORTS = {".csv": audit.export_csv, ".jsonl": audit.export_json_lines}


def plugin(
    *,
    kind: Kind | None = None,
    who: str = "",
    since: date | None = None,
    until: date | None = None,
    last: int = 50,
    export: Path | None = None,
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> None:
    """Show who did what to the model, when and why, newest first; or export all of it.

    Example: headway audit --who ann --since 2026-11-01 --project headway-demo
    Example: headway audit --export audit.csv --project headway-demo

    Parameters
    ----------
    kind
        Only entries of this kind.
    who
        Only what this person did.
    since, until
        Days, both included.
    last
        Number of entries to show.
    export
        A .csv or .jsonl file for all entries, however many.
    """
    opened = open_project(project)
    wanted = AuditFilter(
        kind=kind or "",
        who=who,
        since=since.isoformat() if since else "",
        until=until.isoformat() if until else "",
    )
    entries = audit.audit_entries([opened], wanted)
    if export:
        if export.suffix not in EXPORTS:
            raise ConfigError(f"no format is known by {export.name!r}", hint="audit.csv or audit.jsonl")
        atomic.fill(export.resolve(), lambda file: file.writelines(EXPORTS[export.suffix](entries)))
        print_result({"export": str(export)}, f"exported to {export}", json=json)
        return
    shown = list(islice(entries, last))
    text = TerminalTable(_tabulate(shown)) if shown else "nothing was done that fits these choices"
    print_result(shown, text, json=json)


def _tabulate(entries: list[AuditEntry]) -> Table:
    rows = (
        (
            text_cell(formatting.format_time(entry.at)),
            text_cell(entry.who or "not recorded"),
            text_cell(" ".join(filter(None, (entry.action, entry.subject[:19], entry.outcome)))),
            text_cell(entry.reason),
        )
        for entry in entries
    )
    return make_table(("When", "Who", "What", "Reason"), rows, folds=("What", "Reason"))
