"""Train the live release anew where a ticket asks for it, and make it live if it is shown to be better."""

from __future__ import annotations

from datetime import datetime
from getpass import getuser
from pathlib import Path
from typing import Literal

from headway.face.output import console, show
from headway.face.retrainings import carry_out
from headway.release.project import open_project


def plugin(
    *,
    project: Path = Path("."),
    until: datetime | None = None,
    mode: Literal["suggest", "auto"] | None = None,
    who: str = "",
    json: bool = False,
) -> int:
    """Act on the open ticket. Exit 0 nothing to do or live now, 1 no better than live, 3 undecided or only suggested.

    Example: headway retrain --project headway-demo --mode auto

    Parameters
    ----------
    project
        Folder with headway.toml.
    until
        Learn from labels that had come then; without it, from all there are.
    mode
        suggest says what would be done and trains nothing; auto does it; else [retrain] mode.
    who
        Who does it; the name of the user where it is not given.
    json
        Print one JSON object.
    """
    opened = open_project(project)
    tell = (lambda _: None) if json else console().print
    done = carry_out(opened, mode or opened.config.retrain.mode, until=until, who=who or getuser(), tell=tell)
    show(done.record, done.text, json=json)
    return done.code
