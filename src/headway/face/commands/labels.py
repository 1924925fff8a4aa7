"""Look after labels: rank those that may be wrong, and set them right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.face.labelling import Given, Word, carry_out
from headway.face.output import show
from headway.release.project import open_project

NOTHING = Given()


def plugin(
    action: Word = "suspects",
    *,
    project: Path = Path("."),
    json: bool = False,
    given: Annotated[Given, Parameter(name="*")] = NOTHING,
) -> None:
    """Rank labels that may be wrong, or set one right; the source is never edited.

    Example: headway labels suspects --top 50 --project headway-demo
    Example: headway labels correct --row 17 --to 1 --why "the log of the tower says so"

    Parameters
    ----------
    action
        suspects (a model that never saw a row tells its label), or correct (kept, and applied when data is opened).
    project
        Folder with headway.toml.
    json
        Print one JSON object.
    """
    done = carry_out(open_project(project), action, given)
    show(done.value, done.says, json=json)
