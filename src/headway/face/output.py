"""Print a result: for a person a table or lines, with `--json` one JSON object."""

from __future__ import annotations

import msgspec
from rich.console import Console, RenderableType


def show(value: object, text: RenderableType, *, json: bool) -> None:
    """Print `value` as one JSON object, or `text` for a person; tables are never cut at the width of a pipe."""
    if json:
        Console(soft_wrap=True, highlight=False).print(msgspec.json.encode(value).decode(), markup=False)
    else:
        console().print(text)


def console() -> Console:
    """The console for people: as wide as the terminal, or wide enough for whole lines in a pipe."""
    plain = Console(highlight=False, markup=False)
    return plain if plain.is_terminal else Console(highlight=False, markup=False, width=max(plain.width, 200))
