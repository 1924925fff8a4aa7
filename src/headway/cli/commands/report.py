"""Write the report of a project from its stored records: the last search, the release, and the monitoring since."""

from __future__ import annotations

from pathlib import Path

from headway.cli.main import AsJson, ProjectFolder, SearchDigest
from headway.registry.project import open_project
from headway.reporting.console import print_result
from headway.reporting.page import write_report
from headway.reporting.read_report_data import read_report_data


def plugin(
    *,
    project: ProjectFolder = Path("."),
    search: SearchDigest = "",
    out: Path = Path("report.html"),
    json: AsJson = False,
) -> None:
    """Write one self-contained HTML file; nothing is measured again.

    Example: headway report --project headway-demo --out year.html

    Parameters
    ----------
    out
        The file to write; an existing file is replaced.
    """
    path = str(write_report(read_report_data(open_project(project), search=search), out).resolve())
    print_result({"report": path}, path, json=json)
