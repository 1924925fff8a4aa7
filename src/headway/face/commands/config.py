"""Show every setting with its value and who set it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from headway.core import config
from headway.face.output import show


def plugin(*, project: Path = Path("."), why: str = "", json: bool = False) -> None:
    """Show every setting of the project with its value, and whether the file, the environment or the default set it.

    Example: headway config --why serve.port

    Parameters
    ----------
    project
        Folder with headway.toml.
    why
        Show only this setting, as section.field.
    json
        Print one JSON object.
    """
    found, origin = config.resolve(project)
    values = {
        f"{section}.{name}": value
        for section in config.SECTIONS
        for name, value in msgspec.to_builtins(getattr(found, section)).items()
    }
    if why:
        config.expect(*why.partition(".")[::2], where="--why")
        values = {why: values[why]}
    lines = [f"{key} = {value!r}  ({origin.get(key, 'default')})" for key, value in values.items()]
    told = {key: {"value": value, "from": origin.get(key, "default")} for key, value in values.items()}
    show(told, "\n".join(lines), json=json)
