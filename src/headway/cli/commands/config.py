"""Show the settings of a project: each value with its source, and for one setting the value of each source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from headway.cli.main import AsJson, ProjectFolder
from headway.core import config
from headway.reporting.console import print_result

SOURCES = ("flag", "environment", "file", "default")


def plugin(*, project: ProjectFolder = Path("."), why: str = "", json: AsJson = False) -> None:
    """Show every setting of the project with its value and its source: flag, environment, file or default.

    Example: headway config --project headway-demo --why serve.port

    Parameters
    ----------
    why
        Show only this setting (section.field): the value of each source, the one that applies, and its help.
    """
    settings: dict[str, dict[str, object]] = {
        setting: {"value": value, "from": source} for setting, (value, source) in config.effective(project).items()
    }
    if why:
        values = {
            source: config.masked(msgspec.to_builtins(value)) for source, value in config.sources(why, project).items()
        }
        settings = {why: {**settings[why], "help": config.described(why), "sources": values}}
    lines = [line for setting, shown in settings.items() for line in _lines(setting, shown)]
    print_result(settings, "\n".join(lines), json=json)


def _lines(setting: str, shown: Mapping[str, Any]) -> list[str]:
    """Return the line of a setting; if its sources are shown, also a line for each source and the help."""
    first = f"{setting} = {shown['value']!r}  ({shown['from']})"
    if "sources" not in shown:
        return [first]
    names = {"environment": config.variable(setting), "file": config.FILE}
    values = {source: repr(shown["sources"][source]) if source in shown["sources"] else "-" for source in SOURCES}
    rows = [
        f"  {'>' if source == shown['from'] else ' '} {source:11}  {names.get(source, ''):32} {value}"
        for source, value in values.items()
    ]
    return [first, *rows, f"  {shown['help']}"]
