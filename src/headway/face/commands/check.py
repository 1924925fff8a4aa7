"""Check the data of a project: what must not be learned from, and what nobody declared."""

from __future__ import annotations

from pathlib import Path

from headway import flow
from headway.data.open import open_dataset
from headway.face.codes import of_findings
from headway.face.output import show
from headway.face.tables import findings_table
from headway.release.project import open_project


def plugin(*, project: Path = Path("."), json: bool = False) -> int:
    """Check the data of a project. Exit 1 where a finding says stop, 3 where one is undecided, else 0.

    Example: headway check --project headway-demo

    Parameters
    ----------
    project
        Folder with headway.toml.
    json
        Print one JSON object.
    """
    opened = open_project(project)
    findings = flow.check(opened, open_dataset(opened.config))
    show(findings, findings_table(findings), json=json)
    return of_findings(findings)
