"""Check the data of a project: what must not be learned from, the eight kinds of leakage, and what changed since."""

from __future__ import annotations

import os
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway import pipeline
from headway.cli.actions.assessments import history_table, sentences
from headway.cli.exit_codes import of_findings
from headway.cli.output import callback, show
from headway.data.open import open_dataset
from headway.monitoring.assessment import kept
from headway.registry.project import open_project
from headway.reporting.check.page import write
from headway.reporting.gates.reports import CHECK, deliver


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is shown of a check, and how."""

    history: bool = False
    "Check nothing: show the assessments that were kept, and which findings came and went."
    report: Path | None = None
    "A file for the report with pictures: one HTML file that needs no other."
    format: Annotated[tuple[str, ...], Parameter(negative=())] = ("text",)
    """`text`, `json`, `junit`, `sarif`, `markdown` or `github` (summary and outputs of the step): printed, or written
    with `=FILE`. May be given many times."""
    who: str = ""
    "Who checks; the name of the user where it is not given."


NOTHING = Asked()


def plugin(
    *, project: Path = Path("."), json: bool = False, asked: Annotated[Asked, Parameter(name="*")] = NOTHING
) -> int:
    """Check the data of a project and keep what was found. Exit 1 where a finding says stop, 3 undecided, else 0.

    Below the findings stands what they come to for each of the eight kinds of leakage: found, undecided, clear, or not
    applicable, and why. What was found is kept as an assessment; data that did not change are told as the same. A
    source, columns, distributions or settings that changed open a new assessment.

    Example: headway check --project headway-demo --report check.html
    Example: headway check --project headway-demo --history

    Parameters
    ----------
    project
        Folder with headway.toml.
    json
        Print one JSON object: `findings`, `leakage` by kind, and the number of the `assessment`.
    """
    opened = open_project(project)
    if asked.history:
        show(kept.history(opened), history_table(kept.history(opened)), json=json)
        return 0
    found = pipeline.assess(opened, open_dataset(opened.config), who=asked.who or getuser())
    deliver(found, ["json"] if json else asked.format, os.environ, CHECK)
    if found.same:
        callback(sentences(found)[0])
    if asked.report:
        callback(str(write(found, kept.history(opened), asked.report).resolve()))
    return of_findings(found.now.findings)
