"""Watch the live release: drift, quality with and without labels, what it costs, and whether to train anew."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from headway import flow
from headway.face.codes import of_watches
from headway.face.output import show
from headway.face.watches import watches_table
from headway.release.project import open_project


def plugin(*, project: Path = Path("."), until: datetime | None = None, every: str = "1mo", json: bool = False) -> int:
    """Look at each period since the live release was judged. Exit 0 well, 1 the last one is worse, 3 cannot say.

    Example: headway watch --project headway-demo --until 2013-10-02

    Parameters
    ----------
    project
        Folder with headway.toml.
    until
        Look as it stood then, with the labels that had come; without it, all labels of the table have come.
    every
        Length of a period: 1mo, 1w, 28d.
    json
        Print one JSON object.
    """
    found = flow.watch(open_project(project), until=until, every=every)
    show(found, watches_table(found), json=json)
    return of_watches(found)
