"""Judge the winner of the last search by the policy as it now stands."""

from __future__ import annotations

from pathlib import Path

from headway import flow
from headway.face.codes import OF_ANSWER
from headway.face.output import show
from headway.face.tables import rulings_table
from headway.release.judge import judge
from headway.release.project import open_project


def plugin(*, project: Path = Path("."), json: bool = False) -> int:
    """Judge the evidence on the last winner; nothing is run. Exit 0 pass, 1 fail, 3 undecided.

    Example: headway gate --project headway-demo

    Parameters
    ----------
    project
        Folder with headway.toml.
    json
        Print one JSON object.
    """
    opened = open_project(project)
    evidence = flow.last_frontier(opened).winner.evidence
    looks = opened.state.looks(opened.name, evidence.dataset)
    verdict = judge(evidence, opened.config.policy, looks_at_test=looks)
    show(verdict, rulings_table(verdict), json=json)
    return OF_ANSWER[verdict.answer]
