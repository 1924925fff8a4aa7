"""Show every setting with its value and who set it; of one, what every source says."""

from __future__ import annotations

from pathlib import Path

from headway.cli.actions import settings
from headway.cli.output import show


def plugin(*, project: Path = Path("."), why: str = "", json: bool = False) -> None:
    """Show every setting of the project with its value, and whether a flag, the environment, the file or no one set it.

    Example: headway config --project headway-demo --why serve.port

    Parameters
    ----------
    project
        Folder with headway.toml.
    why
        Show only this setting (section.field): what each source says of it, which one wins, and its help.
    json
        Print one JSON object.
    """
    found = settings.one(project, why) if why else settings.every(project)
    show(found, settings.lines(found), json=json)
