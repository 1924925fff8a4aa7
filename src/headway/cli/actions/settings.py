"""Settings as they are shown: each with its value and who set it, and of one of them what every source says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from headway.core import config

ORDER = ("flag", "environment", "file", "default")


def every(folder: Path) -> dict[str, dict[str, object]]:
    """Each setting of the project in a folder: its value and who set it; no URL shows its password."""
    found, origin = config.resolve(folder)
    return {
        f"{section}.{name}": {"value": _shown(value), "from": origin.get(f"{section}.{name}", "default")}
        for section in config.SECTIONS
        for name, value in msgspec.to_builtins(getattr(found, section)).items()
    }


def one(folder: Path, setting: str) -> dict[str, dict[str, object]]:
    """One setting: its value, who set it, its help, and what each source says of it; the strongest comes first."""
    said = {source: _shown(msgspec.to_builtins(value)) for source, value in config.sources(setting, folder).items()}
    return {setting: {**every(folder)[setting], "help": config.described(setting), "sources": said}}


def lines(found: Mapping[str, Mapping[str, Any]]) -> str:
    """A line a setting; under one whose sources are known, a line a source, and its help."""
    return "\n".join(line for setting, told in found.items() for line in _lines(setting, told))


def _lines(setting: str, told: Mapping[str, Any]) -> list[str]:
    first = f"{setting} = {told['value']!r}  ({told['from']})"
    if "sources" not in told:
        return [first]
    names = {"environment": config.variable(setting), "file": config.FILE}
    values = {source: repr(told["sources"][source]) if source in told["sources"] else "-" for source in ORDER}
    rows = [
        f"  {'>' if source == told['from'] else ' '} {source:11}  {names.get(source, ''):32} {value}"
        for source, value in values.items()
    ]
    return [first, *rows, f"  {told['help']}"]


def _shown(value: object) -> object:
    return config.without_password(value) if isinstance(value, str) else value
