"""Watch the live release: drift, quality with and without labels, what it costs, and whether to train anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.actions.watches import Asked, looked
from headway.cli.exit_codes import of_watches
from headway.registry.project import open_project

NOTHING = Asked()


def plugin(
    *, project: Path = Path("."), json: bool = False, asked: Annotated[Asked, Parameter(name="*")] = NOTHING
) -> int:
    """Look at each period since the live release was judged. Exit 0 well, 1 the last one is worse, 3 cannot say.

    Example: headway watch --project headway-demo --until 2013-10-02

    Parameters
    ----------
    project
        Folder with headway.toml.
    json
        Print one JSON object; with --follow, one for each look that has news.
    """
    return of_watches(looked(open_project(project), asked, json=json))
