"""Write the model card of the last search: the winner, its evaluation data, and the results."""

from __future__ import annotations

from pathlib import Path

from headway import pipeline
from headway.cli.main import AsJson, ProjectFolder
from headway.core.training import Training
from headway.registry.project import open_project
from headway.reporting.card import model_card
from headway.reporting.console import print_result, write_atomically
from headway.reporting.read_report_data import read_report_data


def plugin(*, project: ProjectFolder = Path("."), out: Path = Path("MODEL_CARD.md"), json: AsJson = False) -> None:
    """Write one Markdown file from stored evidence; nothing is measured, and no code of the project runs.

    Example: headway card --project headway-demo --out MODEL_CARD.md

    Parameters
    ----------
    out
        The file to write; an existing file is replaced.
    """
    opened = open_project(project)
    search_result = pipeline.last_search(opened)
    rows = search_result.baseline.data.get("train")
    trainings = [record for record in opened.records(Training) if record.dataset == rows]
    card = model_card(read_report_data(opened), search_result, trainings[-1] if trainings else None)
    path = str(write_atomically(card, out).resolve())
    print_result({"card": path}, path, json=json)
