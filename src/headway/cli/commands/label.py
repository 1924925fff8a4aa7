"""Keep labels that came later, by the key of the request they belong to."""

from __future__ import annotations

from getpass import getuser
from pathlib import Path

from headway.cli.output import show
from headway.core import config
from headway.monitoring.labels import read_labels
from headway.storage.traffic import keep_labels


def plugin(file: Path = Path("labels.csv"), *, project: Path = Path("."), who: str = "", json: bool = False) -> None:
    """Keep the labels of a file; a later label of a key replaces an earlier one.

    Example: headway label labels.csv --project headway-demo

    Parameters
    ----------
    file
        A csv or parquet file with columns key and label.
    project
        Folder with headway.toml.
    who
        Who gives them; the name of the user where it is not given.
    json
        Print one JSON object.
    """
    settings = config.load(project)
    kept = keep_labels(settings.state, settings.project.name, read_labels(file, settings.data), who=who or getuser())
    show({"kept": kept}, f"{kept:,} labels of {settings.project.name} kept", json=json)
