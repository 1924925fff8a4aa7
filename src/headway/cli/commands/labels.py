"""Look after labels: which may be wrong, who agrees, how late they come; and set them right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.actions.labelling import Given, Word, carry_out
from headway.cli.output import show
from headway.registry.project import open_project

NOTHING = Given()


def plugin(
    action: Word = "suspects",
    file: Path | None = None,
    *,
    project: Path = Path("."),
    json: bool = False,
    given: Annotated[Given, Parameter(name="*")] = NOTHING,
) -> None:
    """Rank labels that may be wrong, set one right (the source is never edited), or measure agreement or delay, or ask.

    Example: headway labels suspects --top 50 --project headway-demo
    Example: headway labels correct --row 17 --to 0 --why "the log of the tower says so" --project headway-demo
    Example: headway labels agree annotations.csv --level ordinal --project headway-demo

    Parameters
    ----------
    action
        suspects (a model that never saw a row tells its label), correct (kept, and applied when data is opened),
        agree (annotators, beyond chance), delay (from a request to its label), or next (requests to label)
    file
        For agree: a csv or parquet file with columns key, who and label; else the labels that were kept.
    project
        Folder with headway.toml.
    json
        Print one JSON object.
    """
    done = carry_out(open_project(project), action, file, given)
    show(done.value, done.message, json=json)
