"""Check the data of a project: what must not be learned from, what nobody declared, and the eight kinds of leakage."""

from __future__ import annotations

from pathlib import Path

from headway import flow
from headway.data.leakage.eight_kinds import kinds_of
from headway.data.open import open_dataset
from headway.face.codes import of_findings
from headway.face.output import show
from headway.face.tables import checked_tables
from headway.release.project import open_project


def plugin(*, project: Path = Path("."), json: bool = False) -> int:
    """Check the data of a project. Exit 1 where a finding says stop, 3 where one is undecided, else 0.

    Below the findings stands what they come to for each of the eight kinds of leakage: found, undecided, clear, or not
    applicable, and why.

    Example: headway check --project headway-demo

    Parameters
    ----------
    project
        Folder with headway.toml.
    json
        Print one JSON object: `findings`, and `leakage` by kind.
    """
    opened = open_project(project)
    findings = flow.check(opened, open_dataset(opened.config))
    told = {"findings": findings, "leakage": kinds_of(findings)}
    show(told, checked_tables(findings), json=json)
    return of_findings(findings)
